/** What the two forms of the same encoder, fused and composite, have in common. */
import type * as tf from '@tensorflow/tfjs-core';
import type { TrainingPrecision } from '../../bindings/native.js';
import type { ModelDescription, ParameterName } from '../models/description.js';
import { depthOf } from './parameter-groups.js';

/** Tokens end to end, with ids that index the model's word table. */
export interface RaggedTokens {
  /** `[tokens]` */
  inputIds: Int32Array;
  /** `[tokens]` */
  tokenTypeIds: Int32Array;
  /** `[sequences + 1]` */
  offsets: Int32Array;
}

/** One pass through the model: what it trains, and what its random choices hang on. */
export interface Pass {
  /** Trained parameters; empty for evaluation. */
  trained: ReadonlySet<ParameterName>;
  /** Dropout rates, 0 for evaluation. */
  hiddenDropout: number;
  attentionDropout: number;
  /** Of the head; `hiddenDropout` if absent. */
  headDropout?: number;
  seed: number;
  /** Training step, counted over all stages. */
  step: number;
  /** Of the fused form, whose parameters are not on the tape: takes their gradients. */
  take?: (name: ParameterName, gradient: tf.Tensor) => void;
  /** The fused form keeps only the inputs of its layers and computes the rest again when the gradients are due. */
  recompute?: boolean;
}

export interface EncoderContext {
  description: ModelDescription;
  /** Products of the fused form. */
  precision: TrainingPrecision;
  /** The variable of a parameter. */
  parameter: (name: ParameterName) => tf.Tensor;
  /** Composite form: is shown what goes into each linear layer, `attention.query` and so on, padding included. */
  observe?: (linear: string, x: tf.Tensor2D) => void;
}

/** Encodes a ragged batch; every tensor that goes in or out is ragged, `[tokens, hidden]`. */
export interface Encoder {
  embed(tokens: RaggedTokens, pass: Pass): tf.Tensor2D;
  /** Runs the layers `from` up to, but not including, `to`. */
  layers(hidden: tf.Tensor2D, offsets: Int32Array, from: number, to: number, pass: Pass): tf.Tensor2D;
}

/** The lowest depth that a pass trains: -1 the embeddings, 0 the first layer, ..., `layers` the head; Infinity: none. */
export function lowestDepth(trained: ReadonlySet<ParameterName>, layers: number): number {
  let lowest = Infinity;
  for (const name of trained) lowest = Math.min(lowest, depthOf(name, layers));
  return lowest;
}
