/** Who takes part in the inference benchmarks, how each is started, and what of a model it needs. */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { BenchmarkOptions } from '../benchmark.js';
import type { Contestant } from './contest.js';
import type { BenchmarkModel } from './models.js';

const bench = join(dirname(fileURLToPath(import.meta.url)), '..');

interface Entry {
  runtime: 'tsx' | 'node' | 'python';
  /** A file of bench/peers. */
  script: string;
  model: (model: BenchmarkModel) => string | undefined;
  /** What it is made to choose. */
  fixed?: object;
}

const onnx = (file: string) => (model: BenchmarkModel) => model.onnx && join(model.onnx, 'onnx', file);
const openvino = (file: string) => (model: BenchmarkModel) => model.openvino && join(model.openvino, file);

/** Every contestant gets the model and the work's file (work.ts) as arguments, and third what it chose before, if that is known. */
const entries = {
  whittle: { runtime: 'tsx', script: 'whittle.ts', model: ({ int8 }) => int8 },
  'onnxruntime-node int8': { runtime: 'node', script: 'onnxruntime.mjs', model: onnx('model_quantized.onnx') },
  'onnxruntime-node float32': { runtime: 'node', script: 'onnxruntime.mjs', model: onnx('model.onnx') },
  'transformers.js q8': { runtime: 'node', script: 'transformers.mjs', model: ({ onnx }) => onnx },
  'transformers.js q8, one by one': {
    ...{ runtime: 'node', script: 'transformers.mjs', model: ({ onnx }) => onnx },
    fixed: { batch_size: 1 },
  },
  'ONNX Runtime int8': { runtime: 'python', script: 'onnxruntime_peer.py', model: onnx('model_quantized.onnx') },
  'OpenVINO int8': { runtime: 'python', script: 'openvino_peer.py', model: openvino('int8.xml') },
  'OpenVINO float': { runtime: 'python', script: 'openvino_peer.py', model: openvino('float32.xml') },
  'PyTorch bfloat16': { runtime: 'python', script: 'pytorch_peer.py', model: ({ float32 }) => float32 },
} satisfies Record<string, Entry>;

export type ContestantName = keyof typeof entries;

/** Those of `names` that can be started here, each for the work in `file`. */
export function lineUp(
  names: readonly ContestantName[],
  model: BenchmarkModel,
  file: string,
  { python }: BenchmarkOptions,
  choiceOf: (name: string) => object | undefined,
): Contestant[] {
  const hasNodePeers = existsSync(join(bench, 'node_modules', 'onnxruntime-node'));
  return names.flatMap((name): Contestant[] => {
    const { runtime, script, model: pick, fixed }: Entry = entries[name];
    const path = pick(model);
    const missing = runtime === 'node' ? !hasNodePeers : runtime === 'python' && !python;
    if (!path || missing) {
      const cause = missing
        ? runtime === 'node'
          ? 'no bench/node_modules (see bench/README.md)'
          : 'no Python'
        : 'no such form of the model';
      console.log(`SKIPPED: ${name}: ${cause}`);
      return [];
    }
    const command = runtime === 'python' ? python! : process.execPath;
    const choice = fixed ?? choiceOf(name);
    const args = [
      ...(runtime === 'tsx' ? ['--import', 'tsx'] : []),
      ...[join(bench, 'peers', script), path, file],
      ...(choice ? [JSON.stringify(choice)] : []),
    ];
    return [{ name, command, args }];
  });
}
