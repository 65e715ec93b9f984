/** Where weights are pruned and rounded: which device is taken, and what happens where there is none. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { native } from '../../../bindings/load.js';
import type { GpuSupport } from '../../../bindings/native.js';
import { compressDevice } from '../../../lib/compress/device.js';
import { prune } from '../../../lib/compress/prune.js';
import { quantize } from '../../../lib/compress/quantize.js';
import { expectError, skip, temporaryFolder } from '../../harness.js';
import { testContext, textDataset, textModel } from './tiny-task.js';

const gpu = (index: number) => ({ index, name: 'A', capability: 90, multiprocessors: 132, memoryBytes: 1 });
const support = (count: number, problem = ''): GpuSupport => ({
  ...{ built: true, driverVersion: 13000, runtimeVersion: 13000, problem },
  devices: Array.from({ length: count }, (_, index) => gpu(index)),
});

test('the CPU unless a GPU is asked for; of several the first', () => {
  const notes: string[] = [];
  const choose = (device: string | undefined, gpus: GpuSupport) =>
    compressDevice(device, (note) => notes.push(note), gpus);
  assert.is(choose(undefined, support(2)), 'cpu');
  assert.is(choose('cpu', support(2)), 'cpu');
  assert.is(choose('auto', support(0, 'no NVIDIA driver was found')), 'cpu');
  assert.is(choose('auto', support(1)), 'cuda:0');
  assert.is(choose('cuda', support(1)), 'cuda:0');
  assert.is(choose('cuda:1,cuda:0', support(2)), 'cuda:1');
  assert.equal(notes, []);
});

test('where there is no GPU, a note says why the CPU takes its place', () => {
  for (const problem of ['no NVIDIA driver was found', 'the NVIDIA driver is too old: it serves CUDA 12.8']) {
    const notes: string[] = [];
    assert.is(
      compressDevice('cuda:1', (note) => notes.push(note), support(0, problem)),
      'cpu',
    );
    assert.equal(notes, [`device: expected a GPU for "cuda:1" but ${problem}; the CPU gives the same result`]);
  }
});

test('an index beyond the GPUs, and what is no device, are errors', async () => {
  await expectError(
    () => compressDevice('cuda:2', undefined, support(2)),
    'UNSUPPORTED',
    /cuda:0 to cuda:1.*found cuda:2/,
  );
  const context = testContext(textDataset(2));
  await expectError(() => prune(textModel, { sparsity: 0.5, device: 'gpu' }, context), 'BAD_OPTION', /cpu, auto, cuda/);
});

test('steps that ask for a GPU give the same files on a machine without one, and say so', async () => {
  const { devices, problem } = native.gpuInfo();
  if (devices.length > 0) return skip('this machine has a GPU');
  const notes: string[] = [];
  const onNote = (note: string) => notes.push(note);
  const weights = (folder: string) => readFileSync(join(folder, 'model.safetensors'));
  const [onCpu, onGpu] = [testContext(textDataset(2)), { ...testContext(textDataset(2)), onNote }];
  await prune(textModel, { sparsity: 0.5 }, onCpu);
  await prune(textModel, { sparsity: 0.5, device: 'cuda' }, onGpu);
  assert.equal(weights(onGpu.folder), weights(onCpu.folder));
  const [cpuFolder, gpuFolder] = [join(temporaryFolder(), 'cpu'), join(temporaryFolder(), 'gpu')];
  await quantize(textModel, {}, { folder: cpuFolder, threads: 1 });
  await quantize(textModel, { device: 'cuda' }, { folder: gpuFolder, threads: 1, onNote });
  assert.equal(weights(gpuFolder), weights(cpuFolder));
  assert.is(notes.length, 2);
  for (const note of notes) assert.ok(note.includes(problem) && note.includes('the CPU'), note);
});

test('the native core refuses a GPU that is not there', async () => {
  if (native.gpuInfo().devices.length > 0) return skip('this machine has a GPU');
  const values = Float32Array.of(1, 2, 3, 4);
  await expectError(
    () => native.magnitudeMasks(['w'], [values], 2, 1, undefined, 'cuda:0'),
    'UNSUPPORTED',
    /Expected a GPU for device cuda:0 but/,
  );
  await expectError(
    () => native.quantizeWeight('w', values, undefined, 2, 2, 1, undefined, 'cuda:0'),
    'UNSUPPORTED',
    /Expected a GPU for device cuda:0 but/,
  );
  await expectError(
    () => native.quantizeWeight('w', values, undefined, 2, 2, 1, undefined, 'gpu'),
    'BAD_OPTION',
    /found "gpu"/,
  );
});

test.run();
