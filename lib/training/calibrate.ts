/** What goes into each linear layer of a model on real rows: what compensated rounding needs to know. */
import * as tf from '@tensorflow/tfjs-core';
import { WhittleError } from '../../bindings/errors.js';
import { useWhittleBackend } from '../backend/register.js';
import { raggedBatch, type Example } from '../data/batch.js';
import type { Dataset } from '../data/dataset.js';
import { encodeRows } from '../data/encode.js';
import { seededRandom, shuffle } from '../data/random.js';
import { sampleStream } from '../data/streamed-rows.js';
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
/** Inputs that are measured in one pass over the rows: before the second, what the first measured has been rounded. */
const passes = [
  ['attention.query', 'attention.output'],
  ['intermediate', 'output'],
];

/** Of the inputs x `[in]` of a linear layer. */
export interface InputMoments {
  /** `[in]` the mean m. */
  mean: Float32Array;
  /** `[in, in]` the sum of (x - m)ᵀ(x - m). */
  gram: Float32Array;
}

export interface Calibration {
  checkpoint: Checkpoint;
  parameters: Parameters;
  data: Dataset;
  /** How many rows of the train split to look at, drawn by `seed`. */
  rows: number;
  seed: number;
  /**
   * Rounds one weight `[out, in]` and its bias `[out]`, and returns what they became; what comes after them in the model
   * then sees what they give.
   */
  round: (
    name: ParameterName,
    weight: Parameter,
    inputs: InputMoments,
  ) => Promise<{ weight: Parameter; bias: Parameter }>;
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
  let measured: Map<string, MomentSums> | undefined;
  const encoder = compositeEncoder({
    description,
    precision: 'float32',
    parameter: (name) => weights.get(name)!,
    observe: (name, x) => {
      measured?.get(name)?.add(x);
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
      for (const inputs of passes) {
        measured = new Map(inputs.map((input) => [input, new MomentSums()]));
        for (const [index, { offsets }] of batches.entries())
          runLayer(encoder, states[index]!, offsets, layer).dispose();
        for (const input of inputs) {
          const moments = measured.get(input)!.take();
          for (const linear of sharedInputs[input]!) {
            const name = `${prefix}${linear}`;
            if (!chosen.has(`${name}.weight`)) continue;
            const rounded = await calibration.round(`${name}.weight`, parameters.get(`${name}.weight`)!, moments);
            hold(`${name}.weight`, rounded.weight);
            hold(`${name}.bias`, rounded.bias);
          }
        }
        measured = undefined;
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
    for (const sums of measured?.values() ?? []) sums.dispose();
  }
}

/** Adds up the moments of one layer's inputs. */
class MomentSums {
  #rows = 0;
  #sum: tf.Tensor1D | undefined;
  #product: tf.Tensor2D | undefined;

  /** @param x `[rows, in]` */
  add(x: tf.Tensor2D): void {
    const [sum, product] = [this.#sum, this.#product];
    const more = tf.sum<tf.Tensor1D>(x, 0);
    const moreProduct = tf.matMul<tf.Tensor2D>(x, x, true, false);
    this.#rows += x.shape[0];
    this.#sum = tf.keep(sum ? tf.add<tf.Tensor1D>(sum, more) : more);
    this.#product = tf.keep(product ? tf.add<tf.Tensor2D>(product, moreProduct) : moreProduct);
    tf.dispose([sum, product]);
  }

  /** The moments; the sums are disposed of. */
  take(): InputMoments {
    const mean = this.#sum!.dataSync<'float32'>().map((value) => value / this.#rows);
    const gram = this.#product!.dataSync<'float32'>().slice();
    this.dispose();
    const width = mean.length;
    for (let i = 0; i < width; i++)
      for (let j = 0; j < width; j++) gram[i * width + j]! -= this.#rows * mean[i]! * mean[j]!;
    return { mean, gram };
  }

  dispose(): void {
    tf.dispose([this.#sum, this.#product]);
  }
}

function runLayer(encoder: Encoder, hidden: tf.Tensor2D, offsets: Int32Array, layer: number): tf.Tensor2D {
  return tf.tidy(() => encoder.layers(hidden, offsets, layer, layer + 1, evaluation));
}

async function calibrationExamples({ checkpoint, data, rows, seed }: Calibration): Promise<Example[]> {
  const { positions, positionOffset } = checkpoint.description;
  const { source, rows: inMemory } = data.train;
  const chosen = source
    ? await sampleStream(source, rows, seed)
    : shuffle([...inMemory.keys()], seededRandom(seed))
        .slice(0, rows)
        .map((index) => inMemory[index]!);
  if (chosen.length === 0)
    throw new WhittleError('BAD_DATA', 'quantize options: calibration: expected rows to train on but found none');
  const tokenizer = await loadTokenizer(checkpoint.folder);
  return encodeRows(chosen, data.task, { tokenizer, maxLength: Math.min(longestText, positions - positionOffset) })
    .examples;
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
