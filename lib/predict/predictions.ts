/** What goes into a predictor and what comes out, by task. */
import { WhittleError } from '../../bindings/errors.js';
import type { Task } from '../data/dataset.js';

/** A text, or a pair of texts, to classify. */
export type ClassificationInput = string | { text: string; textPair?: string | undefined };

/** A text to embed. */
export type EmbeddingInput = string | { text: string };

/** A text to find entities in, or one that was split into words before. */
export type EntityInput = string | WordsInput;
export interface WordsInput {
  tokens: readonly string[];
}

/** Of one class of several. */
export interface ClassPrediction {
  /** The most probable class, or null if its probability is below the threshold. */
  label: string | null;
  /** Probability of the most probable class. */
  score: number;
}

/** With `allScores`. */
export interface ScoredClassPrediction extends ClassPrediction {
  /** Probability of every class. */
  scores: Record<string, number>;
}

/** Of any number of labels. */
export interface MultiLabelPrediction {
  /** Those at or above their threshold, in the model's order. */
  labels: string[];
  /** Their probabilities; with `allScores` those of all labels. */
  scores: Record<string, number>;
}

/** Of a number. */
export interface RegressionPrediction {
  /** NaN for an empty text that is abstained on. */
  score: number;
}

/** A name or the like, and where it stands. */
export interface Entity {
  type: string;
  /** Mean of its words' probabilities of their tags. */
  score: number;
  /** As it stands in the text; of words, joined by spaces. */
  text: string;
  /** Where it starts and ends: UTF-16 code units of the text (`text.slice(start, end)`), or indices of words. */
  start: number;
  end: number;
}

/** Of the entities of a text. */
export interface EntityPrediction {
  /** Those at or above the threshold, in the order of the text. */
  entities: Entity[];
}

/** Of words. */
export interface TaggedEntityPrediction extends EntityPrediction {
  /** `[words]` tags as predicted, whatever the threshold; `O` for words beyond `maxLength`. */
  tags: string[];
}

/** What a model for task `T` takes. */
export type Input<T extends Task = Task> = T extends 'token-classification'
  ? EntityInput
  : T extends 'embedding'
    ? EmbeddingInput
    : ClassificationInput;

/** What a model for task `T` makes of an input of type `I`, with options of type `O`. Embeddings are `[hidden]`. */
export type Prediction<T extends Task = Task, I = Input<T>, O = unknown> = T extends 'text-classification'
  ? O extends { allScores: true }
    ? ScoredClassPrediction
    : ClassPrediction & { scores?: Record<string, number> }
  : T extends 'multi-label-classification'
    ? MultiLabelPrediction
    : T extends 'regression'
      ? RegressionPrediction
      : T extends 'embedding'
        ? Float32Array
        : I extends WordsInput
          ? TaggedEntityPrediction
          : EntityPrediction & { tags?: string[] };

/**
 * Probabilities of one row of logits.
 * @throws WhittleError BAD_CHECKPOINT if a logit is NaN or infinite.
 */
export function softmax(logits: Float32Array): Float64Array {
  let largest = -Infinity;
  for (const logit of logits) largest = Math.max(largest, logit);
  const result = new Float64Array(logits.length);
  let sum = 0;
  for (let index = 0; index < logits.length; index++) sum += result[index] = Math.exp(logits[index]! - largest);
  expectFinite(sum);
  for (let index = 0; index < logits.length; index++) result[index]! /= sum;
  return result;
}

/**
 * The most probable class of the `count` logits from `start` on, the first of equal ones, and its probability: what
 * `softmax` and `argmax` give, without an array for each token.
 * @throws WhittleError BAD_CHECKPOINT if a logit is NaN or infinite.
 */
export function mostProbable(logits: Float32Array, start: number, count: number): { best: number; score: number } {
  let best = start;
  for (let index = start + 1; index < start + count; index++) if (logits[index]! > logits[best]!) best = index;
  let sum = 0;
  for (let index = start; index < start + count; index++) sum += Math.exp(logits[index]! - logits[best]!);
  expectFinite(sum);
  return { best: best - start, score: 1 / sum };
}

function expectFinite(sum: number): void {
  if (Number.isFinite(sum)) return;
  throw new WhittleError(
    'BAD_CHECKPOINT',
    'expected finite logits but the model gave NaN or infinity: its weights are damaged',
  );
}

/** Index of the largest value, the first of equal ones. */
export function argmax(values: ArrayLike<number>): number {
  let best = 0;
  for (let index = 1; index < values.length; index++) if (values[index]! > values[best]!) best = index;
  return best;
}
