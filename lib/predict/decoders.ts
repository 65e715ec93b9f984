/** From a model's outputs to predictions, one decoder a task. */
import { WhittleError } from '../../bindings/errors.js';
import type { Task } from '../data/dataset.js';
import type { Encoding } from '../data/tokenizer/tokenizer.js';
import type { TaskHead } from '../models/description.js';
import { decodeClass, decodeTags, decodeText, decodeWords, sigmoid, type WordTags } from './decode.js';
import { meanOutput } from './merge.js';
import type { Input, MultiLabelPrediction, RegressionPrediction } from './predictions.js';

export interface DecodeOptions {
  /** Of classes and entities; of several labels one for each. */
  threshold: number;
  thresholds: readonly number[];
  allScores: boolean;
}

/** What the model gave for one window of an input; for a short one there is a single window. */
export interface WindowOutput {
  /** `[labels]`, `[tokens, labels]` or `[hidden]`; a view of a batch's output. */
  values: Float32Array;
  /** `[tokens]` as `cutWindows` has them. */
  wordIds: Int32Array;
}

export interface Decoder {
  /** @param encoding of the whole input. */
  decode: (input: Input, encoding: Encoding, windows: readonly WindowOutput[], options: DecodeOptions) => unknown;
  /** What an empty input gets. */
  abstain: (input: Input, options: DecodeOptions) => unknown;
}

/** @throws WhittleError `BAD_CHECKPOINT`, when decoding, if an output is NaN or infinite. */
export function decoderOf(head: TaskHead, hidden: number): Decoder {
  const makers: Record<Task, (head: TaskHead, hidden: number) => Decoder> = {
    'text-classification': classDecoder,
    'multi-label-classification': labelsDecoder,
    regression: () => numberDecoder,
    'token-classification': entityDecoder,
    embedding: vectorDecoder,
  };
  return makers[head.task](head, hidden);
}

function classDecoder({ labels }: TaskHead): Decoder {
  return {
    decode: (_input, _encoding, windows, options) => decodeClass(merged(windows), labels, options),
    abstain: (_input, { allScores }) => ({
      label: null,
      score: 0,
      ...(allScores && { scores: Object.fromEntries(labels.map((label) => [label, 0])) }),
    }),
  };
}

function labelsDecoder({ labels }: TaskHead): Decoder {
  return {
    decode: (_input, _encoding, windows, { thresholds, allScores }): MultiLabelPrediction => {
      const logits = merged(windows);
      const scores = labels.map((label, id): [string, number] => [label, sigmoid(logits[id]!)]);
      const given = scores.filter(([, score], id) => score >= thresholds[id]!);
      return { labels: given.map(([label]) => label), scores: Object.fromEntries(allScores ? scores : given) };
    },
    abstain: (_input, { allScores }): MultiLabelPrediction => ({
      labels: [],
      scores: Object.fromEntries(allScores ? labels.map((label) => [label, 0]) : []),
    }),
  };
}

const numberDecoder: Decoder = {
  decode: (_input, _encoding, windows): RegressionPrediction => ({ score: merged(windows)[0]! }),
  abstain: (): RegressionPrediction => ({ score: NaN }),
};

function entityDecoder({ labels }: TaskHead): Decoder {
  return {
    decode: (input, encoding, windows, { threshold }) => {
      const isWords = typeof input !== 'string' && 'tokens' in input;
      const words = isWords
        ? input.tokens.length
        : encoding.wordIds.reduce((most, word) => Math.max(most, word + 1), 0);
      let tags: WordTags | undefined;
      for (const { values, wordIds } of windows) tags = decodeTags(values, wordIds, words, labels, tags);
      return isWords
        ? decodeWords(input.tokens, tags!, threshold)
        : decodeText(input as string, encoding, tags!, threshold);
    },
    abstain: (input) =>
      typeof input !== 'string' && 'tokens' in input ? { entities: [], tags: [] } : { entities: [] },
  };
}

function vectorDecoder({ pooling }: TaskHead, hidden: number): Decoder {
  return {
    decode: (_input, _encoding, windows) => {
      const vector = merged(windows).slice();
      if (!pooling?.normalize) return vector;
      const length = Math.sqrt(vector.reduce((sum, value) => sum + value * value, 0));
      return length === 0 ? vector : vector.map((value) => value / length);
    },
    abstain: () => new Float32Array(hidden),
  };
}

/** The mean of the windows' outputs. */
function merged(windows: readonly WindowOutput[]): Float32Array {
  const output = windows.length === 1 ? windows[0]!.values : meanOutput(windows.map(({ values }) => values));
  // A loop: this is done for every text, and a callback for every number would cost more than all else here.
  for (const value of output) {
    if (!Number.isFinite(value)) {
      throw new WhittleError(
        'BAD_CHECKPOINT',
        'expected finite logits but the model gave NaN or infinity: its weights are damaged',
      );
    }
  }
  return output;
}
