/** The models that benchmarks run, in whittle's form and in the peers'. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { quantize } from '../../lib/compress/quantize.js';
import { openCheckpoint } from '../../lib/models/checkpoint.js';
import { writeCheckpoint } from '../../lib/models/write-checkpoint.js';
import type { BenchmarkOptions } from '../benchmark.js';

const here = dirname(fileURLToPath(import.meta.url));

export interface BenchmarkModels {
  /** float32 checkpoint with a text classification head. */
  float32: string;
  /** The same, quantized by whittle for dynamic int8. */
  int8: string;
  /** The same in ONNX, dynamic int8 by onnxruntime.quantization; absent without Python. */
  onnxInt8?: string;
}

/**
 * A text classifier in all forms, in a folder that goes when the process ends. `checkpoint` is a fine-tuned one;
 * without it, minilm-l6 gets a head of 77 labels with made-up weights, which costs the same time.
 */
export async function benchmarkModels(
  { shared, python }: BenchmarkOptions,
  checkpoint: string | undefined,
  { onnx = true } = {},
): Promise<BenchmarkModels> {
  const folder = mkdtempSync(join(tmpdir(), 'whittle-bench-'));
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
  const float32 = checkpoint ?? (await withHead(join(shared, 'models', 'minilm-l6'), join(folder, 'float32'), 77));
  const { checkpoint: int8 } = await quantize(
    float32,
    { method: 'dynamic' },
    { folder: join(folder, 'int8'), threads: 0 },
  );
  const onnxInt8 = onnx ? exportOnnx(python, float32, join(folder, 'onnx')) : undefined;
  return { float32, int8, ...(onnxInt8 && { onnxInt8 }) };
}

async function withHead(source: string, target: string, count: number): Promise<string> {
  const { config, description, readParameters } = await openCheckpoint(source);
  const labels = Array.from({ length: count }, (_, id) => `class ${id}`);
  const parameters = await readParameters();
  const weight = Float32Array.from({ length: count * description.hidden }, (_, i) => Math.sin(i) * 0.05);
  parameters.set('classifier.weight', { shape: [count, description.hidden], data: weight });
  parameters.set('classifier.bias', { shape: [count], data: new Float32Array(count) });
  const head = { task: 'text-classification', labels } as const;
  await writeCheckpoint(target, {
    ...{ config, description: { ...description, hasPooler: true }, head, parameters },
    ...{ dtype: 'float32', tokenizerFrom: source },
  });
  return target;
}

/** The int8 ONNX file of a checkpoint, or undefined, with a line that says why. */
function exportOnnx(python: string | undefined, checkpoint: string, output: string): string | undefined {
  if (!python || !existsSync(join(here, '..', 'node_modules', 'onnxruntime-node'))) {
    const missing = python
      ? 'bench/node_modules (see bench/README.md)'
      : 'a Python with torch and onnxruntime (--python)';
    console.log(`SKIPPED: the peer onnxruntime-node, since there is no ${missing}`);
    return undefined;
  }
  const script = join(here, '..', 'peers', 'export_onnx.py');
  const result = spawnSync(python, [script, checkpoint, output], { encoding: 'utf8' });
  if (result.status === 0) return join(output, 'int8.onnx');
  throw new Error(`Exporting ${checkpoint} to ONNX failed:\n${result.stderr}`);
}

/** The first `count` texts of a data set's test split. */
export function testTexts(shared: string, dataset: string, count: number): string[] {
  const lines = readFileSync(join(shared, 'data', dataset, 'test.jsonl'), 'utf8')
    .trim()
    .split('\n');
  // Evenly over the file, which may be sorted by label.
  const step = Math.max(1, Math.floor(lines.length / count));
  return lines
    .filter((_, index) => index % step === 0)
    .slice(0, count)
    .map((line) => (JSON.parse(line) as { text: string }).text);
}
