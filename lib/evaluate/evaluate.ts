/** Scores a checkpoint on labelled rows, with the predictor's engine. */
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { WhittleError } from '../../bindings/errors.js';
import type { Example } from '../data/batch.js';
import { placeOf, type Dataset, type Row, type Split, type Task } from '../data/dataset.js';
import { encodeRows } from '../data/encode.js';
import { checkRow, defaultColumns, describeValue, type RowRules } from '../data/rows.js';
import { expectInMemory } from '../data/streamed-rows.js';
import { checkOptions, functionRule, signalRule, threadsRule } from '../options.js';
import { Predictor } from '../predict/predictor.js';
import type { StepContext, StepResult } from '../step.js';
import { scoreRows, type Scored } from './score.js';

/** Options of an evaluate step. */
export const evaluateSchema = z.strictObject({
  /** Which split of the dataset. */
  on: z.enum(['test', 'dev', 'train']).default('test'),
  /** As `Predictor.load` has it. */
  precision: z.enum(['auto', 'float32', 'bfloat16', 'int8']).default('auto'),
  /** Most tokens of a row; what the model can take if absent. Words beyond it count as `O`. */
  maxLength: z.number().int().positive().optional(),
  /** Tokens that the engine gets at once, about. */
  batchTokens: z.number().int().positive().default(8192),
});

const callSchema = evaluateSchema.extend({
  /** Threads of the native core, at most; 0 is the machine's default. */
  threads: threadsRule.default(0),
  signal: signalRule.optional(),
  /** Called with rows done and rows in all. */
  onProgress: functionRule<(done: number, total: number) => void>().optional(),
});

export type EvaluateStepOptions = z.input<typeof evaluateSchema>;
/** Options of `evaluate`. */
export type EvaluateOptions = z.input<typeof callSchema>;

interface EvaluationFigures {
  /** Name of the split, or `rows` for rows given as such. */
  on: string;
  rows: number;
  /** Rows that had more than `maxLength` tokens and lost the rest. */
  truncated: number;
  /** Class names of the model. */
  labels: string[];
  /** What the engine computed in, and with which instruction set. */
  precision: string;
  isa: string;
  /** From text to label, tokenization included, after one batch to warm up. */
  textsPerSecond: number;
  /** All files of the checkpoint on disk. */
  bytes: number;
}

/** Scores by name, a report as text, and what was measured on the way. */
export type EvaluationResult = EvaluationFigures & Scored;

/**
 * Scores a checkpoint on a split of a dataset, or on rows.
 *
 * The metrics of each task are those that `scoreRows` lists: `accuracy`, `macroF1`, ... of classes, `microF1`,
 * `subsetAccuracy`, ... of several labels, `f1` of entities, `pearson`, `spearman`, `mse`, `mae` of numbers, `spearman` of
 * the cosines of embeddings.
 *
 * @throws WhittleError `BAD_DATA` for rows without labels or with labels that the model has not (named by file and
 * line), or no rows; what `Predictor.load` throws; `ABORTED`.
 * @example
 * const data = await loadDataset({ path: 'examples/quickstart/data' });
 * const { metrics, report } = await evaluate('runs/quickstart/quantize', data, { on: 'test' });
 * console.log(metrics.accuracy, report);
 * await evaluate('runs/quickstart/quantize', [{ text: 'Where is my card?', label: 'card_arrival' }]);
 */
export async function evaluate(
  folder: string,
  data: Dataset | readonly Row[],
  options: EvaluateOptions = {},
): Promise<EvaluationResult> {
  const { on, threads, signal, onProgress, precision, batchTokens, maxLength } = checkOptions(
    callSchema,
    options,
    'evaluate options',
  );
  const split = splitOf(data, on);
  if (split.rows.length === 0)
    throw new WhittleError('BAD_DATA', `${split.file ?? on}: expected rows to evaluate on but found none`);
  await using predictor = await Predictor.load(folder, {
    task: 'any',
    threads,
    precision,
    batchTokens,
    maxLength,
    signal,
  });
  checkRows(split, predictor.task);

  const encode = (rows: readonly Row[]) =>
    encodeRows(rows, predictor.task, {
      ...predictor.encoding,
      labels: predictor.labels,
      place: (row) => nameRow(split, row),
    });
  await predictor.predictOutputs(warmUpOf(encode(split.rows.slice(0, 256)).examples, batchTokens), { signal });
  const start = performance.now();
  const { examples, truncated } = encode(split.rows);
  const outputs = await predictor.predictOutputs(examples, { signal, onProgress });
  const scored = scoreRows(split.rows, examples, outputs, predictor.head, predictor.thresholds);
  const seconds = (performance.now() - start) / 1000;
  const { info } = predictor;
  return {
    ...scored,
    on: split.name,
    rows: split.rows.length,
    truncated,
    labels: [...predictor.labels],
    precision: info.precision,
    isa: info.isa,
    textsPerSecond: split.rows.length / seconds,
    bytes: await folderBytes(folder),
  };
}

/**
 * `evaluate` as a step of a recipe: changes no checkpoint; its metrics are `evaluate`'s and `textsPerSecond`.
 */
export async function evaluateStep(
  checkpoint: string,
  options: EvaluateStepOptions,
  context: StepContext,
): Promise<StepResult> {
  const { data, threads, signal, onProgress } = context;
  const checked = checkOptions(evaluateSchema, options, 'evaluate options');
  const { metrics, ...record } = await evaluate(checkpoint, data, {
    ...checked,
    threads,
    signal,
    onProgress: (done, total) =>
      onProgress?.({ step: 'evaluate', phase: `${checked.on} split`, done, total, unit: 'sequence' }),
  });
  const stepMetrics = { ...metrics, textsPerSecond: record.textsPerSecond };
  onProgress?.({
    step: 'evaluate',
    phase: `${checked.on} split`,
    done: record.rows,
    total: record.rows,
    unit: 'sequence',
    metrics: stepMetrics,
  });
  return { checkpoint, metrics: stepMetrics, record };
}

/** @throws WhittleError `BAD_OPTION` for what is neither a dataset nor an array of rows. */
function splitOf(data: Dataset | readonly Row[], on: keyof Pick<Dataset, 'train' | 'dev' | 'test'>): Split {
  if (Array.isArray(data)) return rowsAsSplit(data as readonly Row[]);
  const split = (data as Partial<Dataset> | undefined)?.[on];
  if (split && Array.isArray(split.rows)) {
    expectInMemory(split, `evaluate, on "${on}"`);
    return Array.isArray(split.lines) ? split : rowsAsSplit(split.rows);
  }
  throw new WhittleError(
    'BAD_OPTION',
    `evaluate: expected a dataset, as loadDataset gives, or an array of rows before the options but found ${describeValue(data)}`,
  );
}

function rowsAsSplit(rows: readonly Row[]): Split {
  return { name: 'rows', file: 'rows', rows: [...rows], lines: rows.map((_, index) => index) };
}

function nameRow(split: Split, row: number): string {
  return split.name === 'rows' ? `row ${row}` : placeOf(split, row);
}

/** The field that rows are scored against. */
const goldField: Record<Task, string> = {
  'text-classification': 'label',
  'multi-label-classification': 'labels',
  regression: 'label',
  'token-classification': 'tags',
  // Pairs without a score are scored by whether they find each other.
  embedding: 'textPair',
};

/** Rows of the model's task, each with its label or tags; of rows that no reader has checked, everything. */
function checkRows(split: Split, task: Task): void {
  // Of tags only their form counts: scores are told for any sequence of them.
  const rules: RowRules = { task, labelled: true, scheme: 'IOB1', columns: defaultColumns(task) };
  split.rows.forEach((row: unknown, index) => {
    const place = nameRow(split, index);
    if (typeof row !== 'object' || row === null)
      throw new WhittleError('BAD_DATA', `${place}: expected a row but found ${describeValue(row)}`);
    const isText = 'text' in row;
    if (isText !== (task !== 'token-classification')) {
      throw new WhittleError(
        'BAD_DATA',
        `${place}: expected a row for ${task}, as the model does, but found one with "${isText ? 'text' : 'tokens'}"`,
      );
    }
    const what = goldField[task];
    if ((row as Record<string, unknown>)[what] === undefined)
      throw new WhittleError('BAD_DATA', `${place}: expected "${what}" to evaluate against but found none`);
    checkRow(row, rules, place);
  });
}

/** The first examples, one batch of them at most. */
function warmUpOf(examples: readonly Example[], batchTokens: number): Example[] {
  let room = batchTokens;
  return examples.filter(({ inputIds }, index) => (room -= inputIds.length) >= 0 || index === 0);
}

async function folderBytes(folder: string): Promise<number> {
  const entries = await readdir(folder, { withFileTypes: true });
  const sizes = entries
    .filter((entry) => entry.isFile())
    .map(async ({ name }) => (await stat(join(folder, name))).size);
  return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);
}
