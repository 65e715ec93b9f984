/** From logits to labels, tags and entities. */
import { findEntities } from '../data/bio.js';
import type { Encoding } from '../data/tokenizer/tokenizer.js';
import {
  mostProbable,
  softmax,
  type ClassPrediction,
  type Entity,
  type EntityPrediction,
  type TaggedEntityPrediction,
} from './predictions.js';

/** @param logits `[labels]` */
export function decodeClass(
  logits: Float32Array,
  labels: readonly string[],
  { threshold, allScores }: { threshold: number; allScores: boolean },
): ClassPrediction & { scores?: Record<string, number> } {
  const { best, score } = mostProbable(logits, 0, logits.length);
  const prediction = { label: score >= threshold ? labels[best]! : null, score };
  if (!allScores) return prediction;
  const probabilities = softmax(logits);
  return { ...prediction, scores: Object.fromEntries(labels.map((label, id) => [label, probabilities[id]!])) };
}

/** 1 / (1 + exp(-x)) */
export function sigmoid(x: number): number {
  return 1 / (1 + Math.exp(-x));
}

/** Tags of words from the logits of their first tokens, and how probable each is; `O` and 1 for words without tokens. */
export interface WordTags {
  tags: string[];
  scores: number[];
}

/**
 * @param logits `[tokens, labels]`
 * @param wordIds `[tokens]`, -1 for special tokens.
 * @param result of the text's windows so far, to which this one's words are added.
 */
export function decodeTags(
  logits: Float32Array,
  wordIds: Int32Array,
  words: number,
  labels: readonly string[],
  result: WordTags = { tags: Array<string>(words).fill('O'), scores: Array<number>(words).fill(1) },
): WordTags {
  wordIds.forEach((word, token) => {
    if (word < 0 || word === wordIds[token - 1]) return;
    const { best, score } = mostProbable(logits, token * labels.length, labels.length);
    result.tags[word] = labels[best]!;
    result.scores[word] = score;
  });
  return result;
}

/** The entities of pre-split words. */
export function decodeWords(
  words: readonly string[],
  { tags, scores }: WordTags,
  threshold: number,
): TaggedEntityPrediction {
  const entities = collectEntities({ tags, scores }, threshold, (start, end) => ({
    text: words.slice(start, end).join(' '),
    start,
    end,
  }));
  return { entities, tags };
}

/** The entities of a text. */
export function decodeText(
  text: string,
  { offsets, wordIds }: Encoding,
  wordTags: WordTags,
  threshold: number,
): EntityPrediction {
  const starts: number[] = [];
  const ends: number[] = [];
  wordIds.forEach((word, token) => {
    if (word < 0) return;
    starts[word] ??= offsets[2 * token]!;
    ends[word] = offsets[2 * token + 1]!;
  });
  const entities = collectEntities(wordTags, threshold, (first, last) => {
    const [start, end] = [starts[first]!, ends[last - 1]!];
    return { text: text.slice(start, end), start, end };
  });
  return { entities };
}

function collectEntities(
  { tags, scores }: WordTags,
  threshold: number,
  place: (start: number, end: number) => { text: string; start: number; end: number },
): Entity[] {
  return findEntities(tags).flatMap(({ type, start, end }) => {
    const score = scores.slice(start, end).reduce((sum, one) => sum + one, 0) / (end - start);
    return score >= threshold ? [{ type, score, ...place(start, end) }] : [];
  });
}
