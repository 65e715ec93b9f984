/**
 * On CPUs without AVX-512 the native tests run the AVX-512 and AMX kernels through SIMDe (native/test/simde). This
 * test finds, on every machine, the intrinsics that those kernels use and that neither SIMDe nor our header has: the
 * build would fail there.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { root, skip } from '../harness.js';

const kernels = join(root, 'native', 'kernels');

function intrinsics(folder: string): string[] {
  return readdirSync(join(kernels, folder)).flatMap(
    (file) => readFileSync(join(kernels, folder, file), 'utf8').match(/\b_mm\w*?_\w+/g) ?? [],
  );
}

test('every intrinsic of the AVX-512 and AMX kernels has a portable form', () => {
  const used = [...new Set(['avx512', 'vnni', 'amx'].flatMap(intrinsics))].sort();
  assert.ok(used.length > 50, 'the pattern still finds intrinsics');
  // Portable forms are macros; what is no macro must be one of AVX2's own functions, which take no 512-bit operand.
  const probe = used.map((name) => `#ifndef ${name}\nMISSING ${name}\n#endif`).join('\n');
  const run = spawnSync(
    process.env.CXX ?? 'g++',
    ['-x', 'c++', '-std=c++20', '-O2', '-mavx2', '-mfma', '-mf16c', '-Inative/test/simde', '-E', '-P', '-'],
    { cwd: root, encoding: 'utf8', input: `#include <immintrin.h>\n${probe}\n`, maxBuffer: 1 << 28 },
  );
  if (run.error) return skip('no g++: whether SIMDe has every intrinsic of the kernels was not checked');
  if (/simde\/x86\/avx512\.h/.test(run.stderr)) return skip('SIMDe is not installed (Debian: libsimde-dev)');
  assert.is(run.status, 0, run.stderr);
  const missing = (run.stdout.match(/^MISSING \w+/gm) ?? [])
    .map((line) => line.slice('MISSING '.length))
    .filter((name) => /512|mask|pbh|dpbusd|dpbf16/.test(name) && !/_mm256_(maskload|maskstore|movemask)/.test(name));
  assert.equal(missing, []);
});

test.run();
