/** Scores of rows from what a model gave for their examples, by task: for evaluation and for dev sets. */
import type { Example } from '../data/batch.js';
import type { MultiLabelRow, Row, ScoredRow, TextRow, TokenRow } from '../data/dataset.js';
import type { TaskHead } from '../models/description.js';
import { decodeTags, sigmoid, type WordTags } from '../predict/decode.js';
import { meanOutput } from '../predict/merge.js';
import { argmax } from '../predict/predictions.js';
import { formatClassificationReport, scoreClassification, type ClassificationScores } from './classification.js';
import { formatRegressionReport, scoreRegression, type RegressionScores } from './correlation.js';
import { scoreEmbeddings, type EmbeddingScores } from './embeddings.js';
import { formatEntityReport, scoreEntities, type EntityScores } from './entities.js';
import { formatMultiLabelReport, scoreMultiLabel, type MultiLabelScores } from './multi-label.js';

/** Scores of a task, and what early stopping and tables name of them. */
export type Scored = {
  /** Between 0 and 1, but for errors and correlations. */
  metrics: Record<string, number>;
  /** A table of text. */
  report: string;
} & (
  | { task: 'text-classification'; scores: ClassificationScores }
  | { task: 'multi-label-classification'; scores: MultiLabelScores }
  | { task: 'regression'; scores: RegressionScores }
  | { task: 'token-classification'; scores: EntityScores }
  | { task: 'embedding'; scores: EmbeddingScores }
);

/**
 * Scores labelled rows.
 *
 * - Text classification: `accuracy`, `macroF1` (also as `f1`), `weightedF1`, `macroPrecision`, `macroRecall`.
 * - Several labels: `microF1` (also as `f1`), `macroF1`, `samplesF1`, `weightedF1`, `microPrecision`, `microRecall`,
 *   `subsetAccuracy` (also as `accuracy`).
 * - Regression: `pearson`, `spearman`, `mse`, `mae`.
 * - Tokens, over all entities: `f1`, `precision`, `recall`; `macroF1`, `weightedF1`, and `accuracy` of tags.
 * - Embeddings: `spearman` and `pearson` of the cosines, or, where rows have no scores, `accuracy` and `reciprocalRank`.
 *
 * @param examples of the rows, as `encodeRows` makes them.
 * @param outputs one array an example: `[labels]`, `[tokens, labels]` or `[hidden]`.
 * @param thresholds `[labels]` of several labels.
 */
export function scoreRows(
  rows: readonly Row[],
  examples: readonly Example[],
  outputs: readonly Float32Array[],
  { task, labels }: TaskHead,
  thresholds: readonly number[],
): Scored {
  switch (task) {
    case 'text-classification':
      return scoreTexts(rows as readonly TextRow[], outputsOfRows(rows.length, examples, outputs), labels);
    case 'multi-label-classification': {
      const ofRows = outputsOfRows(rows.length, examples, outputs);
      return scoreSeveralLabels(rows as readonly MultiLabelRow[], ofRows, labels, thresholds);
    }
    case 'regression': {
      const predicted = outputsOfRows(rows.length, examples, outputs).map(([value]) => value!);
      const scores = scoreRegression(
        (rows as readonly ScoredRow[]).map(({ label }) => label!),
        predicted,
      );
      const { pearson, spearman, mse, mae } = scores;
      return { task, scores, metrics: { pearson, spearman, mse, mae }, report: formatRegressionReport({ ...scores }) };
    }
    case 'token-classification':
      return scoreTokens(rows as readonly TokenRow[], examples, outputs, labels);
    case 'embedding':
      return scorePairs(rows as readonly ScoredRow[], outputs);
  }
}

/** What the windows of each row give together. */
export function outputsOfRows(
  count: number,
  examples: readonly Example[],
  outputs: readonly Float32Array[],
): Float32Array[] {
  const ofRows = Array.from({ length: count }, (): Float32Array[] => []);
  examples.forEach(({ row = -1 }, index) => ofRows[row < 0 ? index : row]!.push(outputs[index]!));
  return ofRows.map(meanOutput);
}

function scoreTexts(rows: readonly TextRow[], logits: readonly Float32Array[], labels: readonly string[]): Scored {
  const classIds = new Map(labels.map((label, id) => [label, id]));
  const gold = rows.map(({ label }) => classIds.get(label!)!);
  const scores = scoreClassification(gold, logits.map(argmax), labels);
  const { accuracy, macro, weighted } = scores;
  return {
    task: 'text-classification',
    scores,
    report: formatClassificationReport(scores),
    metrics: {
      accuracy,
      macroF1: macro.f1,
      f1: macro.f1,
      weightedF1: weighted.f1,
      macroPrecision: macro.precision,
      macroRecall: macro.recall,
    },
  };
}

function scoreSeveralLabels(
  rows: readonly MultiLabelRow[],
  logits: readonly Float32Array[],
  labels: readonly string[],
  thresholds: readonly number[],
): Scored {
  const predicted = logits.map((row) => labels.map((_, id) => Number(sigmoid(row[id]!) >= thresholds[id]!)));
  const scores = scoreMultiLabel(labelIndicators(rows, labels), predicted, labels);
  const { micro, macro, weighted, samples, subsetAccuracy } = scores;
  return {
    task: 'multi-label-classification',
    scores,
    report: formatMultiLabelReport(scores),
    metrics: {
      f1: micro.f1,
      microF1: micro.f1,
      macroF1: macro.f1,
      samplesF1: samples.f1,
      weightedF1: weighted.f1,
      microPrecision: micro.precision,
      microRecall: micro.recall,
      subsetAccuracy,
      accuracy: subsetAccuracy,
    },
  };
}

/** `[rows][labels]` 1 for each label that a row has. */
export function labelIndicators(rows: readonly MultiLabelRow[], labels: readonly string[]): number[][] {
  return rows.map((row) => labels.map((label) => Number(row.labels!.includes(label))));
}

function scoreTokens(
  rows: readonly TokenRow[],
  examples: readonly Example[],
  outputs: readonly Float32Array[],
  labels: readonly string[],
): Scored {
  const predicted: WordTags[] = [];
  examples.forEach(({ row = -1, wordIds }, index) => {
    const at = row < 0 ? index : row;
    predicted[at] = decodeTags(outputs[index]!, wordIds!, rows[at]!.tokens.length, labels, predicted[at]);
  });
  const scores = scoreEntities(
    rows.map(({ tags }) => tags!),
    predicted.map(({ tags }) => tags),
  );
  const { micro, macro, weighted, tagAccuracy } = scores;
  return {
    task: 'token-classification',
    scores,
    report: formatEntityReport(scores),
    metrics: {
      f1: micro.f1,
      precision: micro.precision,
      recall: micro.recall,
      macroF1: macro.f1,
      weightedF1: weighted.f1,
      accuracy: tagAccuracy,
    },
  };
}

function scorePairs(rows: readonly ScoredRow[], vectors: readonly Float32Array[]): Scored {
  const labels = rows.map(({ label }) => label);
  const scored = labels.every((label) => label !== undefined);
  const scores = scoreEmbeddings(
    rows.map((_, row) => vectors[2 * row]!),
    rows.map((_, row) => vectors[2 * row + 1]!),
    scored ? (labels as number[]) : undefined,
  );
  const metrics = Object.fromEntries(Object.entries(scores).filter(([name]) => name !== 'support'));
  return { task: 'embedding', scores, metrics, report: formatRegressionReport({ ...scores }) };
}
