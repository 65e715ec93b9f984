/** Texts to labels or entities: tokenizer, engine and decoding in one object. */
import { WhittleError } from '../../bindings/errors.js';
import type { EngineInfo } from '../../bindings/native.js';
import type { Example } from '../data/batch.js';
import type { RowEncodingOptions } from '../data/encode.js';
import { defaultStride } from '../data/windows.js';
import type { Task } from '../data/dataset.js';
import { loadTokenizer, type Tokenizer } from '../data/tokenizer/tokenizer.js';
import { openCheckpoint } from '../models/checkpoint.js';
import { defaultPooling, headKind, outputWidth, type ModelDescription, type TaskHead } from '../models/description.js';
import { chooseDevice } from '../models/device.js';
import { Engine } from '../models/engine.js';
import { thresholdsOf, type TaskSettings } from '../models/task-settings.js';
import { checkOptions } from '../options.js';
import { decoderOf, type DecodeOptions, type Decoder, type WindowOutput } from './decoders.js';
import { expectExamples, expectInputs } from './inputs.js';
import {
  predictorSchema,
  predictSchema,
  type CheckedOptions,
  type PredictOptions,
  type PredictorOptions,
} from './options.js';
import type { Input, Prediction } from './predictions.js';
import { InputPreparer, type AcceptedInput, type PreparedInput } from './prepare.js';
import { runBatches } from './run-batches.js';
import { runInWindows, type Inputs } from './windows.js';

/** What of an engine a predictor uses. */
export type PredictorEngine = Pick<Engine, 'run' | 'dispose' | 'info'> & {
  readonly description: Pick<ModelDescription, 'positions' | 'positionOffset'> &
    Partial<Pick<ModelDescription, 'hidden'>>;
  readonly head: TaskHead | undefined;
  readonly settings?: TaskSettings;
};

/** A stream collects so many batches before it sorts them by length. */
const batchesAWindow = 2;

/**
 * A checkpoint that predicts. Several predictors, in worker threads too, share the weights of one checkpoint.
 *
 * Offsets of entities are UTF-16 code units of the text as given, so that `text.slice(start, end)` is the entity.
 * Results depend neither on the number of threads nor on what else is predicted at the same time.
 *
 * @example
 * await using predictor = await Predictor.load('runs/quickstart/quantize');
 * const { label, score } = await predictor.predict('My card never arrived');
 * for await (const one of predictor.predictStream(['Top up?', 'Lost my PIN'])) console.log(one.label);
 */
export class Predictor<T extends Task = Task> implements AsyncDisposable {
  /** What the model does. */
  readonly task: T;
  /** Names of the classes; index is the class id. */
  readonly labels: readonly string[];
  /** Most tokens of a text. */
  readonly maxLength: number;
  readonly tokenizer: Tokenizer;
  readonly head: TaskHead;
  readonly #engine: PredictorEngine;
  readonly #options: CheckedOptions;
  readonly #longTexts: 'truncate' | 'windows' | 'error';
  readonly #stride: number;
  /** Numbers that the engine gives a sequence or a token. */
  readonly #width: number;
  readonly #decoder: Decoder;
  readonly #running = new Set<Promise<unknown>>();
  readonly #preparer: InputPreparer<T>;
  readonly #batchTokens: number;
  #disposal: Promise<void> | undefined;

  /** For engines that are loaded already; `Predictor.load` is the usual way. */
  constructor(engine: PredictorEngine, tokenizer: Tokenizer, options: PredictorOptions = {}, folder = 'the model') {
    this.#options = checkOptions(predictorSchema, options, 'predictor options');
    const { task, maxLength, longTexts, stride } = this.#options;
    const { description, settings = {} } = engine;
    const isEncoder = engine.head === undefined && task === 'embedding';
    const head = isEncoder ? { task, labels: [], pooling: defaultPooling } : engine.head;
    if (head === undefined) {
      throw new WhittleError(
        'UNSUPPORTED',
        `${folder}: expected a model with a head but found a bare encoder; fine-tune it first, or ask for the task 'embedding'`,
      );
    }
    if (task !== 'any' && head.task !== task) {
      throw new WhittleError(
        'BAD_OPTION',
        `${folder}: expected a model for ${task} but found one for ${head.task}; ask for it with the option task: '${head.task}'`,
      );
    }
    const longest = description.positions - description.positionOffset;
    if (maxLength !== undefined && maxLength > longest) {
      throw new WhittleError(
        'BAD_OPTION',
        `maxLength: expected at most ${longest}, the positions of ${folder}, but found ${maxLength}`,
      );
    }
    this.task = head.task as T;
    this.head = head;
    this.labels = head.labels;
    this.maxLength = maxLength ?? Math.min(settings.maxLength ?? longest, longest);
    this.tokenizer = tokenizer;
    this.#engine = engine;
    this.#batchTokens = this.#options.batchTokens ?? (engine.info.device === 'cpu' ? 4096 : 32768);
    this.#longTexts = longTexts ?? settings.longTexts ?? 'truncate';
    if (this.#longTexts === 'windows' && head.task === 'embedding')
      throw new WhittleError('BAD_OPTION', 'longTexts: expected truncate or error for embeddings but found "windows"');
    if (stride !== undefined && this.#longTexts !== 'windows')
      throw new WhittleError('BAD_OPTION', "stride: expected longTexts: 'windows' beside it but found none");
    const keptStride = this.maxLength === settings.maxLength ? settings.stride : undefined;
    this.#stride = stride ?? keptStride ?? defaultStride(this.maxLength);
    const { emptyText } = this.#options;
    this.#preparer = new InputPreparer({
      ...{ task: head.task, tokenizer, maxLength: this.maxLength },
      ...{ longTexts: this.#longTexts, stride: this.#stride, emptyText },
    });
    this.#width = outputWidth({ hidden: description.hidden ?? 0 }, head);
    this.#decoder = decoderOf(head, this.#width);
  }

  /**
   * Loads a checkpoint folder for text classification, or for the task that `options` name.
   *
   * @throws WhittleError `BAD_CHECKPOINT` for a folder that is none, `BAD_OPTION` for a model of another task,
   * `UNSUPPORTED` for a device or precision that this machine has not, `ABORTED`.
   * @example
   * const predictor = await Predictor.load('runs/ner/quantize', { task: 'token-classification', threads: 2 });
   */
  static async load(
    folder: string,
    options?: PredictorOptions & { task?: 'text-classification' | undefined },
  ): Promise<Predictor<'text-classification'>>;
  static async load<T extends Task>(folder: string, options: PredictorOptions & { task: T }): Promise<Predictor<T>>;
  static async load(folder: string, options: PredictorOptions & { task: 'any' }): Promise<Predictor>;
  static async load(folder: string, options?: PredictorOptions): Promise<Predictor>;
  static async load(folder: string, options: PredictorOptions = {}): Promise<Predictor> {
    const { device, precision, signal } = checkOptions(predictorSchema, options, 'predictor options');
    const chosen = chooseDevice(device);
    const checkpoint = await openCheckpoint(folder);
    const tokenizer = await loadTokenizer(folder, checkpoint.description);
    const engine = await Engine.load(checkpoint, { precision, device: chosen, signal });
    try {
      return new Predictor(engine, tokenizer, options, folder);
    } catch (error) {
      await engine.dispose();
      throw error;
    }
  }

  /** Precision, device, instruction set and bytes of the packed weights. */
  get info(): EngineInfo {
    this.#expectOpen();
    return this.#engine.info;
  }

  /** `[labels]` the probability from which each of several labels is given. */
  get thresholds(): readonly number[] {
    const { threshold } = this.#options;
    return thresholdsOf(threshold === undefined ? (this.#engine.settings ?? {}) : { threshold }, this.labels.length);
  }

  /** How rows are encoded for this model. */
  get encoding(): Pick<RowEncodingOptions, 'tokenizer' | 'maxLength' | 'longTexts' | 'stride'> {
    return {
      tokenizer: this.tokenizer,
      maxLength: this.maxLength,
      longTexts: this.#longTexts === 'windows' ? 'windows' : 'truncate',
      stride: this.#stride,
    };
  }

  /** How many texts so far had more than `maxLength` tokens and lost the rest. */
  get truncatedTexts(): number {
    return this.#preparer.truncated;
  }

  /**
   * The prediction for a text, or those for an array of them, in order.
   *
   * @param inputs texts; `{ text, textPair }` for pairs; for entities also `{ tokens }`, words split before.
   * @throws WhittleError `BAD_DATA` naming the index of an input that is no text or (by default) empty; `ABORTED`;
   * `DISPOSED`.
   * @example
   * await using predictor = await Predictor.load('runs/quickstart/quantize');
   * const { label, scores } = await predictor.predict('Where is my card?', { allScores: true, threshold: 0.5 });
   */
  predict<I extends Input<T>, const O extends PredictOptions>(
    inputs: readonly I[],
    options?: O,
  ): Promise<Prediction<T, I, O>[]>;
  predict<I extends Input<T>, const O extends PredictOptions>(input: I, options?: O): Promise<Prediction<T, I, O>>;
  async predict(inputs: Input<T> | readonly Input<T>[], options: PredictOptions = {}): Promise<unknown> {
    this.#expectOpen();
    const { signal, ...decoding } = this.#checkPredictOptions(options);
    const isMany = Array.isArray(inputs);
    const all = isMany ? (inputs as readonly Input<T>[]) : [inputs as Input<T>];
    const results = await this.#track(this.#collect(all, decoding, signal));
    return isMany ? results : results[0];
  }

  /**
   * The predictions for a stream of any length, in order, at flat memory: as many inputs are read ahead as make a few
   * batches. Reading, tokenizing and the engine's work overlap. Stopping early closes the source.
   *
   * @throws as `predict`; inputs before a bad one are still predicted.
   * @example
   * async function* texts() {
   *   for await (const { row } of readRows('examples/quickstart/data/test.jsonl', 'text-classification')) yield row.text;
   * }
   * await using predictor = await Predictor.load('runs/quickstart/quantize');
   * for await (const { label, score } of predictor.predictStream(texts())) console.log(label, score);
   */
  predictStream<I extends Input<T>, const O extends PredictOptions>(
    inputs: Inputs<I>,
    options?: O,
  ): AsyncGenerator<Prediction<T, I, O>, void, undefined>;
  async *predictStream(
    inputs: Inputs<Input<T>>,
    options: PredictOptions = {},
  ): AsyncGenerator<unknown, void, undefined> {
    this.#expectOpen();
    const { signal, ...decoding } = this.#checkPredictOptions(options);
    expectInputs(inputs);
    for await (const window of this.#windows(inputs, decoding, signal, true))
      for (const prediction of window) yield prediction;
  }

  /**
   * What the model gives for tokenized examples, in their order, for teachers and scores.
   *
   * @returns one array an example: `[labels]`, `[tokens, labels]` (token classification) or `[hidden]` (embeddings, not
   * scaled to length 1).
   * @throws WhittleError `BAD_OPTION` for an example without tokens, with more than `maxLength` of them or with ids
   * outside the vocabulary; `ABORTED`; `DISPOSED`.
   */
  async predictOutputs(
    examples: readonly Example[],
    options: {
      signal?: AbortSignal | undefined;
      onProgress?: ((done: number, total: number) => void) | undefined;
    } = {},
  ): Promise<Float32Array[]> {
    this.#expectOpen();
    expectExamples(examples);
    return this.#track(this.#computeOutputs(examples, options));
  }

  /** Waits for running predictions, then frees the weights. May be called twice; other calls then fail with `DISPOSED`. */
  dispose(): Promise<void> {
    this.#disposal ??= (async () => {
      await Promise.allSettled([...this.#running]);
      await this.#engine.dispose();
    })();
    return this.#disposal;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  #expectOpen(): void {
    if (this.#disposal) throw new WhittleError('DISPOSED', 'The predictor was used after dispose()');
  }

  #checkPredictOptions(options: PredictOptions): DecodeOptions & { signal: AbortSignal | undefined } {
    const { allScores, threshold, signal } = checkOptions(predictSchema, options, 'predict options');
    const hasScores = this.task === 'text-classification' || this.task === 'multi-label-classification';
    if (allScores && !hasScores)
      throw new WhittleError('BAD_OPTION', `allScores: expected a model of classes but found one for ${this.task}`);
    return {
      allScores,
      threshold: threshold ?? this.#options.threshold ?? 0,
      thresholds: threshold === undefined ? this.thresholds : thresholdsOf({ threshold }, this.labels.length),
      signal,
    };
  }

  async #track<R>(work: Promise<R>): Promise<R> {
    this.#running.add(work);
    try {
      return await work;
    } finally {
      this.#running.delete(work);
    }
  }

  async #collect(inputs: readonly Input<T>[], decoding: DecodeOptions, signal?: AbortSignal): Promise<unknown[]> {
    const results: unknown[] = [];
    for await (const window of this.#windows(inputs, decoding, signal, false))
      for (const prediction of window) results.push(prediction);
    return results;
  }

  /** @param isStream It has no end of its own to wait for: what runs is finished, but nothing new is begun. */
  #windows(inputs: Inputs<Input<T>>, decoding: DecodeOptions, signal: AbortSignal | undefined, isStream: boolean) {
    return runInWindows<Input<T>, AcceptedInput<T>, PreparedInput<T>, unknown>(inputs, {
      accept: (input, index) => {
        if (isStream) this.#expectOpen();
        return this.#preparer.accept(input, index);
      },
      size: ({ size }) => size,
      prepare: (accepted, stop) => this.#preparer.prepare(accepted, stop),
      run: async (window, stop) => {
        if (isStream) this.#expectOpen();
        return this.#track(this.#runWindow(window, decoding, stop));
      },
      windowTokens: batchesAWindow * this.#batchTokens,
      signal,
    });
  }

  /** Runs a window of the stream; gives its predictions, in its order. */
  async #runWindow(
    window: readonly PreparedInput<T>[],
    decoding: DecodeOptions,
    signal: AbortSignal,
  ): Promise<() => Promise<unknown[]>> {
    const results: unknown[] = window.map(({ input, encoding }) =>
      encoding ? undefined : this.#decoder.abstain(input, decoding),
    );
    const pieces = window.flatMap(({ windows }, index) => windows.map((piece) => ({ index, piece })));
    const found = window.map((): WindowOutput[] => []);
    const takeLast = await this.#runBatches(
      pieces.map(({ piece }) => piece),
      signal,
      (at, values) => {
        const { index, piece } = pieces[at]!;
        const outputs = found[index]!;
        const { input, encoding, windows } = window[index]!;
        outputs.push({ values, wordIds: piece.wordIds });
        if (outputs.length < windows.length) return;
        results[index] = this.#decoder.decode(input, encoding!, outputs, decoding);
        outputs.length = 0;
      },
    );
    return async () => {
      await takeLast();
      return results;
    };
  }

  async #computeOutputs(
    examples: readonly Example[],
    {
      signal,
      onProgress,
    }: { signal?: AbortSignal | undefined; onProgress?: ((done: number, total: number) => void) | undefined },
  ): Promise<Float32Array[]> {
    const result = new Array<Float32Array>(examples.length);
    let done = 0;
    const takeLast = await this.#runBatches(examples, signal, (index, output) => {
      result[index] = output.slice();
      onProgress?.(++done, examples.length);
    });
    await takeLast();
    return result;
  }

  /** What `runBatches` gives, on this engine. */
  #runBatches(
    examples: readonly Pick<Example, 'inputIds' | 'tokenTypeIds'>[],
    signal: AbortSignal | undefined,
    take: (index: number, output: Float32Array) => void,
  ): Promise<() => Promise<void>> {
    const { threads } = this.#options;
    const output = headKind(this.task) === 'none' ? this.head.pooling!.of : 'logits';
    return runBatches(examples, {
      run: (batch) => this.#engine.run(batch, { output, threads, signal }),
      batchTokens: this.#batchTokens,
      depth: this.#engine.info.device === 'cpu' ? 1 : 2,
      width: this.#width,
      perToken: headKind(this.task) === 'token',
      take,
    });
  }
}
