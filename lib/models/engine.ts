/** The inference engine: a checkpoint with packed weights that runs ragged batches off the JavaScript thread. */
import { withAbortCell } from '../../bindings/abort.js';
import { native } from '../../bindings/load.js';
import type { EngineHandle, EngineInfo, EngineOutput, EngineSpec, Precision } from '../../bindings/native.js';
import type { RaggedBatch } from '../data/batch.js';
import type { Checkpoint } from './checkpoint.js';
import { chooseDevice } from './device.js';
import type { TaskSettings } from './task-settings.js';
import { headKind, type ModelDescription, type TaskHead } from './description.js';
import { relativePositionBuckets } from './relative-positions.js';

export interface EngineOptions {
  /**
   * `auto`: int8 for checkpoints quantized with dynamic activations, float32 for all others, so that a model gives the
   * same answers on every machine. `int8` for a floating point checkpoint quantizes its encoder layers while loading.
   * `bfloat16` needs a CPU that multiplies bf16 (AVX-512 BF16 or AMX), or a GPU.
   */
  precision?: 'auto' | Precision;
  /** As `chooseDevice` has it: `cpu`, `auto`, `cuda`, `cuda:N`, `cuda:0,cuda:1`; WHITTLE_DEVICE or `cpu` if absent. */
  device?: string | undefined;
  signal?: AbortSignal | undefined;
}

export interface RunOptions {
  output: EngineOutput;
  /** At most; 0, the default, is the machine's. Results do not depend on it, nor on what else is in the batch. */
  threads?: number;
  signal?: AbortSignal | undefined;
  onProgress?: (doneSequences: number, totalSequences: number) => void;
}

/** What the native engine calls the kinds of heads. */
const nativeHeads = { sequence: 'text-classification', token: 'token-classification', none: 'none' } as const;

/**
 * A checkpoint ready to run. Engines of one process (worker threads too) that load the same files at the same
 * precision share the packed weights.
 *
 * @example
 * await using engine = await Engine.load(await openCheckpoint('models/minilm-l6'), { precision: 'int8' });
 * const hidden = await engine.run(raggedBatch(examples), { output: 'hidden' }); // [tokens, 384]
 */
export class Engine implements AsyncDisposable {
  readonly description: ModelDescription;
  readonly head: TaskHead | undefined;
  readonly settings: TaskSettings;
  readonly #handle: EngineHandle;

  private constructor(handle: EngineHandle, { description, head, settings }: Checkpoint) {
    this.#handle = handle;
    this.description = description;
    this.head = head;
    this.settings = settings;
  }

  /**
   * Loads and packs the weights.
   * @throws WhittleError UNSUPPORTED if this machine has not the device or cannot run the precision; DEVICE if a GPU has
   *   too little memory or does not answer; BAD_CHECKPOINT or IO if the weights
   *   cannot be read; ABORTED.
   */
  static async load(checkpoint: Checkpoint, options: EngineOptions = {}): Promise<Engine> {
    const spec = engineSpec(checkpoint, options.precision ?? 'auto', chooseDevice(options.device));
    const handle = await withAbortCell(options.signal, (abort) => native.engineLoad(spec, abort));
    return new Engine(handle, checkpoint);
  }

  /** Precision, device, ISA, bytes of the packed weights and how many engines share them. */
  get info(): EngineInfo {
    return native.engineInfo(this.#handle);
  }

  /**
   * Runs a ragged batch. `logits`: `[sequences, labels]` (text classification) or `[tokens, labels]`; `hidden`:
   * `[tokens, hidden]`, the last layer's states; `pooled`: `[sequences, hidden]`, the pooler's; `mean` and `first`:
   * `[sequences, hidden]`, the mean of a sequence's states, or its first token's.
   * @throws WhittleError BAD_OPTION for ids outside the vocabulary, empty or too long sequences, or an output that the
   *   model has not; DEVICE if a GPU was lost, or has no memory for a single sequence; ABORTED; DISPOSED.
   */
  async run(batch: Pick<RaggedBatch, 'inputIds' | 'tokenTypeIds' | 'offsets'>, options: RunOptions): Promise<Float32Array> {
    const { output, threads = 0, signal, onProgress } = options;
    return withAbortCell(signal, (abort) =>
      native.engineRun(this.#handle, batch.inputIds, batch.tokenTypeIds, batch.offsets, {
        output,
        threads,
        abort,
        ...(onProgress && { onProgress }),
      }),
    );
  }

  /** Waits for running work, then frees the weights unless another engine shares them. May be called twice. */
  dispose(): Promise<void> {
    return native.engineDispose(this.#handle);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }
}

/** What the native engine needs of a checkpoint. */
export function engineSpec(
  { description, head, quantization, tensors }: Checkpoint,
  precision: 'auto' | Precision,
  device: string,
): EngineSpec {
  return {
    layers: description.layers,
    hidden: description.hidden,
    heads: description.heads,
    intermediate: description.intermediate,
    vocabulary: description.vocabulary,
    positions: description.positions,
    positionOffset: description.positionOffset,
    tokenTypes: description.tokenTypes,
    ...positionBiasOf(description),
    normEpsilon: description.normEpsilon,
    poolerActivation: description.poolerActivation,
    task: nativeHeads[head ? headKind(head.task) : 'none'],
    labels: head?.labels.length ?? 0,
    precision: precision !== 'auto' ? precision : quantization === 'int8-dynamic' ? 'int8' : 'float32',
    device,
    parameters: Object.fromEntries(tensors),
  };
}

function positionBiasOf({ positions, positionOffset, positionBuckets }: ModelDescription) {
  if (positionBuckets === 0) return {};
  return {
    positionBiasRows: positionBuckets,
    positionBuckets: relativePositionBuckets(positions - positionOffset, positionBuckets),
  };
}
