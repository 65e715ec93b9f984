/** Inputs of a predictor made ready for the engine: checked one by one, tokenized a window at a time. */
import { WhittleError } from '../../bindings/errors.js';
import type { Task } from '../data/dataset.js';
import { encodingOf } from '../data/tokenizer/encoded-batch.js';
import type { Encoding, Tokenizer } from '../data/tokenizer/tokenizer.js';
import { cutWindows, type TokenWindow } from '../data/windows.js';
import { findInputProblem } from './inputs.js';
import type { Input } from './predictions.js';

/** An input that has been checked. */
export interface AcceptedInput<T extends Task = Task> {
  input: Input<T>;
  /** How it is called in errors. */
  index: number;
  /** It holds no text and is abstained on. */
  isEmpty: boolean;
  /** Tokens that it will have, about. */
  size: number;
}

/** An input on its way: `encoding` is absent for an empty text that is abstained on. */
export interface PreparedInput<T extends Task = Task> {
  input: Input<T>;
  encoding: Encoding | undefined;
  /** One, or several of a long text. */
  windows: readonly TokenWindow[];
}

export interface PreparerOptions {
  task: Task;
  tokenizer: Tokenizer;
  maxLength: number;
  longTexts: 'truncate' | 'windows' | 'error';
  stride: number;
  emptyText: 'error' | 'abstain';
}

/** So few are tokenized sooner than another thread is woken: a single text need not wait. */
const tokensAtOnce = 512;

export class InputPreparer<T extends Task> {
  /** How many texts so far had more than `maxLength` tokens and lost the rest. */
  truncated = 0;

  constructor(private readonly options: PreparerOptions) {}

  /** @throws WhittleError `BAD_DATA` for what is no input, `UNSUPPORTED` for a text without a way to tell places in it. */
  accept(input: Input<T>, index: number): AcceptedInput<T> {
    const { task, tokenizer, emptyText } = this.options;
    const problem = findInputProblem(input, task, `input ${index}`);
    if (problem && !(problem.empty && emptyText === 'abstain')) throw problem.error;
    if (typeof input === 'string' && task === 'token-classification' && !tokenizer.hasOffsets)
      throw new WhittleError(
        'UNSUPPORTED',
        'Expected { tokens }, words split before, since the tokenizer of this model tells no offsets, but found a text',
      );
    return { input, index, isEmpty: problem !== undefined, size: sizeOf(input) };
  }

  /** Inputs in their order, up to one that cannot be run; `failure` says why. */
  async prepare(
    accepted: readonly AcceptedInput<T>[],
    signal: AbortSignal,
  ): Promise<{ items: PreparedInput<T>[]; failure?: { error: unknown } }> {
    const { task, tokenizer, longTexts } = this.options;
    const encodings = new Map<AcceptedInput<T>, Encoding | WhittleError>();
    // In windows of a text nothing is cut off, so such texts are tokenized whole.
    for (const whole of [false, true]) {
      const inputs = accepted.filter((one) => !one.isEmpty && isWhole(one.input, longTexts) === whole);
      if (inputs.length === 0) continue;
      const texts = inputs.map(({ input }) => input);
      const options = {
        maxLength: whole ? Infinity : this.options.maxLength,
        words: whole || task === 'token-classification',
        places: task === 'token-classification',
      };
      const size = inputs.reduce((sum, one) => sum + one.size, 0);
      const batch =
        size <= tokensAtOnce
          ? tokenizer.encodeBatch(texts, options)
          : await tokenizer.encodeBatchAsync(texts, { ...options, signal });
      inputs.forEach((one, row) => encodings.set(one, batch.emptied?.get(row) ?? encodingOf(batch, row)));
    }
    const items: PreparedInput<T>[] = [];
    for (const one of accepted) {
      try {
        items.push(this.#prepareOne(one, encodings.get(one)));
      } catch (error) {
        return { items, failure: { error } };
      }
    }
    return { items };
  }

  #prepareOne({ input, index }: AcceptedInput<T>, encoding: Encoding | WhittleError | undefined): PreparedInput<T> {
    const { maxLength, longTexts, stride, emptyText } = this.options;
    if (encoding instanceof WhittleError && emptyText === 'error')
      throw new WhittleError('BAD_DATA', `input ${index}: ${encoding.message}`, { cause: encoding });
    if (encoding === undefined || encoding instanceof WhittleError) return { input, encoding: undefined, windows: [] };
    if (isWhole(input, longTexts)) return { input, encoding, windows: cutWindows(encoding, maxLength, stride) };
    if (encoding.truncated) {
      this.truncated++;
      if (longTexts === 'error')
        throw new WhittleError('BAD_DATA', `input ${index}: expected at most ${maxLength} tokens but found more`);
    }
    return { input, encoding, windows: [encoding] };
  }
}

/** Whether an input is read in windows. Pairs are cut in place of that. */
function isWhole(input: Input, longTexts: PreparerOptions['longTexts']): boolean {
  return longTexts === 'windows' && !(typeof input === 'object' && 'textPair' in input && input.textPair !== undefined);
}

/** Special tokens, and a token for every four letters. */
function sizeOf(input: Input): number {
  if (typeof input === 'string') return 2 + input.length / 4;
  if ('tokens' in input) return input.tokens.reduce((sum, word) => sum + 1 + word.length / 4, 2);
  const second = 'textPair' in input ? (input.textPair?.length ?? 0) : 0;
  return 3 + (input.text.length + second) / 4;
}
