/** Who takes part in the inference benchmarks, how each is started, and what of a model it needs. */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { BenchmarkOptions } from '../benchmark.js';
import type { Contestant } from './contest.js';
import type { BenchmarkModel, PeerForm } from './models.js';

const bench = join(dirname(fileURLToPath(import.meta.url)), '..');

interface Entry {
  runtime: 'tsx' | 'node' | 'python';
  /** A file of bench/peers. */
  script: string;
  /** The model's form, and the file in it that the script takes. */
  form: 'float32' | 'int8' | PeerForm;
  file?: string;
  /** What it is made to choose. */
  fixed?: object;
}

const onnxRuntimeNode = { runtime: 'node', script: 'onnxruntime.mjs', form: 'onnx' } as const;
const transformersJs = { runtime: 'node', script: 'transformers.mjs', form: 'onnx' } as const;
const openvino = { runtime: 'python', script: 'openvino_peer.py', form: 'openvino' } as const;

/** Every contestant gets the model and the work's file (work.ts) as arguments, and third what it chose before, if that is known. */
const entries = {
  whittle: { runtime: 'tsx', script: 'whittle.ts', form: 'int8' },
  'onnxruntime-node int8': { ...onnxRuntimeNode, file: 'onnx/model_quantized.onnx' },
  'onnxruntime-node float32': { ...onnxRuntimeNode, file: 'onnx/model.onnx' },
  'transformers.js q8': transformersJs,
  'transformers.js q8, one by one': { ...transformersJs, fixed: { batch_size: 1 } },
  'ONNX Runtime int8': {
    ...{ runtime: 'python', script: 'onnxruntime_peer.py' },
    ...{ form: 'onnx', file: 'onnx/model_quantized.onnx' },
  },
  'OpenVINO int8': { ...openvino, file: 'int8.xml' },
  'OpenVINO float': { ...openvino, file: 'float32.xml' },
  'PyTorch bfloat16': { runtime: 'python', script: 'pytorch_peer.py', form: 'float32' },
} satisfies Record<string, Entry>;

export type ContestantName = keyof typeof entries;

/** Those of `names` that can be started here, each for the work in `file`; a line says which cannot. */
export async function lineUp(
  names: readonly ContestantName[],
  model: BenchmarkModel,
  file: string,
  { python }: BenchmarkOptions,
  choiceOf: (name: string) => object | undefined,
): Promise<Contestant[]> {
  const hasNodePeers = existsSync(join(bench, 'node_modules', 'onnxruntime-node'));
  const contestants: Contestant[] = [];
  for (const name of names) {
    const entry: Entry = entries[name];
    const isPeerForm = entry.form === 'onnx' || entry.form === 'openvino';
    const folder = isPeerForm ? await model.form(entry.form as PeerForm) : model[entry.form as 'float32' | 'int8'];
    const command = entry.runtime === 'python' ? python : process.execPath;
    const missing =
      entry.runtime === 'node' && !hasNodePeers
        ? 'no bench/node_modules (see bench/README.md)'
        : 'no Python (--python FILE)';
    if (!folder || !command || (entry.runtime === 'node' && !hasNodePeers)) {
      console.log(`SKIPPED: ${name}: ${missing}`);
      continue;
    }
    const choice = entry.fixed ?? choiceOf(name);
    const args = [
      ...(entry.runtime === 'tsx' ? ['--import', 'tsx'] : []),
      ...[join(bench, 'peers', entry.script), join(folder, entry.file ?? ''), file],
      ...(choice ? [JSON.stringify(choice)] : []),
    ];
    contestants.push({ name, command, args });
  }
  return contestants;
}
