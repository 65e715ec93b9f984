/** What every step that trains needs: the model made trainable and the data encoded for it. */
import { WhittleError } from '../../bindings/errors.js';
import { native } from '../../bindings/load.js';
import type { TrainingPrecision } from '../../bindings/native.js';
import { makeFolder } from '../atomic.js';
import { openDevice, type TrainingDevice } from '../backend/devices.js';
import type { Example } from '../data/batch.js';
import type { Examples } from '../data/examples.js';
import { placeOf, type Dataset, type MultiLabelRow, type Split } from '../data/dataset.js';
import { encodeRows, type EncodedRows } from '../data/encode.js';
import { StoredExamples } from '../data/stored-examples.js';
import type { PlacedRow } from '../data/streamed-rows.js';
import { preprocessingFile } from '../data/preprocess/preprocessing.js';
import { loadTokenizer, type Tokenizer } from '../data/tokenizer/tokenizer.js';
import { leftByNewHead } from '../models/architectures.js';
import { openCheckpoint, type Checkpoint } from '../models/checkpoint.js';
import { headKind, type ModelDescription, type TaskHead } from '../models/description.js';
import type { Parameters } from '../models/parameters.js';
import type { TaskSettings } from '../models/task-settings.js';
import { writeCheckpoint } from '../models/write-checkpoint.js';
import { labelIndicators, outputsOfRows } from '../evaluate/score.js';
import { tuneThresholds } from '../evaluate/multi-label.js';
import { sigmoid } from '../predict/decode.js';
import type { StepContext } from '../step.js';
import { devMetricsFor } from './dev-metrics.js';
import { predictLogits } from './dev.js';
import { TrainableModel } from './model.js';
import { objectiveOf } from './task-objectives.js';
import { resolveTask, type ResolvedTask, type TaskOptions } from './task-options.js';
import type { TrainOptions } from './train.js';

export interface SessionOptions {
  data: Dataset;
  seed: number;
  /** Tokens; 128 or what the model can take by default. */
  maxLength?: number | undefined;
  precision?: 'auto' | TrainingPrecision;
  /** `cpu` by default. */
  device?: TrainingDevice;
  /** Of native work, for the whole process; 0 leaves them as they are. */
  threads?: number;
  /** What hangs on the task. */
  task?: Partial<TaskOptions>;
  /** Told how many streamed rows are tokenized, of how many. */
  onRows?: (done: number, total: number) => void;
  /** Stops the tokenizing of streamed rows. */
  signal?: AbortSignal | undefined;
  /** An existing folder on a disk with room for the token ids of streamed rows; the system's temporary one by default. */
  scratchFolder?: string;
}

/** A checkpoint opened for training on a dataset. */
export interface TrainingSession {
  checkpoint: Checkpoint;
  tokenizer: Tokenizer;
  model: TrainableModel;
  trainExamples: Examples;
  devExamples: Example[];
  /** Most tokens of an example. */
  maxLength: number;
  /** Rows of train and dev that lost their end to `maxLength`. */
  truncated: number;
  /** Of the matrix products: what `auto` came to. */
  precision: TrainingPrecision;
  /** What runs the training, as openDevice describes it. */
  device: string;
  /** What the options of the task came to. */
  task: ResolvedTask;
  /** What `trainStages` needs of the session. */
  trainOptions: Pick<TrainOptions, 'trainExamples' | 'devExamples' | 'evaluateDev' | 'taskObjective' | 'together'>;
  /**
   * Ends the training: finds thresholds on dev if that was asked for.
   * @param metrics dev metrics of the model as it is now.
   * @returns the same, or those with the thresholds found.
   */
  finish: (metrics: Record<string, number>) => Promise<Record<string, number>>;
  /** Gives back the disk space of examples that lie there. The model must be disposed of by itself. */
  close: () => void;
  /** Writes the model as it is now. */
  write: (folder: string, signal?: AbortSignal) => Promise<void>;
}

/**
 * Opens a checkpoint for training on a dataset: it keeps its head if that has the dataset's task and labels, and gets
 * a new one, drawn from the seed, if not. The model must be disposed of.
 *
 * @param source a folder, or a checkpoint that was made from one in memory.
 * @throws WhittleError as openCheckpoint and encodeRows do; BAD_OPTION if `maxLength` is more than the model can take.
 * @example
 * const { model, trainExamples, write } = await openSession('models/minilm-l6', { data, seed: 13 });
 */
export async function openSession(source: string | Checkpoint, options: SessionOptions): Promise<TrainingSession> {
  const { data, seed, threads = 0 } = options;
  if (threads > 0) native.setThreads(threads);
  const checkpoint = typeof source === 'string' ? await openCheckpoint(source) : source;
  const tokenizer = await loadTokenizer(checkpoint.folder, checkpoint.description, data.preprocessing);
  const stored = checkpoint.head?.task === data.task ? checkpoint.settings.maxLength : undefined;
  const maxLength = checkedLength(options.maxLength ?? stored, checkpoint.description);
  const task = resolveTask(options.task ?? {}, data, checkpoint, maxLength);
  const { head } = task;
  const dev = encode(data.dev, task, tokenizer, maxLength);
  const train = task.train.source
    ? await encodeToDisk(task.train, task, tokenizer, maxLength, options)
    : encode(task.train, task, tokenizer, maxLength);
  const parameters = await checkpoint.readParameters();
  const oldKind = checkpoint.head ? headKind(checkpoint.head.task) : 'none';
  if (head !== checkpoint.head)
    for (const name of leftByNewHead(checkpoint.description.architecture, oldKind)) parameters.delete(name);
  const { device = 'cpu' } = options;
  const precision = precisionFor(options.precision ?? 'auto', device);
  const { backend, description: openedDevice } = await openDevice(device);
  const model = new TrainableModel({
    description: checkpoint.description,
    head,
    parameters,
    seed,
    precision,
    form: device === 'cpu' ? 'fused' : 'composite',
    backend,
  });
  const [trainExamples, devExamples] = [train.examples, dev.examples];
  let settings: TaskSettings = task.settings;
  const kept = encoderPooler(checkpoint, head, parameters);
  return {
    checkpoint,
    tokenizer,
    model,
    trainExamples,
    devExamples,
    maxLength,
    truncated: train.truncated + dev.truncated,
    precision,
    device: openedDevice,
    task,
    trainOptions: {
      trainExamples,
      devExamples,
      evaluateDev: devMetricsFor(data.dev, devExamples, head, settings),
      taskObjective: objectiveOf(head.task, task.embedding),
      ...(head.task === 'embedding' && { together: 2 }),
    },
    finish: async (metrics) => {
      if (head.task !== 'multi-label-classification' || settings.threshold !== 'tune' || data.dev.rows.length === 0)
        return metrics;
      const logits = await predictLogits(model, devExamples);
      const rows = data.dev.rows as MultiLabelRow[];
      const probabilities = outputsOfRows(rows.length, devExamples, logits).map((row) => [...row].map(sigmoid));
      settings = { ...settings, thresholds: tuneThresholds(probabilities, labelIndicators(rows, head.labels)) };
      return { ...metrics, ...(await devMetricsFor(data.dev, devExamples, head, settings)(logits)) };
    },
    close: () => {
      if (trainExamples instanceof StoredExamples) trainExamples.close();
    },
    write: (target, signal) =>
      writeCheckpoint(target, {
        config: checkpoint.config,
        description: kept.size > 0 ? checkpoint.description : model.description,
        head,
        parameters: new Map([...model.toParameters(), ...kept]),
        dtype: 'float32',
        settings,
        tokenizerFrom: checkpoint.folder,
        ...(data.preprocessing && { extraFiles: { [preprocessingFile]: JSON.stringify(data.preprocessing, null, 2) } }),
        signal,
      }),
  };
}

/** The options by which a session that a step opens tells how far it is, and stops with the step. */
export function tellingRows(
  step: string,
  { signal, onProgress }: Pick<StepContext, 'signal' | 'onProgress'>,
): Pick<SessionOptions, 'onRows' | 'signal'> {
  return {
    onRows: (done, total) => onProgress?.({ step, phase: 'tokenizing', done, total, unit: 'row' }),
    ...(signal && { signal }),
  };
}

/** The encoder's pooler where no head reads it: it is written as it was. */
function encoderPooler({ description, head: old }: Checkpoint, head: TaskHead, parameters: Parameters): Parameters {
  const names = ['pooler.weight', 'pooler.bias'];
  const oldKind = old ? headKind(old.task) : 'none';
  const isOwn = oldKind === 'none' || !leftByNewHead(description.architecture, 'none').includes(names[0]!);
  if (headKind(head.task) !== 'none' || !isOwn) return new Map();
  return new Map(names.flatMap((name) => (parameters.has(name) ? [[name, parameters.get(name)!] as const] : [])));
}

/** bfloat16 where the machine multiplies it natively, unless float32 is asked for; other devices have float32 alone. */
export function precisionFor(wanted: 'auto' | TrainingPrecision, device: TrainingDevice): TrainingPrecision {
  if (device !== 'cpu' && wanted === 'bfloat16')
    throw new WhittleError(
      'BAD_OPTION',
      `precision: expected "auto" or "float32" with device "${device}" but found "bfloat16"`,
    );
  if (device !== 'cpu') return 'float32';
  return wanted !== 'float32' && native.machineInfo().nativeBf16 ? 'bfloat16' : 'float32';
}

/** Tokens that examples are cut to. */
export function checkedLength(wanted: number | undefined, { positions, positionOffset }: ModelDescription): number {
  const most = positions - positionOffset;
  if (wanted !== undefined && wanted > most)
    throw new WhittleError('BAD_OPTION', `maxLength: expected at most the model's ${most} tokens but found ${wanted}`);
  return wanted ?? Math.min(128, most);
}

function encode(split: Split, task: ResolvedTask, tokenizer: Tokenizer, maxLength: number): EncodedRows {
  const { head, longTexts, stride, labelPieces } = task;
  const place = (row: number) => placeOf(split, row);
  const options = { tokenizer, labels: head.labels, maxLength, longTexts, stride, labelPieces, place };
  return encodeRows(split.rows, head.task, options);
}

/** Streamed rows that are tokenized at once. */
const rowsAtOnce = 1000;

async function encodeToDisk(
  { source }: Split,
  { head, longTexts, stride, labelPieces }: ResolvedTask,
  tokenizer: Tokenizer,
  maxLength: number,
  { scratchFolder: folder, signal, onRows }: Pick<SessionOptions, 'scratchFolder' | 'signal' | 'onRows'>,
): Promise<{ examples: StoredExamples; truncated: number }> {
  let truncated = 0;
  let done = 0;
  async function* batches() {
    let rows: PlacedRow[] = [];
    const flush = () => {
      if (signal?.aborted) throw new WhittleError('ABORTED', 'tokenizing was stopped');
      const place = (row: number) => rows[row]!.place;
      const options = { tokenizer, labels: head.labels, maxLength, longTexts, stride, labelPieces, place };
      const encoded = encodeRows(
        rows.map(({ row }) => row),
        head.task,
        options,
      );
      truncated += encoded.truncated;
      done += rows.length;
      onRows?.(done, source!.count);
      rows = [];
      return encoded.examples;
    };
    for await (const row of source!.read()) {
      rows.push(row);
      if (rows.length === rowsAtOnce) yield flush();
    }
    if (rows.length > 0) yield flush();
  }
  if (folder !== undefined) await makeFolder(folder);
  const examples = await StoredExamples.write(batches(), folder);
  return { examples, truncated };
}
