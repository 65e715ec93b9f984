/** The addon exports exactly what bindings/native.ts declares, and fails with WhittleErrors. */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import ts from 'typescript';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { loadedBinary, native } from '../../bindings/load.js';
import { expectError, root } from '../harness.js';

function declaredKeys(): string[] {
  const program = ts.createProgram([join(root, 'bindings', 'native.ts')], { strict: true, noEmit: true });
  const checker = program.getTypeChecker();
  const file = program.getSourceFile(join(root, 'bindings', 'native.ts'))!;
  const exported = checker.getExportsOfModule(checker.getSymbolAtLocation(file)!);
  const binding = exported.find((symbol) => symbol.name === 'NativeBinding')!;
  return checker.getPropertiesOfType(checker.getDeclaredTypeOfSymbol(binding)).map((symbol) => symbol.name);
}

test('the addon has the functions of its typed contract and no others', () => {
  assert.equal(Object.keys(native).sort(), declaredKeys().sort());
});

test('says which binary was loaded and why', () => {
  const { path, reason, tried } = loadedBinary();
  assert.match(path, /whittle\.node$/);
  assert.ok(reason.length > 0);
  assert.is(tried.at(-1)!.outcome, 'loaded');
});

test('errors of synchronous and asynchronous functions are WhittleErrors with their code', async () => {
  await expectError(() => native.engineInfo({} as never), 'BAD_OPTION', /Expected an engine/);
  const tensor = { name: 'x', file: '/nowhere/x', dtype: 'F32' as const, shape: [2], offset: 8, bytes: 8 };
  await expectError(() => native.readParameters([{ tensor }]), 'IO', /\/nowhere\/x could not be read/);
  await expectError(
    () => native.readParameters([{ tensor: { ...tensor, bytes: 7 } }]),
    'BAD_CHECKPOINT',
    /tensor x.*8 bytes.*7/,
  );
  await expectError(() => native.readParameters(3 as never), 'BAD_OPTION', /Expected an array for parameters/);
  await expectError(
    () => native.readParameters([{ tensor: { ...tensor, shape: [2 ** 40, 2 ** 40] } }]),
    'BAD_CHECKPOINT',
    /too large/,
  );
});

test('a binary that WHITTLE_BINARY names and that is none is told as such', () => {
  const load = join(root, 'bindings', 'load.ts');
  const program = `import { native } from ${JSON.stringify(load)}; native.machineInfo();`;
  const { status, stderr } = spawnSync(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', program], {
    cwd: root,
    encoding: 'utf8',
    env: { ...process.env, WHITTLE_BINARY: '/nowhere/whittle.node' },
  });
  assert.is(status, 1);
  assert.match(
    stderr,
    /WHITTLE_BINARY: expected the path of .* binary but found \/nowhere\/whittle\.node \(not there\)/,
  );
});

test.run();
