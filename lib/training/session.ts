/** What every step that trains needs: the model made trainable and the data encoded for it. */
import { WhittleError } from '../../bindings/errors.js';
import { native } from '../../bindings/load.js';
import type { TrainingPrecision } from '../../bindings/native.js';
import { openDevice, type TrainingDevice } from '../backend/devices.js';
import type { Example } from '../data/batch.js';
import type { Examples } from '../data/examples.js';
import { placeOf, type Dataset, type Split, type Task } from '../data/dataset.js';
import { encodeRows, type EncodedRows } from '../data/encode.js';
import { preprocessingFile } from '../data/preprocess/preprocessing.js';
import { loadTokenizer, type Tokenizer } from '../data/tokenizer/tokenizer.js';
import { leftByNewHead } from '../models/architectures.js';
import { openCheckpoint, type Checkpoint } from '../models/checkpoint.js';
import { headKind, type ModelDescription, type TaskHead } from '../models/description.js';
import { writeCheckpoint } from '../models/write-checkpoint.js';
import { TrainableModel } from './model.js';

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
  if (data.task !== 'text-classification' && data.task !== 'token-classification')
    throw new WhittleError('UNSUPPORTED', `Expected a task that whittle trains but found ${data.task}`);
  if (threads > 0) native.setThreads(threads);
  const checkpoint = typeof source === 'string' ? await openCheckpoint(source) : source;
  const tokenizer = await loadTokenizer(checkpoint.folder, checkpoint.description, data.preprocessing);
  const head = headFor(checkpoint.head, data);
  const maxLength = checkedLength(options.maxLength, checkpoint.description);
  const [train, dev] = [data.train, data.dev].map((split) => encode(split, data.task, head, tokenizer, maxLength));
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
  return {
    checkpoint,
    tokenizer,
    model,
    trainExamples: train!.examples,
    devExamples: dev!.examples,
    maxLength,
    truncated: train!.truncated + dev!.truncated,
    precision,
    device: openedDevice,
    write: (target, signal) =>
      writeCheckpoint(target, {
        config: checkpoint.config,
        description: model.description,
        head,
        parameters: model.toParameters(),
        dtype: 'float32',
        tokenizerFrom: checkpoint.folder,
        ...(data.preprocessing && { extraFiles: { [preprocessingFile]: JSON.stringify(data.preprocessing, null, 2) } }),
        signal,
      }),
  };
}

/** bfloat16 where the machine multiplies it natively, unless float32 is asked for; other devices have float32 alone. */
function precisionFor(wanted: 'auto' | TrainingPrecision, device: TrainingDevice): TrainingPrecision {
  if (device !== 'cpu' && wanted === 'bfloat16')
    throw new WhittleError(
      'BAD_OPTION',
      `precision: expected "auto" or "float32" with device "${device}" but found "bfloat16"`,
    );
  if (device !== 'cpu') return 'float32';
  return wanted !== 'float32' && native.machineInfo().nativeBf16 ? 'bfloat16' : 'float32';
}

/** The checkpoint's own head if it has the same task and set of labels, else a new one. */
function headFor(existing: TaskHead | undefined, { task, labels }: Dataset): TaskHead {
  const same =
    existing?.task === task &&
    existing.labels.length === labels.length &&
    labels.every((label) => existing.labels.includes(label));
  return same ? existing : { task, labels: [...labels] };
}

function checkedLength(wanted: number | undefined, { positions, positionOffset }: ModelDescription): number {
  const most = positions - positionOffset;
  if (wanted !== undefined && wanted > most)
    throw new WhittleError('BAD_OPTION', `maxLength: expected at most the model's ${most} tokens but found ${wanted}`);
  return wanted ?? Math.min(128, most);
}

function encode(split: Split, task: Task, head: TaskHead, tokenizer: Tokenizer, maxLength: number): EncodedRows {
  const place = (row: number) => placeOf(split, row);
  return encodeRows(split.rows, task, { tokenizer, labels: head.labels, maxLength, place });
}
