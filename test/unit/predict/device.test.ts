/** Which device is chosen, and what is said where there is no GPU. The CUDA build is checked too where it is built. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { loadedBinary, native } from '../../../bindings/load.js';
import type { GpuSupport } from '../../../bindings/native.js';
import { openCheckpoint } from '../../../lib/models/checkpoint.js';
import { chooseDevice } from '../../../lib/models/device.js';
import { Engine } from '../../../lib/models/engine.js';
import { Predictor } from '../../../lib/predict/predictor.js';
import { expectError, root, skip } from '../../harness.js';

const hasGpu = native.gpuInfo().devices.length > 0;
const tinyModel = join(root, 'test', 'fixtures', 'tiny-bert');

test.before.each(() => {
  delete process.env.WHITTLE_DEVICE;
});

test('the CPU unless something else is asked for', async () => {
  assert.is(chooseDevice(), 'cpu');
  assert.is(chooseDevice('cpu'), 'cpu');
  assert.is(chooseDevice('auto'), hasGpu ? 'cuda:0' : 'cpu');
  await using engine = await Engine.load(await openCheckpoint(tinyModel));
  assert.is(engine.info.device, 'cpu');
});

test('spellings that are no device are refused, with where they were found', async () => {
  await expectError(() => chooseDevice('gpu'), 'BAD_OPTION', /^device: expected cpu, auto, cuda.* but found "gpu"/);
  await expectError(() => chooseDevice('cuda:0;cuda:1'), 'BAD_OPTION', /cuda:0;cuda:1/);
  process.env.WHITTLE_DEVICE = 'cuda0';
  await expectError(() => chooseDevice(), 'BAD_OPTION', /^WHITTLE_DEVICE: .* but found "cuda0"/);
});

test('without a GPU, asking for one says why there is none', async () => {
  if (hasGpu) return skip('this machine has a GPU');
  const { built, problem, devices } = native.gpuInfo();
  assert.equal(devices, []);
  assert.match(problem, built ? /driver/ : /no CUDA kernels/);
  for (const device of ['cuda', 'cuda:1', 'cuda:0,cuda:1']) {
    await expectError(() => Predictor.load(tinyModel, { device }), 'UNSUPPORTED', /expected a GPU for "cuda.*" but /);
  }
  process.env.WHITTLE_DEVICE = 'cuda';
  await expectError(() => Predictor.load(tinyModel), 'UNSUPPORTED', /expected a GPU for "cuda" but /);
  process.env.WHITTLE_DEVICE = 'auto';
  await using engine = await Engine.load(await openCheckpoint(tinyModel));
  assert.is(engine.info.device, 'cpu');
});

test('an index beyond the GPUs of the machine is refused', async () => {
  const gpu = (index: number) => ({ index, name: 'A', capability: 90, multiprocessors: 132, memoryBytes: 1 });
  const two: GpuSupport = {
    ...{ built: true, driverVersion: 13000, runtimeVersion: 13000, problem: '' },
    devices: [gpu(0), gpu(1)],
  };
  assert.is(chooseDevice('cuda:1', two), 'cuda:1');
  assert.is(chooseDevice('cuda:1,cuda:0', two), 'cuda:1,cuda:0');
  for (const device of ['cuda:2', 'cuda:0,cuda:2'])
    await expectError(() => chooseDevice(device, two), 'UNSUPPORTED', /expected cuda:0 to cuda:1.* but found cuda:2$/);
  if (hasGpu) await expectError(() => chooseDevice('cuda:99'), 'UNSUPPORTED', /but found cuda:99$/);
});

test('the CUDA build runs on the CPU where there is no driver', () => {
  const binary = join(root, 'build', 'cuda', 'Release', 'whittle.node');
  if (!existsSync(binary)) return skip(`${binary} is missing: the CUDA target is not built`);
  const exported = (file: string) => Object.keys(createRequire(import.meta.url)(file) as object).sort();
  if (exported(binary).join() !== exported(loadedBinary().path).join())
    return skip(`${binary} is of another version: build the CUDA target again`);
  const script = `
    import { native, loadedBinary } from './bindings/load.ts';
    import { openCheckpoint } from './lib/models/checkpoint.ts';
    import { Engine } from './lib/models/engine.ts';
    const { built, devices, problem } = native.gpuInfo();
    const engine = await Engine.load(await openCheckpoint(${JSON.stringify(tinyModel)}), { device: 'cpu' });
    const batch = { inputIds: Int32Array.of(2, 3), tokenTypeIds: Int32Array.of(0, 0), offsets: Int32Array.of(0, 2) };
    const hidden = await engine.run(batch, { output: 'hidden' });
    await engine.dispose();
    console.log(JSON.stringify({ path: loadedBinary().path, built, devices: devices.length, problem, values: hidden.length }));`;
  const env = { ...process.env, WHITTLE_BINARY: binary };
  const run = spawnSync(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script], {
    cwd: root,
    env,
    encoding: 'utf8',
  });
  assert.is(run.status, 0, run.stderr);
  const { path, built, devices, problem, values } = JSON.parse(run.stdout) as Record<string, unknown>;
  assert.is(path, binary);
  assert.is(built, true);
  assert.ok((values as number) > 0);
  if (devices === 0) assert.match(problem as string, /no NVIDIA driver|too old|no GPU|does not answer/);
});

test.run();
