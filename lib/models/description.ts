/** A transformer described by data. The table in architectures.ts maps Hugging Face model types to it. */
import type { Task } from '../data/dataset.js';

export interface ModelDescription {
  /** `model_type` of config.json, e.g. `bert`. */
  architecture: string;
  layers: number;
  hidden: number;
  heads: number;
  headSize: number;
  intermediate: number;
  vocabulary: number;
  positions: number;
  /** Position of the first token: 0 for BERT, 2 for RoBERTa and MPNet. */
  positionOffset: number;
  /**
   * Rows of the relative position bias that all layers add to their attention scores (MPNet), 0 if there is none.
   * relative-positions.ts says which row a distance has.
   */
  positionBuckets: number;
  /** 0 if the model has none. */
  tokenTypes: number;
  activation: 'gelu';
  normPlacement: 'post';
  normEpsilon: number;
  hasPooler: boolean;
  /** Between pooler and classifier. */
  poolerActivation: 'tanh' | 'relu' | 'gelu';
  /** Whether the head's dropout is also in front of the pooler, as in RoBERTa's. */
  dropsPoolerInput: boolean;
  hiddenDropout: number;
  attentionDropout: number;
  /** Of heads of sequences and of tokens. */
  headDropout: { sequence: number; token: number };
  padTokenId: number;
}

/**
 * whittle's own names of the parameters, the same for every architecture; shapes as Hugging Face stores them
 * (linear weights `[out, in]`):
 *
 * - `embeddings.word` [vocabulary, hidden], `embeddings.position` [positions, hidden],
 *   `embeddings.tokenType` [tokenTypes, hidden], `embeddings.norm.weight`, `embeddings.norm.bias` [hidden]
 * - `embeddings.positionBias` [positionBuckets, heads], where the model has one
 * - `layers.N.attention.{query,key,value,output}.{weight,bias}` [hidden, hidden], [hidden]
 * - `layers.N.attention.norm.{weight,bias}` [hidden]
 * - `layers.N.intermediate.{weight,bias}` [intermediate, hidden], [intermediate]
 * - `layers.N.output.{weight,bias}` [hidden, intermediate], [hidden]
 * - `layers.N.output.norm.{weight,bias}` [hidden]
 * - `pooler.{weight,bias}` [hidden, hidden], [hidden] (heads that read the first token only)
 * - `classifier.{weight,bias}` [labels, hidden], [labels]
 *
 * Parameter groups that stages name: `head` is pooler and classifier; `embeddings`; `layers.4-5` or `layers.3`; `all`.
 */
export type ParameterName = string;

/** The head on top of the encoder. */
export interface TaskHead {
  task: Task;
  /** Index is the class id; of regression the one name `score`, of embeddings none. */
  labels: string[];
  /** Of embeddings, and of nothing else. */
  pooling?: Pooling;
}

/** How the states of a text's tokens become one vector. */
export interface Pooling {
  /** The mean of all tokens' states, special tokens among them, or the first token's state. */
  of: 'mean' | 'first';
  /** Whether vectors are scaled to length 1. */
  normalize: boolean;
}

export const defaultPooling: Pooling = { of: 'mean', normalize: true };

/**
 * What of the encoder's output a task's head reads: `sequence` the first token, through pooler and classifier; `token`
 * every token, through the classifier; `none` is no head: the encoder's output is pooled into one vector.
 */
export type HeadKind = 'sequence' | 'token' | 'none';

export function headKind(task: Task): HeadKind {
  return task === 'token-classification' ? 'token' : task === 'embedding' ? 'none' : 'sequence';
}

/** Numbers that the model gives a sequence or token: its logits, or the length of its embedding. */
export function outputWidth({ hidden }: Pick<ModelDescription, 'hidden'>, { task, labels }: TaskHead): number {
  return headKind(task) === 'none' ? hidden : labels.length;
}
