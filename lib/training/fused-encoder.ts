/** The encoder on the backend `whittle`: one native kernel a layer, over ragged batches. */
import * as tf from '@tensorflow/tfjs-core';
import { blockParameterNames, embeddingParameterNames } from '../../bindings/native.js';
import { embedding, transformerBlock, type CallParameters } from '../backend/fused-kernels.js';
import type { ParameterName } from '../models/description.js';
import { relativePositionBuckets } from '../models/relative-positions.js';
import { lowestDepth, type Encoder, type EncoderContext, type Pass } from './encoder.js';
import type { PackedWeights } from './packed-weights.js';

export interface FusedContext extends EncoderContext {
  /** A scalar variable, see CallParameters. */
  anchor: tf.Tensor;
  /** The weights that are packed already. */
  packed: PackedWeights | undefined;
}

export function fusedEncoder(context: FusedContext): Encoder {
  const { description, precision, parameter, anchor, packed } = context;
  const { hidden, heads, intermediate, normEpsilon, positionOffset, positionBuckets } = description;
  const namesOfLayer = Array.from({ length: description.layers }, (_, layer) =>
    blockParameterNames.map((name) => `layers.${layer}.${name}`),
  );

  const parametersOf = (names: readonly ParameterName[], { take }: Pass): CallParameters => ({
    values: names.map(parameter),
    anchor,
    take: take && ((index, gradient) => take(names[index]!, gradient)),
  });

  /** `[heads, 2 * longest - 1]` for sequences of up to so many tokens. */
  function positionBias(offsets: Int32Array): tf.Tensor2D | undefined {
    if (positionBuckets === 0) return undefined;
    let longest = 1;
    for (let sequence = 0; sequence + 1 < offsets.length; sequence++)
      longest = Math.max(longest, offsets[sequence + 1]! - offsets[sequence]!);
    const buckets = tf.tensor1d(relativePositionBuckets(longest, positionBuckets), 'int32');
    return tf.transpose(tf.gather(parameter('embeddings.positionBias') as tf.Tensor2D, buckets));
  }

  return {
    embed(tokens, pass) {
      const { seed, step, hiddenDropout: dropout } = pass;
      const wanted = { input: false, parameters: embeddingParameterNames.map((name) => pass.trained.has(name)) };
      const spec = { hidden, positionOffset, normEpsilon, dropout, seed, step };
      return embedding(tokens, parametersOf(embeddingParameterNames, pass), spec, wanted);
    },
    layers(x, offsets, from, to, pass) {
      const { seed, step, hiddenDropout, attentionDropout, recompute } = pass;
      const lowest = lowestDepth(pass.trained, description.layers);
      const bias = positionBias(offsets);
      let output: tf.Tensor2D = x;
      for (let layer = from; layer < to; layer++) {
        const names = namesOfLayer[layer]!;
        const wanted = {
          input: lowest < layer,
          parameters: names.map((name) => pass.trained.has(name)),
          positionBias: pass.trained.has('embeddings.positionBias'),
          recompute,
        };
        const spec = {
          ...{ hidden, heads, intermediate, normEpsilon, hiddenDropout, attentionDropout },
          ...{ layer, precision, seed, step },
        };
        const weights = packed?.ofLayer(layer, parameter);
        output = transformerBlock(output, parametersOf(names, pass), offsets, spec, wanted, bias, weights);
      }
      return output;
    },
  };
}

const offTape = new RegExp(`^(layers\\.|(${embeddingParameterNames.join('|').replaceAll('.', '\\.')})$)`);

/** True of the parameters whose gradients a pass takes beside the tape. */
export function isOffTape(name: ParameterName): boolean {
  return offTape.test(name);
}
