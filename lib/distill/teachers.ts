/** Opens the teachers of a distill step and asks them about the training rows. */
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { WhittleError } from '../../bindings/errors.js';
import type { Example } from '../data/batch.js';
import { placeOf, type Dataset } from '../data/dataset.js';
import { encodeRows } from '../data/encode.js';
import { openCheckpoint, type Checkpoint } from '../models/checkpoint.js';
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
  const { head } = checkpoint;
  if (head?.task !== data.task)
    throw new WhittleError(
      'BAD_OPTION',
      `distill options: teacher ${folder}: expected a head for ${data.task} but found ${head ? `one for ${head.task}` : 'none'}`,
    );
  const missing = data.labels.filter((label) => !head.labels.includes(label));
  const extra = head.labels.filter((label) => !data.labels.includes(label));
  if (missing.length === 0 && extra.length === 0) return checkpoint;
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
 * The teacher's logits for every training row, with the teacher's own tokenizer: `[1, labels]` for a
 * text, `[words, labels]` at the first piece of each word for token classification.
 */
export async function teacherLogits(teacher: Checkpoint, options: TeacherOptions): Promise<TeacherLogits['rows']> {
  const { data, labels, threads, signal, onProgress } = options;
  const head = teacher.head!;
  const { positions, positionOffset } = teacher.description;
  const maxLength = Math.min(options.maxLength, positions - positionOffset);
  await using predictor = await Predictor.load(teacher.folder, { task: data.task, threads, maxLength, signal });
  const { examples } = encodeRows(data.train.rows, data.task, {
    tokenizer: predictor.tokenizer,
    labels: head.labels,
    maxLength,
    place: (row) => placeOf(data.train, row),
  });
  const logits = await predictor.predictLogits(examples, { signal, onProgress });
  const columns = labels.map((label) => head.labels.indexOf(label));
  let start = 0;
  return examples.map((example) => {
    const isText = data.task === 'text-classification';
    const chosen = isText ? [start] : labelledTokens(example, start);
    start += isText ? 1 : example.inputIds.length;
    return Float32Array.from(chosen.flatMap((at) => columns.map((column) => logits[at * labels.length + column]!)));
  });
}

/** Rows of the logits at an example's labelled tokens; `start` is the row of its first token. */
function labelledTokens({ tokenLabels }: Example, start: number): number[] {
  const places: number[] = [];
  tokenLabels?.forEach((label, token) => {
    if (label !== -100) places.push(start + token);
  });
  return places;
}
