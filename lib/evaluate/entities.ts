/** Scores of entities in BIO tags, as seqeval counts them in its default mode (that of the conlleval script). */
import { findEntities, type EntitySpan } from '../data/bio.js';
import { averageScores, divide, type Averages, type Counts, type Score } from './averages.js';
import { reportTable } from './report-table.js';

export interface EntityScores extends Averages {
  /** The types that are in the gold data or the predictions, sorted. */
  perType: (Score & { type: string })[];
  /** Share of words whose tag is right. */
  tagAccuracy: number;
}

/**
 * Scores predicted tags against gold ones, row by row. An entity is right if type, start and end are. Without any entity
 * in either, all scores are 0.
 *
 * @param gold `[rows]` of `[words]` tags.
 * @param predicted the same shape.
 * @example
 * const { micro } = scoreEntities([['B-PER', 'I-PER', 'O']], [['B-PER', 'I-PER', 'O']]);
 * console.log(micro.f1); // 1
 */
export function scoreEntities(
  gold: readonly (readonly string[])[],
  predicted: readonly (readonly string[])[],
): EntityScores {
  const counts = new Map<string, Counts>();
  const countsOf = (type: string) => {
    const known = counts.get(type);
    if (known) return known;
    const fresh = { correct: 0, predicted: 0, actual: 0 };
    counts.set(type, fresh);
    return fresh;
  };
  let [words, rightWords] = [0, 0];
  gold.forEach((tags, row) => {
    const guesses = predicted[row]!;
    words += tags.length;
    tags.forEach((tag, word) => (rightWords += tag === guesses[word] ? 1 : 0));
    const actual = findEntities(tags);
    const there = new Set(actual.map(entityKey));
    for (const { type } of actual) countsOf(type).actual++;
    for (const entity of findEntities(guesses)) {
      const count = countsOf(entity.type);
      count.predicted++;
      if (there.has(entityKey(entity))) count.correct++;
    }
  });
  const types = [...counts.keys()].sort();
  const inOrder = types.map((type) => counts.get(type)!);
  const perType = types.map((type) => ({ type, ...entityScore(counts.get(type)!) }));
  return { perType, ...averageScores(inOrder, perType, entityScore), tagAccuracy: divide(rightWords, words) };
}

function entityKey({ type, start, end }: EntitySpan): string {
  return `${start} ${end} ${type}`;
}

function entityScore({ correct, predicted, actual }: Counts): Score {
  const precision = divide(correct, predicted);
  const recall = divide(correct, actual);
  return { precision, recall, f1: divide(2 * precision * recall, precision + recall), support: actual };
}

/** The scores as a table of text, character for character as seqeval's `classification_report` prints them. */
export function formatEntityReport(scores: EntityScores, digits = 2): string {
  const table = reportTable(
    scores.perType.map(({ type }) => type),
    digits,
  );
  return [
    table.header(),
    '',
    ...scores.perType.map((score) => table.row(score.type, score)),
    '',
    table.row('micro avg', scores.micro),
    table.row('macro avg', scores.macro),
    table.row('weighted avg', scores.weighted),
    '',
  ].join('\n');
}
