/** The quantize step: int8 weights, in the convention of compressed-tensors. */
import { z } from 'zod';
import { withAbortCell } from '../../bindings/abort.js';
import { WhittleError } from '../../bindings/errors.js';
import { native } from '../../bindings/load.js';
import { openCheckpoint } from '../models/checkpoint.js';
import type { ParameterName } from '../models/description.js';
import { isLinearWeight, type Parameter, type QuantizedParameter } from '../models/parameters.js';
import { writeCheckpoint } from '../models/write-checkpoint.js';
import { checkOptions } from '../options.js';
import { checkCall, type StepContext, type StepResult } from '../step.js';
import { roundByCalibration, type InputMoments } from '../training/calibrate.js';
import { compressDevice, compressDeviceSchema } from './device.js';
import { matchKept } from './kept-weights.js';
import { patternsSchema } from './parameter-patterns.js';

export const quantizeSchema = z.strictObject({
  /**
   * `dynamic`: int8 weights, and activations quantized token by token while the model runs (int8 products).
   * `weight-only`: int8 weights for a small file; the model computes in floating point.
   */
  method: z.enum(['dynamic', 'weight-only'], 'expected "dynamic" or "weight-only"').default('dynamic'),
  /**
   * Weights that stay floating point: names with `*` for any run of characters. `dynamic` models compute the products
   * of their layers in int8, so that there only `embeddings.word`, `pooler.weight` and `classifier.weight` can be kept.
   */
  keep: patternsSchema.default([]),
  /**
   * Rows of the train split on which the layers' inputs are measured, so that what rounding one weight costs is made up
   * for by others (GPTQ; Frantar et al. 2023) and by the biases. 512 do; 0 rounds every weight to the nearest. Either way
   * the checkpoint has the same form and runs at the same speed. Rows should be of the kind that the model will meet.
   */
  calibration: z
    .int('expected a whole number of rows')
    .min(0, 'expected at least 0 rows')
    .max(100_000, 'expected at most 100,000 rows')
    .default(0),
  /**
   * Where weights are rounded: `cpu`, `auto`, `cuda` or `cuda:N`. The result is the same on each. What `calibration`
   * measures and makes up for is the CPU's work.
   */
  device: compressDeviceSchema,
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

/** What quantizing needs of a step's context; `data` and `seed` for calibration alone. */
export type QuantizeContext = Pick<StepContext, 'folder' | 'onProgress' | 'onNote' | 'signal'> &
  Partial<Pick<StepContext, 'threads' | 'data' | 'seed'>>;

/**
 * Writes a checkpoint whose linear weights (those of the layers, pooler and classifier) and word embeddings are int8:
 * symmetric, one scale an output row, scale = max |row| / 127, rounded half to even, or, in the layers and with
 * `calibration`, scaled and rounded so that the layers' outputs on rows of the train split change little, with biases
 * that make up for the mean change. All else stays as it is. Transformers with the package compressed-tensors loads it.
 *
 * A checkpoint that is int8 already is quantized again from its dequantized weights.
 *
 * @param checkpoint folder of the model.
 * @returns the folder written; the record has `method`, `bytesBefore` and `bytesAfter` of the weight files, and
 *   `tensors`, a QuantizedTensorRecord each.
 * @throws WhittleError BAD_CHECKPOINT if the model cannot be read or a weight is NaN or infinite; BAD_OPTION, also for
 *   calibration without data; UNSUPPORTED or DEVICE for a GPU that is not there, was lost or is full; IO; ABORTED.
 * @example
 * const { checkpoint } = await quantize('runs/quickstart/finetune', {}, { folder: 'runs/mine/int8' });
 * const data = await loadDataset({ path: 'examples/quickstart/data' });
 * await quantize('runs/quickstart/finetune', { calibration: 512 }, { folder: 'runs/mine/calibrated', data });
 */
export async function quantize(
  checkpoint: string,
  options: QuantizeOptions,
  context: QuantizeContext,
): Promise<StepResult> {
  const { method, keep, calibration, device: wanted } = checkOptions(quantizeSchema, options, 'quantize options');
  checkCall('quantize', checkpoint, context, false);
  const { threads = 0, onNote } = context;
  const device = compressDevice(wanted, onNote);
  const source = await openCheckpoint(checkpoint);
  const candidates = [...source.tensors.keys()].filter((name) => name === 'embeddings.word' || isLinearWeight(name));
  const kept = new Set(matchKept(keep, method, candidates, 'quantize options: keep'));
  const chosen = candidates.filter((name) => !kept.has(name));

  const original = await source.readParameters();
  const parameters = new Map<ParameterName, Parameter | QuantizedParameter>(original);
  const tensors: QuantizedTensorRecord[] = [];
  const round = async (name: ParameterName, { shape, data }: Parameter, gram?: Float32Array): Promise<Parameter> => {
    const [rows, columns] = shape as [number, number];
    const { values, scales, relativeError } = await withAbortCell(context.signal, (abort) =>
      native.quantizeWeight(name, data, gram, rows, columns, threads, abort, device),
    );
    const quantized = { shape, data: values, scale: scales };
    parameters.set(name, quantized);
    tensors.push({ name, shape, relativeError });
    context.onProgress?.({
      step: 'quantize',
      phase: `int8 weights (${method})`,
      done: tensors.length,
      total: chosen.length,
      unit: 'tensor',
    });
    return dequantized(quantized);
  };
  if (calibration > 0) {
    if (!context.data)
      throw new WhittleError(
        'BAD_OPTION',
        'quantize options: calibration: expected data to calibrate on but found none',
      );
    const { data, seed = 13 } = context;
    const inLayers = new Set(chosen.filter((name) => name.startsWith('layers.')));
    const roundWithBias = async (name: ParameterName, weight: Parameter, inputs: InputMoments) => {
      const rounded = await round(name, weight, inputs.gram);
      const biasName = name.replace(/weight$/, 'bias');
      const bias = correctedBias(original.get(biasName)!, weight, rounded, inputs.mean);
      parameters.set(biasName, bias);
      return { weight: rounded, bias };
    };
    await roundByCalibration({
      checkpoint: source,
      parameters: original,
      data,
      rows: calibration,
      seed,
      chosen: inLayers,
      round: roundWithBias,
    });
  }
  for (const name of chosen) if (parameters.get(name) === original.get(name)) await round(name, original.get(name)!);
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
    record: { method, calibration, bytesBefore: source.bytes, bytesAfter, kept: [...kept], tensors },
  };
}

/** The bias with which a rounded weight gives the same as before for the mean input (Nagel et al. 2019, section 4.2). */
function correctedBias(bias: Parameter, weight: Parameter, rounded: Parameter, mean: Float32Array): Parameter {
  const data = bias.data.map((value, row) => {
    let lost = 0;
    for (let column = 0; column < mean.length; column++) {
      const index = row * mean.length + column;
      lost += (weight.data[index]! - rounded.data[index]!) * mean[column]!;
    }
    return value + lost;
  });
  return { shape: bias.shape, data };
}

function dequantized({ shape, data, scale }: QuantizedParameter): Parameter {
  const columns = shape[1]!;
  const values = Float32Array.from(data);
  for (let row = 0; row < scale.length; row++)
    for (let i = row * columns; i < (row + 1) * columns; i++) values[i]! *= scale[row]!;
  return { shape, data: values };
}
