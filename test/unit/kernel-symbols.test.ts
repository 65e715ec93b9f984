/**
 * Kernels are compiled for instruction sets that a machine may lack. If one of their objects held a weak symbol (an
 * inline function or a template of the standard library), the linker might pick that copy for everybody, and the
 * program would end with SIGILL on an older CPU. So there must be none.
 */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { root, skip } from '../harness.js';

for (const isa of ['avx2', 'avxvnni', 'avx512', 'vnni', 'amx']) {
  test(`no weak symbol in the kernels for ${isa}`, () => {
    const archive = join(root, 'build', 'Release', `kernels_${isa}.a`);
    if (!existsSync(archive)) return skip(`${archive} is missing: not built by node-gyp`);
    const run = spawnSync('nm', ['-C', '--defined-only', archive], { encoding: 'utf8', maxBuffer: 1 << 28 });
    if (run.error) return skip('nm is not installed: the symbols of the kernels were not checked');
    const symbols = run.stdout.split('\n').filter((line) => /^[0-9a-f]+ \w /.test(line));
    assert.ok(
      symbols.some((line) => line.includes(`register_${isa}`)),
      'nm lists the symbols',
    );
    assert.equal(
      symbols.filter((line) => /^[0-9a-f]+ [WVu] /.test(line)),
      [],
    );
  });
}

test.run();
