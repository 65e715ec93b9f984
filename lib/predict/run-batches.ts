/** Examples through the engine, batch by batch. */
import { raggedBatch, type Example, type RaggedBatch } from '../data/batch.js';
import { evenBudget, planBatches } from './batching.js';

export interface BatchWork {
  /** Gives numbers of a batch: `width` a token or a sequence. */
  run: (batch: RaggedBatch) => Promise<Float32Array>;
  /** Tokens of a batch, about. */
  batchTokens: number;
  /**
   * Batches that run at a time. A GPU wants two: while it computes one, the other's ids come and the results of the one
   * before go. A CPU wants one, with all threads.
   */
  depth: number;
  width: number;
  perToken: boolean;
  /** Gets each example's output, a view. */
  take: (index: number, output: Float32Array) => void;
}

/**
 * Runs examples in batches of similar length. While a batch runs the one before is taken; the last one, and with a
 * depth of two the last that runs, is left to the caller, who may have something else to run by then.
 *
 * @returns waits for what still runs, and takes it.
 * @throws what `run` and `take` throw.
 * @example
 * const takeLast = await runBatches(examples, { run, batchTokens: 4096, depth: 1, width: 2, perToken: false, take });
 * await takeLast();
 */
export async function runBatches(
  examples: readonly Pick<Example, 'inputIds' | 'tokenTypeIds'>[],
  { run, batchTokens, depth, width, perToken, take }: BatchWork,
): Promise<() => Promise<void>> {
  const lengths = examples.map(({ inputIds }) => inputIds.length);
  const started: { indices: number[]; offsets: Int32Array; outputs: Promise<Float32Array> }[] = [];
  let takeDone = () => {};
  const takeOnce = () => {
    const takeNow = takeDone;
    takeDone = () => {};
    takeNow();
  };
  const finishOldest = async () => {
    const { indices, offsets, outputs } = started.shift()!;
    const values = await outputs;
    takeDone = () =>
      indices.forEach((index, row) => {
        const [from, to] = perToken ? [offsets[row]!, offsets[row + 1]!] : [row, row + 1];
        take(index, values.subarray(from * width, to * width));
      });
  };
  for (const indices of planBatches(lengths, evenBudget(lengths, batchTokens))) {
    const batch = raggedBatch(indices.map((index) => examples[index]!));
    const outputs = run(batch);
    outputs.catch(() => undefined); // met below, unless something throws first
    started.push({ indices, offsets: batch.offsets, outputs });
    takeOnce();
    if (started.length >= depth) await finishOldest();
  }
  return async () => {
    takeOnce();
    while (started.length > 0) {
      await finishOldest();
      takeOnce();
    }
  };
}
