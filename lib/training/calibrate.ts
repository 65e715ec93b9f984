/** What goes into each linear layer of a model on real rows: what compensated rounding needs to know. */
import * as tf from '@tensorflow/tfjs-core';
import { WhittleError } from '../../bindings/errors.js';
import { useWhittleBackend } from '../backend/register.js';
import { raggedBatch, type Example } from '../data/batch.js';
import type { Dataset } from '../data/dataset.js';
import { encodeRows } from '../data/encode.js';
import { seededRandom, shuffle } from '../data/random.js';
import { loadTokenizer } from '../data/tokenizer/tokenizer.js';
import type { Checkpoint } from '../models/checkpoint.js';
import type { ParameterName } from '../models/description.js';
import type { Parameter, Parameters } from '../models/parameters.js';
import { compositeEncoder } from './composite-encoder.js';
import type { Encoder } from './encoder.js';
import { evaluation } from './model.js';

/** Tokens of a calibration batch, at most, unless one sequence has more. */
const batchTokens = 2048;
/** Tokens of a calibration text, at most. */
const longestText = 256;
/** The linear layers of a transformer layer, by what they have as input. */
const sharedInputs: Record<string, string[]> = {
  'attention.query': ['attention.query', 'attention.key', 'attention.value'],
  'attention.output': ['attention.output'],
  intermediate: ['intermediate'],
  output: ['output'],
};

export interface Calibration {
  checkpoint: Checkpoint;
  parameters: Parameters;
  data: Dataset;
  /** How many rows of the train split to look at, drawn by `seed`. */
  rows: number;
  seed: number;
  /**
   * Rounds one weight `[out, in]` given `gram` `[in, in]`, the sum of xᵀx over its inputs, and returns what it became;
   * the layers above then see what that weight gives.
   */
  round: (name: ParameterName, weight: Parameter, gram: Float32Array) => Promise<Parameter>;
  /** Weights that are rounded at all. */
  chosen: ReadonlySet<ParameterName>;
}

/**
 * Goes through the layers from the lowest to the topmost: measures what goes into the linear layers of one on
 * calibration rows, has their weights rounded, and runs the rows through the rounded layer to reach the next.
 *
 * @throws WhittleError BAD_DATA without rows to calibrate on; what `round` throws.
 */
export async function roundByCalibration(calibration: Calibration): Promise<void> {
  const { checkpoint, parameters, chosen } = calibration;
  const { description } = checkpoint;
  const batches = equalLengthBatches(await calibrationExamples(calibration)).map(raggedBatch);
  useWhittleBackend();
  const weights = new Map<ParameterName, tf.Tensor>();
  let grams: Map<string, tf.Tensor2D> | undefined;
  const encoder = compositeEncoder({
    description,
    precision: 'float32',
    parameter: (name) => weights.get(name)!,
    observe: (name, x) => {
      if (!grams || !(name in sharedInputs)) return;
      const before = grams.get(name);
      const product = tf.matMul(x, x, true, false);
      grams.set(name, tf.keep(before ? tf.add(before, product) : product) as tf.Tensor2D);
      before?.dispose();
    },
  });
  const hold = (name: ParameterName, { shape, data }: Parameter) => {
    weights.get(name)?.dispose();
    weights.set(name, tf.tensor(data, shape, 'float32'));
  };
  const states: tf.Tensor2D[] = [];
  try {
    for (const [name, parameter] of parameters) if (name.startsWith('embeddings.')) hold(name, parameter);
    for (const batch of batches) states.push(tf.tidy(() => encoder.embed(batch, evaluation)));
    for (let layer = 0; layer < description.layers; layer++) {
      const prefix = `layers.${layer}.`;
      for (const [name, parameter] of parameters) if (name.startsWith(prefix)) hold(name, parameter);
      grams = new Map();
      for (const [index, batch] of batches.entries()) runLayer(encoder, states[index]!, batch.offsets, layer).dispose();
      const measured = new Map([...grams].map(([name, gram]) => [name, gram.dataSync() as Float32Array]));
      for (const gram of grams.values()) gram.dispose();
      grams = undefined;
      for (const [input, linears] of Object.entries(sharedInputs))
        for (const linear of linears) {
          const name = `${prefix}${linear}.weight`;
          if (!chosen.has(name)) continue;
          hold(name, await calibration.round(name, parameters.get(name)!, measured.get(input)!));
        }
      for (const [index, batch] of batches.entries()) {
        const before = states[index]!;
        states[index] = runLayer(encoder, before, batch.offsets, layer);
        before.dispose();
      }
      for (const [name, tensor] of weights) if (name.startsWith(prefix)) tensor.dispose();
    }
  } finally {
    tf.dispose(states);
    for (const tensor of weights.values()) tensor.dispose();
    for (const gram of grams?.values() ?? []) gram.dispose();
  }
}

function runLayer(encoder: Encoder, hidden: tf.Tensor2D, offsets: Int32Array, layer: number): tf.Tensor2D {
  return tf.tidy(() => encoder.layers(hidden, offsets, layer, layer + 1, evaluation));
}

async function calibrationExamples({ checkpoint, data, rows, seed }: Calibration): Promise<Example[]> {
  const { positions, positionOffset } = checkpoint.description;
  const indices = shuffle([...data.train.rows.keys()], seededRandom(seed)).slice(0, rows);
  if (indices.length === 0)
    throw new WhittleError('BAD_DATA', 'quantize options: calibration: expected rows to train on but found none');
  const tokenizer = await loadTokenizer(checkpoint.folder);
  return encodeRows(
    indices.map((index) => data.train.rows[index]!),
    data.task,
    { tokenizer, maxLength: Math.min(longestText, positions - positionOffset) },
  ).examples;
}

/** Batches whose sequences are of one length, so that the composite encoder pads none. */
function equalLengthBatches(examples: readonly Example[]): Example[][] {
  const sorted = [...examples].sort((a, b) => a.inputIds.length - b.inputIds.length);
  const batches: Example[][] = [];
  for (const example of sorted) {
    const last = batches.at(-1);
    const { length } = example.inputIds;
    if (last && last[0]!.inputIds.length === length && (last.length + 1) * length <= batchTokens) last.push(example);
    else batches.push([example]);
  }
  return batches;
}
