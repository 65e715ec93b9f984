/** The quantize step: int8 weights, in the convention of compressed-tensors. */
import { z } from 'zod';
import { withAbortCell } from '../../bindings/abort.js';
import { native } from '../../bindings/load.js';
import { openCheckpoint } from '../models/checkpoint.js';
import type { ParameterName } from '../models/description.js';
import { isLinearWeight, type Parameter, type QuantizedParameter } from '../models/parameters.js';
import { writeCheckpoint } from '../models/write-checkpoint.js';
import { checkOptions } from '../options.js';
import type { StepContext, StepResult } from '../step.js';
import { matchParameters, patternsSchema } from './parameter-patterns.js';

export const quantizeSchema = z.strictObject({
  /**
   * `dynamic`: int8 weights, and activations quantized token by token while the model runs (int8 products).
   * `weight-only`: int8 weights for a small file; the model computes in floating point.
   */
  method: z.enum(['dynamic', 'weight-only'], 'expected "dynamic" or "weight-only"').default('dynamic'),
  /** Weights that stay floating point: names with `*` for any run of characters. */
  keep: patternsSchema.default([]),
});

/** Options of a quantize step as a user writes them. */
export type QuantizeOptions = z.input<typeof quantizeSchema>;

/** What became of one weight. */
export interface QuantizedTensorRecord {
  name: ParameterName;
  shape: number[];
  /** Norm of (weight - int8 * scale) divided by the norm of the weight. */
  relativeError: number;
}

/** What quantizing needs of a step's context. */
export type QuantizeContext = Pick<StepContext, 'folder' | 'threads' | 'onProgress' | 'signal'>;

/**
 * Writes a checkpoint whose linear weights (those of the layers, pooler and classifier) and word embeddings are int8:
 * symmetric, one scale an output row, scale = max |row| / 127, rounded half to even. Biases, LayerNorm, position and
 * token type embeddings stay as they are. Transformers with the package compressed-tensors loads it.
 *
 * A checkpoint that is int8 already is quantized again from its dequantized weights.
 *
 * @param checkpoint folder of the model.
 * @returns the folder written; the record has `method`, `bytesBefore` and `bytesAfter` of the weight files, and
 *   `tensors`, a QuantizedTensorRecord each.
 * @throws WhittleError BAD_CHECKPOINT if the model cannot be read or a weight is NaN or infinite; BAD_OPTION; IO; ABORTED.
 * @example
 * const { checkpoint } = await quantize('runs/a/finetune', { method: 'dynamic' }, { folder: 'int8', threads: 0 });
 */
export async function quantize(
  checkpoint: string,
  options: QuantizeOptions,
  context: QuantizeContext,
): Promise<StepResult> {
  const { method, keep } = checkOptions(quantizeSchema, options, 'quantize options');
  const source = await openCheckpoint(checkpoint);
  const candidates = [...source.tensors.keys()].filter((name) => name === 'embeddings.word' || isLinearWeight(name));
  const kept = new Set(keep.length ? matchParameters(keep, candidates, 'quantize options: keep') : []);
  const chosen = candidates.filter((name) => !kept.has(name));

  const parameters = new Map<ParameterName, Parameter | QuantizedParameter>(await source.readParameters());
  const tensors: QuantizedTensorRecord[] = [];
  for (const name of chosen) {
    const { shape, data } = parameters.get(name) as Parameter;
    const [rows, columns] = shape as [number, number];
    const { values, scales, relativeError } = await withAbortCell(context.signal, (abort) =>
      native.quantizeWeight(name, data, rows, columns, context.threads, abort),
    );
    parameters.set(name, { shape, data: values, scale: scales });
    tensors.push({ name, shape, relativeError });
    context.onProgress?.({
      step: 'quantize',
      phase: `int8 weights (${method})`,
      done: tensors.length,
      total: chosen.length,
      unit: 'tensor',
    });
  }
  await writeCheckpoint(context.folder, {
    config: source.config,
    description: source.description,
    head: source.head,
    parameters,
    dtype: 'float32',
    quantization: method === 'dynamic' ? 'int8-dynamic' : 'int8-weight-only',
    tokenizerFrom: checkpoint,
    signal: context.signal,
  });
  const { bytes: bytesAfter } = await openCheckpoint(context.folder);
  return {
    checkpoint: context.folder,
    metrics: {},
    record: { method, bytesBefore: source.bytes, bytesAfter, kept: [...kept], tensors },
  };
}
