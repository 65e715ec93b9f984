/** One row an architecture: how Hugging Face names its classes, config keys and tensors. */
import { z } from 'zod';
import { WhittleError } from '../../bindings/errors.js';
import { checkOptions } from '../options.js';
import type { Architecture } from './architectures.js';
import type { ModelDescription } from './description.js';

const size = z.custom<number>((value) => Number.isSafeInteger(value) && (value as number) > 0, {
  error: 'expected a whole number above 0',
});
const count = z.custom<number>((value) => Number.isSafeInteger(value) && (value as number) >= 0, {
  error: 'expected a whole number of at least 0',
});
const rate = z.custom<number>((value) => typeof value === 'number' && value >= 0 && value < 1, {
  error: 'expected a dropout rate of at least 0 and below 1',
});
const epsilon = z.custom<number>((value) => typeof value === 'number' && value > 0 && value < 1, {
  error: 'expected a number above 0',
});
const text = z.string({ error: 'expected a string' });
const flag = z.boolean({ error: 'expected true or false' });

/** The keys that BERT and those that follow it share. */
const bertKeys = {
  num_hidden_layers: size,
  hidden_size: size,
  num_attention_heads: size,
  intermediate_size: size,
  vocab_size: size,
  max_position_embeddings: size,
  type_vocab_size: count.default(2),
  hidden_act: text.default('gelu'),
  layer_norm_eps: epsilon.default(1e-12),
  hidden_dropout_prob: rate.default(0.1),
  attention_probs_dropout_prob: rate.default(0.1),
  classifier_dropout: rate.nullish(),
  pad_token_id: count.nullish(),
  position_embedding_type: text.default('absolute'),
  is_decoder: flag.default(false),
  embedding_size: size.optional(),
  relative_attention_num_buckets: size.default(32),
};
const bertConfig = z.looseObject(bertKeys);

const distilbertConfig = z.looseObject({
  n_layers: size,
  dim: size,
  n_heads: size,
  hidden_dim: size,
  vocab_size: size,
  max_position_embeddings: size,
  activation: text.default('gelu'),
  dropout: rate.default(0.1),
  attention_dropout: rate.default(0.1),
  seq_classif_dropout: rate.default(0.2),
  pad_token_id: count.nullish(),
});

/** @throws WhittleError UNSUPPORTED unless the key of config.json has the one value that whittle computes. */
function expectValue<T>(file: string, key: string, found: T, supported: T): void {
  if (found === supported) return;
  throw new WhittleError(
    'UNSUPPORTED',
    `${file}: ${key}: expected ${JSON.stringify(supported)}, which is what whittle computes, but found ${JSON.stringify(found)}`,
  );
}

function checkHeads(file: string, width: [string, number], heads: [string, number]): void {
  if (width[1] % heads[1] === 0) return;
  throw new WhittleError(
    'BAD_CHECKPOINT',
    `${file}: ${width[0]}: expected a multiple of ${heads[0]} (${heads[1]}) but found ${width[1]}`,
  );
}

/** What sets an architecture apart from BERT. */
type Differences = Partial<
  Pick<ModelDescription, 'positionBuckets' | 'poolerActivation' | 'dropsPoolerInput'> & {
    hasTokenTypes: boolean;
    /** Positions start behind this one, whatever pad_token_id says. */
    padPosition: 'pad_token_id' | 1;
    defaultPad: number;
  }
>;

/** `describe` for config.json in BERT's form. */
function describeBertLike(modelType: string, differences: Differences = {}): Architecture['describe'] {
  return (config, file) => {
    const read = checkOptions(bertConfig, config, file, 'BAD_CHECKPOINT');
    const { hasTokenTypes = true, padPosition, defaultPad = 0, positionBuckets = 0 } = differences;
    expectValue(file, 'hidden_act', read.hidden_act, 'gelu');
    expectValue(file, 'position_embedding_type', read.position_embedding_type, 'absolute');
    expectValue(file, 'is_decoder', read.is_decoder, false);
    // Transformers divides distances into 32 buckets whatever the config says.
    if (positionBuckets)
      expectValue(file, 'relative_attention_num_buckets', read.relative_attention_num_buckets, positionBuckets);
    if (modelType === 'electra') expectValue(file, 'embedding_size', read.embedding_size ?? 128, read.hidden_size);
    checkHeads(file, ['hidden_size', read.hidden_size], ['num_attention_heads', read.num_attention_heads]);
    const padTokenId = read.pad_token_id ?? defaultPad;
    const headDropout = read.classifier_dropout ?? read.hidden_dropout_prob;
    const positionOffset = padPosition === undefined ? 0 : (padPosition === 1 ? 1 : padTokenId) + 1;
    if (read.max_position_embeddings <= positionOffset)
      throw new WhittleError(
        'BAD_CHECKPOINT',
        `${file}: max_position_embeddings: expected more than ${positionOffset}, the position of the first token, but found ${read.max_position_embeddings}`,
      );
    return {
      architecture: modelType,
      layers: read.num_hidden_layers,
      hidden: read.hidden_size,
      heads: read.num_attention_heads,
      headSize: read.hidden_size / read.num_attention_heads,
      intermediate: read.intermediate_size,
      vocabulary: read.vocab_size,
      positions: read.max_position_embeddings,
      positionOffset,
      positionBuckets,
      tokenTypes: hasTokenTypes ? read.type_vocab_size : 0,
      activation: 'gelu',
      normPlacement: 'post',
      normEpsilon: read.layer_norm_eps,
      poolerActivation: differences.poolerActivation ?? 'tanh',
      dropsPoolerInput: differences.dropsPoolerInput ?? false,
      hiddenDropout: read.hidden_dropout_prob,
      attentionDropout: read.attention_probs_dropout_prob,
      headDropout: { sequence: headDropout, token: headDropout },
      padTokenId,
    };
  };
}

/** The keys of config.json that follow from a description, in BERT's form. */
function bertConfigKeys(description: ModelDescription): Record<string, unknown> {
  return {
    num_hidden_layers: description.layers,
    hidden_size: description.hidden,
    num_attention_heads: description.heads,
    intermediate_size: description.intermediate,
    vocab_size: description.vocabulary,
    max_position_embeddings: description.positions,
    ...(description.tokenTypes > 0 && { type_vocab_size: description.tokenTypes }),
    ...(description.positionBuckets > 0 && { relative_attention_num_buckets: description.positionBuckets }),
    hidden_act: description.activation,
    layer_norm_eps: description.normEpsilon,
    hidden_dropout_prob: description.hiddenDropout,
    attention_probs_dropout_prob: description.attentionDropout,
    pad_token_id: description.padTokenId,
  };
}

const bertTensors = {
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
};
const bertPooler = { pooler: 'pooler.dense' };
/** RoBERTa's classification head, which ELECTRA and MPNet have too. */
const robertaHead = {
  sequence: { pooler: 'classifier.dense', classifier: 'classifier.out_proj' },
  token: { classifier: 'classifier' },
};

function classNames(stem: string, others: string[]): Pick<Architecture, 'encoderClass' | 'headClasses' | 'otherClasses'> {
  return {
    encoderClass: `${stem}Model`,
    headClasses: {
      'text-classification': `${stem}ForSequenceClassification`,
      'token-classification': `${stem}ForTokenClassification`,
    },
    otherClasses: others.map((other) => stem + other),
  };
}

const bert: Architecture = {
  modelType: 'bert',
  prefix: 'bert.',
  ...classNames('Bert', ['ForMaskedLM', 'ForPreTraining', 'ForNextSentencePrediction', 'LMHeadModel']),
  tensorNames: { ...bertTensors, ...bertPooler },
  headNames: { sequence: { classifier: 'classifier' }, token: { classifier: 'classifier' } },
  ignoredTensors: /^(embeddings\.position_ids$|cls\.|pooler\.dense\.(weight|bias|weight_scale)$)/,
  describe: describeBertLike('bert'),
  configKeys: bertConfigKeys,
};

const roberta: Architecture = {
  modelType: 'roberta',
  prefix: 'roberta.',
  ...classNames('Roberta', ['ForMaskedLM', 'ForCausalLM']),
  tensorNames: { ...bertTensors, ...bertPooler },
  headNames: robertaHead,
  ignoredTensors: /^(embeddings\.position_ids$|lm_head\.|pooler\.dense\.(weight|bias|weight_scale)$)/,
  describe: describeBertLike('roberta', { padPosition: 'pad_token_id', defaultPad: 1, dropsPoolerInput: true }),
  configKeys: bertConfigKeys,
};

const xlmRoberta: Architecture = {
  ...roberta,
  modelType: 'xlm-roberta',
  ...classNames('XLMRoberta', ['ForMaskedLM', 'ForCausalLM']),
  describe: describeBertLike('xlm-roberta', { padPosition: 'pad_token_id', defaultPad: 1, dropsPoolerInput: true }),
};

const mpnet: Architecture = {
  modelType: 'mpnet',
  prefix: 'mpnet.',
  ...classNames('MPNet', ['ForMaskedLM']),
  tensorNames: {
    ...bertTensors,
    ...bertPooler,
    'embeddings.positionBias': 'encoder.relative_attention_bias.weight',
    'layers.N.attention.query': 'encoder.layer.N.attention.attn.q',
    'layers.N.attention.key': 'encoder.layer.N.attention.attn.k',
    'layers.N.attention.value': 'encoder.layer.N.attention.attn.v',
    'layers.N.attention.output': 'encoder.layer.N.attention.attn.o',
    'layers.N.attention.norm': 'encoder.layer.N.attention.LayerNorm',
  },
  headNames: robertaHead,
  ignoredTensors: /^(embeddings\.position_ids$|lm_head\.|pooler\.dense\.(weight|bias|weight_scale)$)/,
  describe: describeBertLike('mpnet', {
    padPosition: 1,
    defaultPad: 1,
    positionBuckets: 32,
    hasTokenTypes: false,
    dropsPoolerInput: true,
  }),
  configKeys: bertConfigKeys,
};

const electra: Architecture = {
  modelType: 'electra',
  prefix: 'electra.',
  ...classNames('Electra', ['ForPreTraining', 'ForMaskedLM', 'ForCausalLM']),
  tensorNames: bertTensors,
  headNames: robertaHead,
  ignoredTensors: /^(embeddings\.position_ids$|discriminator_predictions\.|generator_predictions\.|generator_lm_head\.)/,
  describe: describeBertLike('electra', { poolerActivation: 'gelu', dropsPoolerInput: true }),
  configKeys: (description) => ({ ...bertConfigKeys(description), embedding_size: description.hidden }),
};

const distilbert: Architecture = {
  modelType: 'distilbert',
  prefix: 'distilbert.',
  ...classNames('DistilBert', ['ForMaskedLM']),
  tensorNames: {
    'embeddings.word': 'embeddings.word_embeddings.weight',
    'embeddings.position': 'embeddings.position_embeddings.weight',
    'embeddings.norm': 'embeddings.LayerNorm',
    'layers.N.attention.query': 'transformer.layer.N.attention.q_lin',
    'layers.N.attention.key': 'transformer.layer.N.attention.k_lin',
    'layers.N.attention.value': 'transformer.layer.N.attention.v_lin',
    'layers.N.attention.output': 'transformer.layer.N.attention.out_lin',
    'layers.N.attention.norm': 'transformer.layer.N.sa_layer_norm',
    'layers.N.intermediate': 'transformer.layer.N.ffn.lin1',
    'layers.N.output': 'transformer.layer.N.ffn.lin2',
    'layers.N.output.norm': 'transformer.layer.N.output_layer_norm',
  },
  headNames: {
    sequence: { pooler: 'pre_classifier', classifier: 'classifier' },
    token: { classifier: 'classifier' },
  },
  ignoredTensors: /^(embeddings\.position_ids$|vocab_(transform|layer_norm|projector)\.)/,
  describe: (config, file) => {
    const read = checkOptions(distilbertConfig, config, file, 'BAD_CHECKPOINT');
    expectValue(file, 'activation', read.activation, 'gelu');
    checkHeads(file, ['dim', read.dim], ['n_heads', read.n_heads]);
    return {
      architecture: 'distilbert',
      layers: read.n_layers,
      hidden: read.dim,
      heads: read.n_heads,
      headSize: read.dim / read.n_heads,
      intermediate: read.hidden_dim,
      vocabulary: read.vocab_size,
      positions: read.max_position_embeddings,
      positionOffset: 0,
      positionBuckets: 0,
      tokenTypes: 0,
      activation: 'gelu',
      normPlacement: 'post',
      normEpsilon: 1e-12,
      poolerActivation: 'relu',
      dropsPoolerInput: false,
      hiddenDropout: read.dropout,
      attentionDropout: read.attention_dropout,
      headDropout: { sequence: read.seq_classif_dropout, token: read.dropout },
      padTokenId: read.pad_token_id ?? 0,
    };
  },
  configKeys: (description) => ({
    n_layers: description.layers,
    dim: description.hidden,
    n_heads: description.heads,
    hidden_dim: description.intermediate,
    vocab_size: description.vocabulary,
    max_position_embeddings: description.positions,
    activation: description.activation,
    dropout: description.hiddenDropout,
    attention_dropout: description.attentionDropout,
    pad_token_id: description.padTokenId,
  }),
};

export const rows: readonly Architecture[] = [bert, mpnet, roberta, xlmRoberta, distilbert, electra];
