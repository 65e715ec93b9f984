/** The encoder on the backend `whittle`: one native kernel a layer, over ragged batches. */
import type * as tf from '@tensorflow/tfjs-core';
import { blockParameterNames, embeddingParameterNames } from '../../bindings/native.js';
import { embedding, transformerBlock } from '../backend/fused-kernels.js';
import { lowestDepth, type Encoder, type EncoderContext } from './encoder.js';

export function fusedEncoder({ description, precision, parameter }: EncoderContext): Encoder {
  const { hidden, heads, intermediate, normEpsilon, positionOffset } = description;
  return {
    embed(tokens, pass) {
      const { seed, step, hiddenDropout: dropout } = pass;
      const wanted = { input: false, parameters: embeddingParameterNames.map((name) => pass.trained.has(name)) };
      const spec = { hidden, positionOffset, normEpsilon, dropout, seed, step };
      return embedding(tokens, embeddingParameterNames.map(parameter), spec, wanted);
    },
    layers(x, offsets, from, to, pass) {
      const { seed, step, hiddenDropout, attentionDropout } = pass;
      const lowest = lowestDepth(pass.trained, description.layers);
      let output: tf.Tensor2D = x;
      for (let layer = from; layer < to; layer++) {
        const names = blockParameterNames.map((name) => `layers.${layer}.${name}`);
        const wanted = { input: lowest < layer, parameters: names.map((name) => pass.trained.has(name)) };
        const spec = {
          ...{ hidden, heads, intermediate, normEpsilon, hiddenDropout, attentionDropout },
          ...{ layer, precision, seed, step },
        };
        output = transformerBlock(output, names.map(parameter), offsets, spec, wanted);
      }
      return output;
    },
  };
}
