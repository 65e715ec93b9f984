/** What a row of the architecture table is, and the look-ups in it. The rows are in architecture-table.ts. */
import { WhittleError } from '../../bindings/errors.js';
import type { Task } from '../data/dataset.js';
import { didYouMean } from '../options.js';
import { rows } from './architecture-table.js';
import { headKind, type HeadKind, type ModelDescription, type ParameterName } from './description.js';

export interface Architecture {
  /** `model_type` of config.json. */
  modelType: string;
  /** Tensor names of the encoder carry it where the model has a head. */
  prefix: string;
  /** Class name of the encoder without a head. */
  encoderClass: string;
  /** Class names with heads of sequences (all tasks of whole texts) and of tokens. */
  headClasses: Record<'text-classification' | 'token-classification', string>;
  /** Classes with other heads, whose encoder is used and whose head is left out. */
  otherClasses: string[];
  /** Hugging Face names by whittle's parameter names, without prefix; `N` is the layer. */
  tensorNames: Record<ParameterName, string>;
  /**
   * Hugging Face names, whole, of what stands outside of the encoder. Of classification heads on the first token
   * `pooler` is there only where the head has a layer of its own in place of the encoder's pooler.
   */
  headNames: { sequence: { pooler?: string; classifier: string }; token: { classifier: string } };
  /** Tensors (without prefix) that a file may hold and that are not parameters of the encoder or of whittle's heads. */
  ignoredTensors: RegExp;
  /** Checks config.json. `hasPooler` is left to the caller, who sees the tensors. */
  describe: (config: unknown, file: string) => Omit<ModelDescription, 'hasPooler'>;
  /** The config keys that follow from a description. */
  configKeys: (description: ModelDescription) => Record<string, unknown>;
}

/** `problem_type` of config.json by task, for heads of sequences. */
export const problemTypes: Partial<Record<Task, string>> = {
  'text-classification': 'single_label_classification',
  'multi-label-classification': 'multi_label_classification',
  regression: 'regression',
};

/** The class name that Transformers has for a task; embeddings are the encoder itself. */
export function classNameOf({ headClasses, encoderClass }: Architecture, task: Task): string {
  const kind = headKind(task);
  if (kind === 'none') return encoderClass;
  return headClasses[kind === 'token' ? 'token-classification' : 'text-classification'];
}

/** One row an architecture, by `model_type`. */
export const architectures: ReadonlyMap<string, Architecture> = new Map(rows.map((row) => [row.modelType, row]));

/**
 * The row of the table for a `model_type`.
 * @throws WhittleError UNSUPPORTED naming the file and the architectures that whittle has.
 */
export function architectureOf(modelType: unknown, file: string): Architecture {
  const known = [...architectures.keys()];
  const row = typeof modelType === 'string' ? architectures.get(modelType) : undefined;
  if (row) return row;
  const found = modelType === undefined ? 'it is missing' : `found ${JSON.stringify(modelType)}`;
  throw new WhittleError(
    'UNSUPPORTED',
    `${file}: model_type: expected one of the architectures that whittle has (${known.join(', ')}) but ${found}` +
      `${typeof modelType === 'string' ? didYouMean(modelType, known) : ''}`,
  );
}

/**
 * The Hugging Face name of a parameter: `layers.3.output.bias` is `bert.encoder.layer.3.output.dense.bias`.
 * @param prefix of the encoder's tensors, `bert.` or nothing.
 * @param kind of the head; with `none`, `pooler` is the encoder's own.
 * @returns undefined for a parameter that the architecture has not, such as the pooler of a bare DistilBERT.
 */
export function tensorName(
  architecture: Architecture,
  parameter: ParameterName,
  prefix: string,
  kind: HeadKind,
): string | undefined {
  const head = /^(pooler|classifier)\.(weight|bias)$/.exec(parameter);
  if (head && kind !== 'none') {
    const names: Record<string, string> = architecture.headNames[kind];
    const module = names[head[1]!];
    if (module !== undefined) return `${module}.${head[2]}`;
  }
  const layer = /^layers\.(\d+)\./.exec(parameter)?.[1];
  const pattern = layer === undefined ? parameter : parameter.replace(`layers.${layer}.`, 'layers.N.');
  const dot = pattern.lastIndexOf('.');
  const module = architecture.tensorNames[pattern.slice(0, dot)];
  const name = architecture.tensorNames[pattern] ?? (module && module + pattern.slice(dot));
  if (name === undefined) return undefined;
  return prefix + (layer === undefined ? name : name.replace('.N.', `.${layer}.`));
}

/**
 * The parameters of a checkpoint that a new head does not start from: the classifier, and the pooler where the head has
 * a layer of its own in its place and the checkpoint's is the encoder's.
 */
export function leftByNewHead(architecture: string, oldKind: HeadKind): ParameterName[] {
  const names = ['classifier.weight', 'classifier.bias'];
  const ownLayer = architectures.get(architecture)?.headNames.sequence.pooler !== undefined;
  if (ownLayer && oldKind === 'none') names.push('pooler.weight', 'pooler.bias');
  return names;
}
