/** The table that maps each Hugging Face architecture, its config keys and tensor names to whittle's description. */
import { z } from 'zod';
import { WhittleError } from '../../bindings/errors.js';
import { checkOptions, didYouMean } from '../options.js';
import type { Task } from '../data/dataset.js';
import { headKind, type ModelDescription, type ParameterName } from './description.js';

export interface Architecture {
  /** `model_type` of config.json. */
  modelType: string;
  /** Tensor names carry it where the model has a head. */
  prefix: string;
  /** Class name of the encoder without a head. */
  encoderClass: string;
  /** Class names with heads of sequences (all tasks of whole texts) and of tokens. */
  headClasses: Record<'text-classification' | 'token-classification', string>;
  /** Classes with other heads, whose encoder is used and whose head is left out. */
  otherClasses: string[];
  /** Hugging Face names by whittle's parameter names, without prefix; `N` is the layer. */
  tensorNames: Record<ParameterName, string>;
  /** Tensors (without prefix) that a file may hold and that are not parameters of the encoder or of whittle's heads. */
  ignoredTensors: RegExp;
  /** Checks config.json. `hasPooler` is left to the caller, who sees the tensors. */
  describe: (config: unknown, file: string) => Omit<ModelDescription, 'hasPooler'>;
  /** The config keys that follow from a description. */
  configKeys: (description: ModelDescription) => Record<string, unknown>;
}

const size = z.number().int().positive();
const rate = z.number().min(0).lt(1);

const bertConfig = z
  .looseObject({
    num_hidden_layers: size,
    hidden_size: size,
    num_attention_heads: size,
    intermediate_size: size,
    vocab_size: size,
    max_position_embeddings: size,
    type_vocab_size: z.number().int().min(0).default(2),
    hidden_act: z.string(),
    layer_norm_eps: z.number().positive().default(1e-12),
    hidden_dropout_prob: rate.default(0.1),
    attention_probs_dropout_prob: rate.default(0.1),
    pad_token_id: z.number().int().min(0).nullish(),
    position_embedding_type: z.string().default('absolute'),
    is_decoder: z.boolean().default(false),
  })
  .refine((config) => config.hidden_size % config.num_attention_heads === 0, {
    error: 'expected hidden_size to be a multiple of num_attention_heads',
  });

/** @throws WhittleError UNSUPPORTED unless the key of config.json has the one value that whittle computes. */
function expectValue<T>(file: string, key: string, found: T, supported: T): void {
  if (found === supported) return;
  throw new WhittleError(
    'UNSUPPORTED',
    `${file}: ${key}: expected ${JSON.stringify(supported)}, which is what whittle computes, but found ${JSON.stringify(found)}`,
  );
}

const bert: Architecture = {
  modelType: 'bert',
  prefix: 'bert.',
  encoderClass: 'BertModel',
  headClasses: {
    'text-classification': 'BertForSequenceClassification',
    'token-classification': 'BertForTokenClassification',
  },
  otherClasses: ['BertForMaskedLM', 'BertForPreTraining', 'BertForNextSentencePrediction', 'BertLMHeadModel'],
  tensorNames: {
    'embeddings.word': 'embeddings.word_embeddings.weight',
    'embeddings.position': 'embeddings.position_embeddings.weight',
    'embeddings.tokenType': 'embeddings.token_type_embeddings.weight',
    'embeddings.norm': 'embeddings.LayerNorm',
    'layers.N.attention.query': 'encoder.layer.N.attention.self.query',
    'layers.N.attention.key': 'encoder.layer.N.attention.self.key',
    'layers.N.attention.value': 'encoder.layer.N.attention.self.value',
    'layers.N.attention.output': 'encoder.layer.N.attention.output.dense',
    'layers.N.attention.norm': 'encoder.layer.N.attention.output.LayerNorm',
    'layers.N.intermediate': 'encoder.layer.N.intermediate.dense',
    'layers.N.output': 'encoder.layer.N.output.dense',
    'layers.N.output.norm': 'encoder.layer.N.output.LayerNorm',
    pooler: 'pooler.dense',
  },
  ignoredTensors: /^(embeddings\.position_ids$|cls\.|pooler\.dense\.(weight|bias)$)/,
  describe: (config, file) => {
    const read = checkOptions(bertConfig, config, file, 'BAD_CHECKPOINT');
    expectValue(file, 'hidden_act', read.hidden_act, 'gelu');
    expectValue(file, 'position_embedding_type', read.position_embedding_type, 'absolute');
    expectValue(file, 'is_decoder', read.is_decoder, false);
    return {
      architecture: 'bert',
      layers: read.num_hidden_layers,
      hidden: read.hidden_size,
      heads: read.num_attention_heads,
      headSize: read.hidden_size / read.num_attention_heads,
      intermediate: read.intermediate_size,
      vocabulary: read.vocab_size,
      positions: read.max_position_embeddings,
      positionOffset: 0,
      tokenTypes: read.type_vocab_size,
      activation: 'gelu',
      normPlacement: 'post',
      normEpsilon: read.layer_norm_eps,
      hiddenDropout: read.hidden_dropout_prob,
      attentionDropout: read.attention_probs_dropout_prob,
      padTokenId: read.pad_token_id ?? 0,
    };
  },
  configKeys: (description) => ({
    num_hidden_layers: description.layers,
    hidden_size: description.hidden,
    num_attention_heads: description.heads,
    intermediate_size: description.intermediate,
    vocab_size: description.vocabulary,
    max_position_embeddings: description.positions,
    type_vocab_size: description.tokenTypes,
    hidden_act: description.activation,
    layer_norm_eps: description.normEpsilon,
    hidden_dropout_prob: description.hiddenDropout,
    attention_probs_dropout_prob: description.attentionDropout,
    pad_token_id: description.padTokenId,
  }),
};

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
export const architectures: ReadonlyMap<string, Architecture> = new Map([[bert.modelType, bert]]);

/**
 * The row of the table for a `model_type`.
 * @throws WhittleError UNSUPPORTED naming the file and the architectures that whittle has.
 */
export function architectureOf(modelType: unknown, file: string): Architecture {
  const known = [...architectures.keys()];
  const row = typeof modelType === 'string' ? architectures.get(modelType) : undefined;
  if (row) return row;
  throw new WhittleError(
    'UNSUPPORTED',
    `${file}: model_type ${JSON.stringify(modelType)} is not an architecture that whittle has; expected one of ` +
      `${known.join(', ')}${typeof modelType === 'string' ? didYouMean(modelType, known) : ''}`,
  );
}

/**
 * The Hugging Face name of a parameter, without prefix: `layers.3.output.bias` is `encoder.layer.3.output.dense.bias`.
 * `classifier` stands outside of the encoder and has the same name everywhere.
 */
export function tensorName(architecture: Architecture, parameter: ParameterName): string {
  if (parameter.startsWith('classifier.')) return parameter;
  const layer = /^layers\.(\d+)\./.exec(parameter)?.[1];
  const pattern = layer === undefined ? parameter : parameter.replace(`layers.${layer}.`, 'layers.N.');
  const whole = architecture.tensorNames[pattern];
  const dot = pattern.lastIndexOf('.');
  const name = whole ?? `${architecture.tensorNames[pattern.slice(0, dot)]}${pattern.slice(dot)}`;
  return layer === undefined ? name : name.replace('.N.', `.${layer}.`);
}
