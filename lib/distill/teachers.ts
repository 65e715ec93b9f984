/** Opens the teachers of a distill step and asks them about the training rows. */
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { WhittleError } from '../../bindings/errors.js';
import type { Example } from '../data/batch.js';
import { placeOf, type Dataset, type Task } from '../data/dataset.js';
import { encodeRows, ignoredLabel } from '../data/encode.js';
import type { Examples } from '../data/examples.js';
import { outputsOfRows } from '../evaluate/score.js';
import { openCheckpoint, type Checkpoint } from '../models/checkpoint.js';
import type { TaskHead } from '../models/description.js';
import { didYouMean } from '../options.js';
import { Predictor } from '../predict/predictor.js';
import type { StepContext } from '../step.js';
import type { TeacherLogits } from './soft-labels.js';

/**
 * The checkpoint folder that `from` means: an earlier step's by name, else a folder.
 * @param what names it in errors: `teacher`, `student.model`.
 * @throws WhittleError BAD_OPTION if it is neither.
 */
export async function resolveCheckpoint(
  from: string,
  checkpoints: StepContext['checkpoints'],
  what: string,
): Promise<string> {
  const folder = checkpoints.get(from) ?? from;
  const exists = await stat(join(folder, 'config.json')).then(
    () => true,
    () => false,
  );
  if (exists || checkpoints.has(from)) return folder;
  const steps = [...checkpoints.keys()];
  const known = steps.length ? `an earlier step (${steps.join(', ')})` : 'an earlier step (there is none)';
  throw new WhittleError(
    'BAD_OPTION',
    `distill options: ${what}: expected ${known} or the folder of a checkpoint but found "${from}"${didYouMean(from, steps)}`,
  );
}

/**
 * Opens a teacher, whose head must have the dataset's task and labels.
 * @throws WhittleError BAD_OPTION naming the labels that differ; what openCheckpoint throws.
 */
export async function openTeacher(folder: string, data: Dataset): Promise<Checkpoint> {
  const checkpoint = await openCheckpoint(folder);
  checkTeacher(checkpoint.head, data, folder);
  return checkpoint;
}

/**
 * @param folder names the teacher in errors.
 * @throws WhittleError BAD_OPTION if the head is not one for the dataset's task and labels.
 */
export function checkTeacher(head: TaskHead | undefined, data: Dataset, folder: string): void {
  if (!head && data.task === 'embedding') return;
  if (head?.task !== data.task)
    throw new WhittleError(
      'BAD_OPTION',
      `distill options: teacher ${folder}: expected a head for ${data.task} but found ${head ? `one for ${head.task}` : 'none'}`,
    );
  const missing = data.labels.filter((label) => !head.labels.includes(label));
  const extra = head.labels.filter((label) => !data.labels.includes(label));
  const isNumber = data.task === 'regression';
  if (isNumber || (missing.length === 0 && extra.length === 0)) return;
  const differences = [
    missing.length ? `it lacks ${listLabels(missing)}` : '',
    extra.length ? `the data lacks its ${listLabels(extra)}` : '',
  ].filter(Boolean);
  throw new WhittleError(
    'BAD_OPTION',
    `distill options: teacher ${folder}: expected the ${data.labels.length} labels of the data but ${differences.join(' and ')}`,
  );
}

/** `"a", "b", "c" and 5 more` */
function listLabels(labels: readonly string[]): string {
  const shown = labels.slice(0, 3).map((label) => JSON.stringify(label));
  return shown.join(', ') + (labels.length > 3 ? ` and ${labels.length - 3} more` : '');
}

export interface TeacherOptions {
  data: Dataset;
  /** Tokens; longer texts are cut. */
  maxLength: number;
  /** Class names in the student's order, which the columns of the result follow. */
  labels: readonly string[];
  threads: number;
  signal?: AbortSignal | undefined;
  onProgress: (doneRows: number, totalRows: number) => void;
}

/**
 * What the teacher gives for every training row, with the teacher's own tokenizer: `[1, labels]` for a text, the mean of
 * its windows if it reads long texts so; `[words, labels]` at the first piece of each word for token classification;
 * for embeddings the vectors of both texts, two rows.
 */
export async function teacherLogits(teacher: Checkpoint, options: TeacherOptions): Promise<TeacherLogits['rows']> {
  const { data, labels, threads, signal, onProgress } = options;
  const { task, train } = data;
  const head = teacher.head ?? { task, labels: [] };
  const { positions, positionOffset } = teacher.description;
  const maxLength = Math.min(teacher.settings.maxLength ?? options.maxLength, positions - positionOffset);
  await using predictor = await Predictor.load(teacher.folder, { task, threads, maxLength, signal });
  const { examples } = encodeRows(train.rows, task, {
    ...predictor.encoding,
    labels: head.labels,
    place: (row) => placeOf(train, row),
  });
  const outputs = await predictor.predictOutputs(examples, { signal, onProgress });
  if (task === 'embedding') return outputs;
  const width = head.labels.length;
  const columns = task === 'regression' ? [0] : labels.map((label) => head.labels.indexOf(label));
  const inOrder = (values: Float32Array, at: number) => columns.map((column) => values[at * width + column]!);
  if (task !== 'token-classification') {
    const ofRows = outputsOfRows(train.rows.length, examples, outputs);
    return ofRows.map((output) => Float32Array.from(inOrder(output, 0)));
  }
  const rows = train.rows.map((): number[] => []);
  examples.forEach((example, index) => {
    const row = rows[example.row ?? index]!;
    for (const token of labelledTokens(example)) row.push(...inOrder(outputs[index]!, token));
  });
  return rows.map((row) => Float32Array.from(row));
}

/** Tokens of an example that have a label. */
function labelledTokens({ tokenLabels }: Example): number[] {
  return [...(tokenLabels ?? [])].flatMap((label, token) => (label === ignoredLabel ? [] : [token]));
}

/**
 * What a teacher said of rows, for the student's examples: windows of a text all get what was said of it, windows of
 * words the part for their own words.
 * @param width numbers that the teacher gave for a word.
 */
export function ofExamples(
  rows: TeacherLogits['rows'],
  examples: Examples,
  task: Task,
  width: number,
): Float32Array[] | TeacherLogits['rows'] {
  if (task === 'embedding') return rows; // one for each text already
  let [index, row, words] = [0, -1, 0];
  return Array.from(examples, (example) => {
    const its = example.row ?? index++;
    if (task !== 'token-classification') return rows[its]!;
    if (its !== row) [row, words] = [its, 0];
    const first = words;
    words += labelledTokens(example).length;
    return rows[its]!.subarray(first * width, words * width);
  });
}
