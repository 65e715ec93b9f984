/** Opens Hugging Face checkpoint folders. */
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { WhittleError } from '../../bindings/errors.js';
import { native } from '../../bindings/load.js';
import type { StoredParameter, StoredTensor, TensorDtype } from '../../bindings/native.js';
import type { Task } from '../data/dataset.js';
import { describeValue } from '../data/rows.js';
import { didYouMean } from '../options.js';
import { architectureOf, problemTypes, tensorName, type Architecture } from './architectures.js';
import { headKind, type ModelDescription, type ParameterName, type Pooling, type TaskHead } from './description.js';
import { format, parameterShapes, type Parameters } from './parameters.js';
import { readQuantization, type Quantization } from './quantization.js';
import { readHeader } from './safetensors.js';
import { readPooling } from './sentence-transformers.js';
import { readSettings, type TaskSettings } from './task-settings.js';

export interface Checkpoint {
  readonly folder: string;
  /** config.json as it is. */
  readonly config: Readonly<Record<string, unknown>>;
  readonly description: ModelDescription;
  /**
   * Absent for a bare encoder, and for one with a head that whittle leaves out (masked language modelling). A folder of
   * sentence-transformers has one for embeddings.
   */
  readonly head: TaskHead | undefined;
  readonly quantization: Quantization | undefined;
  /** What prediction repeats of the training. */
  readonly settings: TaskSettings;
  /** Where every parameter lies, checked to be complete and of the right shapes. */
  readonly tensors: ReadonlyMap<ParameterName, StoredParameter>;
  /** How every parameter is stored. */
  readonly dtypes: ReadonlyMap<ParameterName, TensorDtype>;
  /** Bytes of the weight files. */
  readonly bytes: number;
  /** Every parameter (or those named) as float32; int8 is dequantized, half precision widened. */
  readParameters(names?: Iterable<ParameterName>): Promise<Parameters>;
}

/**
 * Opens a Hugging Face folder: config.json, model.safetensors (or the shards that model.safetensors.index.json names)
 * are read and checked against each other; no weights are loaded yet.
 *
 * @throws WhittleError BAD_OPTION for what is no name of a folder; BAD_CHECKPOINT naming the file and tensor: missing, truncated, mis-shaped, inconsistent;
 *   UNSUPPORTED for architectures, heads and quantization schemes that whittle has not; IO.
 * @example
 * const checkpoint = await openCheckpoint('models/minilm-l6');
 * const parameters = await checkpoint.readParameters();
 * parameters.get('layers.0.intermediate.weight')?.shape; // [1536, 384]
 */
export async function openCheckpoint(folder: string): Promise<Checkpoint> {
  if (typeof folder !== 'string' || folder === '')
    throw new WhittleError('BAD_OPTION', `Expected the folder of a checkpoint but found ${describeValue(folder)}`);
  const configFile = join(folder, 'config.json');
  const config = await readJson(configFile);
  const architecture = architectureOf(config.model_type, configFile);
  const found = await readTensors(folder);
  const head = readHead(config, architecture, configFile, await readPooling(folder));
  const prefixed = [...found.keys()].some((name) => name.startsWith(architecture.prefix));
  const prefix = prefixed ? architecture.prefix : '';
  const nameOf = (parameter: ParameterName) =>
    tensorName(architecture, parameter, prefix, head ? headKind(head.task) : 'none');
  const description: ModelDescription = {
    ...architecture.describe(config, configFile),
    hasPooler: found.has(nameOf('pooler.weight') ?? ''),
  };
  const tensors = matchTensors(folder, found, architecture, prefix, parameterShapes(description, head), nameOf);
  const quantization = readQuantization(config, configFile);
  const files = new Set([...found.values()].map((tensor) => tensor.file));
  const sizes = await Promise.all([...files].map(async (file) => (await stat(file)).size));
  return {
    folder,
    config,
    description,
    head,
    quantization,
    settings: readSettings(config, configFile),
    tensors,
    dtypes: new Map([...tensors].map(([name, { tensor }]) => [name, tensor.dtype])),
    bytes: sizes.reduce((sum, size) => sum + size, 0),
    readParameters: (names) => readParameters(tensors, names ?? tensors.keys()),
  };
}

async function readParameters(
  tensors: ReadonlyMap<ParameterName, StoredParameter>,
  names: Iterable<ParameterName>,
): Promise<Parameters> {
  const wanted = [...names];
  const stored = wanted.map((name) => {
    const parameter = tensors.get(name);
    if (!parameter)
      throw new WhittleError(
        'BAD_OPTION',
        `The checkpoint has no parameter ${name}${didYouMean(name, [...tensors.keys()])}`,
      );
    return parameter;
  });
  const arrays = await native.readParameters(stored);
  return new Map(wanted.map((name, i) => [name, { shape: [...stored[i]!.tensor.shape], data: arrays[i]! }]));
}

/** A JSON object from a file of the checkpoint. */
async function readJson(file: string): Promise<Record<string, unknown>> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR')
      throw new WhittleError('BAD_CHECKPOINT', `${file}: no such file; expected a Hugging Face checkpoint folder`);
    throw new WhittleError('IO', `${file} could not be read: ${message}`, { cause: error });
  }
  try {
    const parsed: unknown = JSON.parse(text);
    if (typeof parsed === 'object' && parsed !== null && !Array.isArray(parsed))
      return parsed as Record<string, unknown>;
  } catch (error) {
    throw new WhittleError('BAD_CHECKPOINT', `${file}: expected JSON but found: ${(error as Error).message}`);
  }
  throw new WhittleError('BAD_CHECKPOINT', `${file}: expected a JSON object`);
}

/** Every tensor of the folder's safetensors files, by the name the files use. */
async function readTensors(folder: string): Promise<Map<string, StoredTensor>> {
  const single = join(folder, 'model.safetensors');
  const indexFile = join(folder, 'model.safetensors.index.json');
  const exists = (file: string) =>
    stat(file).then(
      () => true,
      () => false,
    );
  if (await exists(single)) return readHeader(single);
  if (!(await exists(indexFile)))
    throw new WhittleError(
      'BAD_CHECKPOINT',
      `${folder}: expected model.safetensors or model.safetensors.index.json but found neither` +
        ((await exists(join(folder, 'pytorch_model.bin')))
          ? '; pytorch_model.bin has to be saved as safetensors first (save_pretrained of Transformers does)'
          : ''),
    );
  const index = z
    .looseObject({ weight_map: z.record(z.string(), z.string().regex(/^[^/\\]+$/)) })
    .safeParse(await readJson(indexFile));
  if (!index.success)
    throw new WhittleError('BAD_CHECKPOINT', `${indexFile}: expected weight_map to map tensor names to file names`);
  const tensors = new Map<string, StoredTensor>();
  const shards = new Set(Object.values(index.data.weight_map));
  for (const shard of shards)
    for (const [name, tensor] of await readHeader(join(folder, shard))) {
      const expected = index.data.weight_map[name];
      if (expected !== shard)
        throw new WhittleError(
          'BAD_CHECKPOINT',
          `${join(folder, shard)}: tensor ${name}: ${indexFile} ` +
            (expected === undefined ? 'does not name it' : `has it in ${expected}`),
        );
      tensors.set(name, tensor);
    }
  for (const [name, shard] of Object.entries(index.data.weight_map))
    if (!tensors.has(name))
      throw new WhittleError('BAD_CHECKPOINT', `${join(folder, shard)}: tensor ${name}: missing, though ${indexFile} names it`);
  return tensors;
}

function readHead(
  config: Record<string, unknown>,
  architecture: Architecture,
  file: string,
  pooling: Pooling | undefined,
): TaskHead | undefined {
  const classes = Array.isArray(config.architectures) ? (config.architectures as unknown[]) : [];
  const name = classes[0] ?? architecture.encoderClass;
  const { headClasses } = architecture;
  if (name === headClasses['token-classification'])
    return { task: 'token-classification', labels: readLabels(config, file) };
  if (name === headClasses['text-classification']) {
    const labels = readLabels(config, file);
    return { task: readProblem(config, labels, file), labels };
  }
  if (name === architecture.encoderClass && pooling) return { task: 'embedding', labels: [], pooling };
  if (name === architecture.encoderClass || architecture.otherClasses.includes(name as string)) return undefined;
  const known = [architecture.encoderClass, ...Object.values(architecture.headClasses), ...architecture.otherClasses];
  throw new WhittleError(
    'UNSUPPORTED',
    `${file}: architectures names ${JSON.stringify(name)}, a task that whittle has not; expected one of ${known.join(', ')}`,
  );
}

/** The task of a head of sequences: its `problem_type`, or without one what Transformers takes it for. */
function readProblem(config: Record<string, unknown>, labels: readonly string[], file: string): Task {
  const problem = config.problem_type ?? (labels.length === 1 ? 'regression' : 'single_label_classification');
  const task = Object.entries(problemTypes).find(([, one]) => one === problem)?.[0] as Task | undefined;
  if (task === undefined)
    throw new WhittleError(
      'UNSUPPORTED',
      `${file}: expected problem_type ${Object.values(problemTypes).join(', ')} but found ${JSON.stringify(problem)}`,
    );
  if (task === 'regression' && labels.length !== 1)
    throw new WhittleError('UNSUPPORTED', `${file}: expected one label for regression but found ${labels.length}`);
  return task;
}

/** `id2label` in order of the ids, which must be 0, 1, ...; two nameless classes without it, as Transformers does. */
function readLabels(config: Record<string, unknown>, file: string): string[] {
  const map = config.id2label;
  if (map === undefined) {
    const count = typeof config.num_labels === 'number' ? config.num_labels : 2;
    return Array.from({ length: count }, (_, id) => `LABEL_${id}`);
  }
  const read = z.record(z.string(), z.string()).safeParse(map);
  const count = read.success ? Object.keys(read.data).length : 0;
  const labels = Array.from({ length: count }, (_, id) => read.data![String(id)]);
  const gap = labels.indexOf(undefined);
  if (count === 0 || gap >= 0)
    throw new WhittleError(
      'BAD_CHECKPOINT',
      `${file}: id2label: expected a label for each of "0", "1", ... but found ${count === 0 ? JSON.stringify(map) : `none for "${gap}"`}`,
    );
  if (new Set(labels).size !== count)
    throw new WhittleError('BAD_CHECKPOINT', `${file}: id2label: expected different labels but one appears twice`);
  return labels as string[];
}

const floats: readonly TensorDtype[] = ['F32', 'F16', 'BF16'];

function matchTensors(
  folder: string,
  found: Map<string, StoredTensor>,
  architecture: Architecture,
  prefix: string,
  shapes: ReadonlyMap<ParameterName, number[]>,
  nameOf: (parameter: ParameterName) => string | undefined,
): Map<ParameterName, StoredParameter> {
  const result = new Map<ParameterName, StoredParameter>();
  const left = new Map(found);
  const take = (name: string) => {
    const tensor = left.get(name);
    left.delete(name);
    return tensor;
  };
  for (const [parameter, shape] of shapes) {
    const name = nameOf(parameter)!;
    const tensor = take(name);
    if (!tensor)
      throw new WhittleError(
        'BAD_CHECKPOINT',
        `${folder}: tensor ${name}: expected ${format(shape)} but it is missing${didYouMean(name, [...left.keys()])}`,
      );
    if (format(tensor.shape) !== format(shape)) throw misShaped(tensor, format(shape));
    if (tensor.dtype !== 'I8') {
      if (!floats.includes(tensor.dtype))
        throw new WhittleError(
          'UNSUPPORTED',
          `${tensor.file}: tensor ${name}: expected dtype ${floats.join(', ')} or I8 but found ${tensor.dtype}`,
        );
      result.set(parameter, { tensor });
      continue;
    }
    const scale = take(`${name}_scale`);
    if (!scale)
      throw new WhittleError(
        'BAD_CHECKPOINT',
        `${tensor.file}: tensor ${name}: is I8, so ${name}_scale [${shape[0]}, 1] is expected but missing`,
      );
    const scales = `[${shape[0]}, 1]`;
    if (format(scale.shape) !== scales && format(scale.shape) !== `[${shape[0]}]`) throw misShaped(scale, scales);
    if (!floats.includes(scale.dtype))
      throw new WhittleError(
        'UNSUPPORTED',
        `${scale.file}: tensor ${scale.name}: expected dtype ${floats.join(', ')} but found ${scale.dtype}`,
      );
    result.set(parameter, { tensor, scale });
  }
  for (const [name, tensor] of left)
    if (!architecture.ignoredTensors.test(name.startsWith(prefix) ? name.slice(prefix.length) : name))
      throw new WhittleError(
        'BAD_CHECKPOINT',
        `${tensor.file}: tensor ${name} ${format(tensor.shape)} belongs to no part of the model that config.json describes`,
      );
  return result;
}

function misShaped(tensor: StoredTensor, expected: string): WhittleError {
  return new WhittleError(
    'BAD_CHECKPOINT',
    `${tensor.file}: tensor ${tensor.name}: expected shape ${expected} but found ${format(tensor.shape)}`,
  );
}
