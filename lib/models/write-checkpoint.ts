/** Writes Hugging Face checkpoint folders that Transformers and whittle load. */
import { readFile, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { withAbortCell } from '../../bindings/abort.js';
import { WhittleError } from '../../bindings/errors.js';
import { native } from '../../bindings/load.js';
import type { TensorToWrite } from '../../bindings/native.js';
import { preprocessingFile } from '../data/preprocess/preprocessing.js';
import { writeFolderWhole } from '../atomic.js';
import { architectureOf, classNameOf, problemTypes, tensorName, type Architecture } from './architectures.js';
import { headKind, type ModelDescription, type ParameterName, type TaskHead } from './description.js';
import { checkParameters, isLinearWeight, type Parameter, type QuantizedParameter } from './parameters.js';
import { makeQuantizationConfig, type Quantization } from './quantization.js';
import { makeHeader } from './safetensors.js';
import { writePooling } from './sentence-transformers.js';
import { readSettings, withSettings, type TaskSettings } from './task-settings.js';

export interface CheckpointToWrite {
  /** config.json of the model this one comes from; keys that follow from `description` and `head` are replaced. */
  config: Readonly<Record<string, unknown>>;
  description: ModelDescription;
  /** Absent for a bare encoder, whose tensor names then carry no prefix. */
  head?: TaskHead | undefined;
  /** All of the model's; int8 ones only together with `quantization`. */
  parameters: ReadonlyMap<ParameterName, Parameter | QuantizedParameter>;
  /** How floating point parameters are stored. */
  dtype: 'float32' | 'float16' | 'bfloat16';
  quantization?: Quantization | undefined;
  /** In place of those that `config` has. */
  settings?: TaskSettings | undefined;
  /** Folder whose tokenizer files are copied. */
  tokenizerFrom: string;
  /** Further files, by name. */
  extraFiles?: Record<string, string | Uint8Array>;
  signal?: AbortSignal | undefined;
}

const storedDtypes = { float32: 'F32', float16: 'F16', bfloat16: 'BF16' } as const;
const requiredTokenizerFiles = ['tokenizer.json'];
const optionalTokenizerFiles = [
  ...['tokenizer_config.json', 'special_tokens_map.json', 'added_tokens.json'],
  ...['vocab.txt', 'vocab.json', 'merges.txt', 'sentencepiece.bpe.model'],
  preprocessingFile,
];

/**
 * Writes a complete folder: config.json, model.safetensors, the tokenizer's files. It appears whole or not at all, and
 * replaces an existing one.
 *
 * @throws WhittleError IO (full disk, permissions; nothing partial is left), BAD_CHECKPOINT if parameters are missing,
 *   unknown or mis-shaped, BAD_OPTION if a value is beyond the range of float16 or int8 parameters come without
 *   `quantization`, ABORTED.
 * @example
 * const { config, description, head, readParameters } = await openCheckpoint('runs/a/finetune');
 * const parameters = await readParameters();
 * await writeCheckpoint('copy', { config, description, head, parameters, dtype: 'float16', tokenizerFrom: 'runs/a/finetune' });
 */
export async function writeCheckpoint(folder: string, checkpoint: CheckpointToWrite): Promise<void> {
  const { description, head, parameters, dtype, quantization, extraFiles = {} } = checkpoint;
  const architecture = architectureOf(description.architecture, folder);
  checkParameters(parameters, description, head);
  for (const name of Object.keys(extraFiles))
    if (basename(name) !== name) throw new WhittleError('BAD_OPTION', `Expected a plain file name but found ${name}`);

  const kind = head ? headKind(head.task) : 'none';
  const prefix = kind === 'none' ? '' : architecture.prefix;
  const tensors: (TensorToWrite & { shape: number[] })[] = [];
  for (const [parameter, { shape, ...values }] of parameters) {
    const name = tensorName(architecture, parameter, prefix, kind)!;
    if (!('scale' in values)) {
      tensors.push({ name, shape, data: values.data, dtype: storedDtypes[dtype] });
      continue;
    }
    if (!quantization)
      throw new WhittleError('BAD_OPTION', `Parameter ${parameter} is int8 but no quantization is given`);
    if (values.scale.length !== shape[0])
      throw new WhittleError(
        'BAD_CHECKPOINT',
        `Expected ${shape[0]} scales for parameter ${parameter} but found ${values.scale.length}`,
      );
    tensors.push({ name, shape, data: values.data, dtype: 'I8' });
    tensors.push({ name: `${name}_scale`, shape: [shape[0]!, 1], data: values.scale, dtype: storedDtypes[dtype] });
  }
  // The order of the reference implementation: larger elements first, so that every tensor is aligned.
  const width = { F32: 0, F16: 1, BF16: 1, I8: 2 } as const;
  tensors.sort((a, b) => width[a.dtype] - width[b.dtype] || (a.name < b.name ? -1 : 1));

  await withAbortCell(checkpoint.signal, (abort) =>
    writeFolderWhole(folder, async (aside) => {
      const config = makeConfig(checkpoint, architecture, prefix);
      await writeFile(join(aside, 'config.json'), JSON.stringify(config, null, 2) + '\n');
      for (const name of requiredTokenizerFiles) await copyTokenizerFile(checkpoint.tokenizerFrom, aside, name, true);
      for (const name of optionalTokenizerFiles) await copyTokenizerFile(checkpoint.tokenizerFrom, aside, name, false);
      for (const [name, content] of Object.entries(extraFiles)) await writeFile(join(aside, name), content);
      if (head?.pooling) await writePooling(aside, head.pooling, description.hidden, longestText(checkpoint));
      await native.writeTensors(join(aside, 'model.safetensors'), makeHeader(tensors), tensors, abort);
    }),
  );
}

/** config.json as Transformers writes it for this model. */
function makeConfig(
  { config, description, head, parameters, dtype, quantization, settings }: CheckpointToWrite,
  architecture: Architecture,
  prefix: string,
): Record<string, unknown> {
  const kept: Record<string, unknown> = settings ? withSettings(config, settings) : { ...config };
  for (const key of ['id2label', 'label2id', 'problem_type', 'torch_dtype', 'quantization_config', 'num_labels'])
    delete kept[key];
  const result: Record<string, unknown> = {
    ...kept,
    architectures: [head ? classNameOf(architecture, head.task) : architecture.encoderClass],
    model_type: architecture.modelType,
    ...architecture.configKeys(description),
    dtype,
  };
  if (head && headKind(head.task) !== 'none') {
    result.id2label = Object.fromEntries(head.labels.map((label, id) => [id, label]));
    result.label2id = Object.fromEntries(head.labels.map((label, id) => [label, id]));
    const problem = problemTypes[head.task];
    if (problem) result.problem_type = problem;
  }
  if (quantization) {
    const modules = { linear: [] as string[], embedding: [] as string[] };
    const ignored: string[] = [];
    for (const [parameter, values] of parameters) {
      const kind = isEmbedding(parameter) ? 'embedding' : isLinearWeight(parameter) ? 'linear' : undefined;
      if (!kind) continue;
      const tensor = tensorName(architecture, parameter, prefix, head ? headKind(head.task) : 'none')!;
      const module = tensor.replace(/\.weight$/, '');
      if ('scale' in values) modules[kind].push(module);
      else ignored.push(module);
    }
    result.quantization_config = makeQuantizationConfig(quantization, modules, ignored);
  }
  return result;
}

/** Most tokens of a text to embed. */
function longestText({ config, settings, description }: CheckpointToWrite): number {
  const { maxLength } = settings ?? readSettings(config, 'config.json');
  return maxLength ?? description.positions - description.positionOffset;
}

function isEmbedding(parameter: ParameterName): boolean {
  return ['word', 'position', 'tokenType', 'positionBias'].some((table) => parameter === `embeddings.${table}`);
}

async function copyTokenizerFile(from: string, to: string, name: string, required: boolean): Promise<void> {
  try {
    await writeFile(join(to, name), await readFile(join(from, name)));
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'ENOENT') throw error;
    if (required) throw new WhittleError('BAD_CHECKPOINT', `${join(from, name)}: no such file`);
  }
}
