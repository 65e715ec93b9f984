/** The encoder from ordinary TensorFlow.js operations over padded batches: runs on any backend, float32. */
import * as tf from '@tensorflow/tfjs-core';
import { gelu, layerNorm } from '../backend/operations.js';
import { relativePositionBuckets } from '../models/relative-positions.js';
import { dropProbabilities, dropRows } from './composite-dropout.js';
import type { Encoder, EncoderContext, Pass } from './encoder.js';

export function compositeEncoder({ description, parameter, observe }: EncoderContext): Encoder {
  const { hidden, heads, headSize, normEpsilon, positionOffset, positionBuckets } = description;
  const matrix = (name: string) => parameter(name) as tf.Tensor2D;
  const linear = (x: tf.Tensor2D, layerName: string, part: string) => {
    observe?.(part, x);
    const name = `${layerName}.${part}`;
    return tf.add(tf.matMul(x, matrix(`${name}.weight`), false, true), parameter(`${name}.bias`)) as tf.Tensor2D;
  };
  const norm = (x: tf.Tensor, name: string) =>
    layerNorm(
      x,
      parameter(`${name}.weight`) as tf.Tensor1D,
      parameter(`${name}.bias`) as tf.Tensor1D,
      normEpsilon,
    ) as tf.Tensor2D;

  /** What is added to the scores `[sequences, heads, length, length]`: that of padding, and of relative positions. */
  function scoreBias({ length, keyBias }: Padding): tf.Tensor4D {
    if (positionBuckets === 0) return keyBias;
    const buckets = relativePositionBuckets(length, positionBuckets);
    const rows = new Int32Array(length * length);
    for (let query = 0; query < length; query++)
      rows.set(buckets.subarray(length - 1 - query, 2 * length - 1 - query), query * length);
    const bias = tf.reshape(tf.gather(matrix('embeddings.positionBias'), tf.tensor1d(rows)), [length, length, heads]);
    return tf.add(keyBias, tf.reshape(tf.transpose(bias, [2, 0, 1]), [1, heads, length, length]));
  }

  /** x `[sequences * length, hidden]`; padded positions are computed too and never looked at. */
  function layer(
    x: tf.Tensor2D,
    { sequences, length, offsets, tokenOf }: Padding,
    bias: tf.Tensor4D,
    index: number,
    { seed, step, attentionDropout, hiddenDropout }: Pass,
  ): tf.Tensor2D {
    const name = `layers.${index}`;
    const drop = (rows: tf.Tensor2D, site: 'attentionOutput' | 'output') =>
      dropRows(rows, tokenOf, { seed, step, layer: index, site, rate: hiddenDropout });
    const split = (rows: tf.Tensor2D) =>
      tf.transpose(tf.reshape(rows, [sequences, length, heads, headSize]), [0, 2, 1, 3]);
    const [query, key, value] = ['query', 'key', 'value'].map((part) => split(linear(x, name, `attention.${part}`)));
    const scores = tf.add(tf.mul(tf.matMul(query!, key!, false, true), 1 / Math.sqrt(headSize)), bias);
    const weights = dropProbabilities(tf.softmax(scores) as tf.Tensor4D, offsets, {
      ...{ seed, step, layer: index, site: 'attentionProbabilities', rate: attentionDropout },
    });
    const merged = tf.reshape(tf.transpose(tf.matMul(weights, value!), [0, 2, 1, 3]), [-1, hidden]) as tf.Tensor2D;
    const attended = drop(linear(merged, name, 'attention.output'), 'attentionOutput');
    const middle = norm(tf.add(attended, x), `${name}.attention.norm`);
    const wide = gelu(linear(middle, name, 'intermediate')) as tf.Tensor2D;
    const output = drop(linear(wide, name, 'output'), 'output');
    return norm(tf.add(output, middle), `${name}.output.norm`);
  }

  return {
    embed({ inputIds, tokenTypeIds, offsets }, { seed, step, hiddenDropout: rate }) {
      const positions = new Int32Array(inputIds.length);
      for (let sequence = 0; sequence + 1 < offsets.length; sequence++)
        for (let token = offsets[sequence]!; token < offsets[sequence + 1]!; token++)
          positions[token] = token - offsets[sequence]! + positionOffset;
      let sum = tf.add(
        tf.gather(matrix('embeddings.word'), tf.tensor1d(inputIds)),
        tf.gather(matrix('embeddings.position'), tf.tensor1d(positions)),
      );
      if (description.tokenTypes > 0)
        sum = tf.add(sum, tf.gather(matrix('embeddings.tokenType'), tf.tensor1d(tokenTypeIds)));
      const tokens = Int32Array.from(inputIds, (_, token) => token);
      return dropRows(norm(sum, 'embeddings.norm'), tokens, { seed, step, layer: 0, site: 'embedding', rate });
    },
    layers(x, offsets, from, to, pass) {
      if (from === to) return x;
      const padding = paddingOf(offsets);
      let padded = tf.gather(x, tf.tensor1d(padding.tokenOf)) as tf.Tensor2D;
      const bias = scoreBias(padding);
      for (let index = from; index < to; index++) padded = layer(padded, padding, bias, index, pass);
      return tf.gather(padded, tf.tensor1d(padding.placeOf));
    },
  };
}

interface Padding {
  /** `[sequences + 1]` of the tokens. */
  offsets: Int32Array;
  sequences: number;
  length: number;
  /** `[sequences * length]` the token at each place; padding repeats a sequence's first token. */
  tokenOf: Int32Array;
  /** `[tokens]` the place of each token. */
  placeOf: Int32Array;
  /** `[sequences, 1, 1, length]` 0 for tokens, a large negative number for padding. */
  keyBias: tf.Tensor4D;
}

function paddingOf(offsets: Int32Array): Padding {
  const sequences = offsets.length - 1;
  let length = 0;
  for (let sequence = 0; sequence < sequences; sequence++)
    length = Math.max(length, offsets[sequence + 1]! - offsets[sequence]!);
  const tokenOf = new Int32Array(sequences * length);
  const placeOf = new Int32Array(offsets[sequences]!);
  const keyBias = new Float32Array(sequences * length).fill(-1e30);
  for (let sequence = 0; sequence < sequences; sequence++) {
    const [first, end] = [offsets[sequence]!, offsets[sequence + 1]!];
    tokenOf.fill(first, sequence * length, (sequence + 1) * length);
    for (let token = first; token < end; token++) {
      const place = sequence * length + token - first;
      tokenOf[place] = token;
      placeOf[token] = place;
      keyBias[place] = 0;
    }
  }
  return { offsets, sequences, length, tokenOf, placeOf, keyBias: tf.tensor4d(keyBias, [sequences, 1, 1, length]) };
}
