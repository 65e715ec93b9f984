/** Which rows each training step takes: a pure function of the seed, the stage and the step. */
import { raggedBatch } from '../data/batch.js';
import type { Examples } from '../data/examples.js';
import type { TrainingBatch } from './objective.js';
import { generator, shuffledIndices } from './random.js';

export interface DataOrderOptions {
  seed: number;
  /** 0-based; each stage shuffles in its own way. */
  stage: number;
  /** Sequences a batch. */
  batchSize: number;
  /** Batches a step; the last step of an epoch takes what is left. */
  batchesPerStep: number;
  /** Batches of rows of similar length. */
  groupByLength?: boolean;
  /** Examples one after the other that stay together and count as one sequence: the texts of pairs. 1 by default. */
  together?: number;
}

/** Rows are sorted by length within runs of this many batches, so that batches still differ from epoch to epoch. */
const batchesSorted = 50;

export class DataOrder {
  readonly batchesPerEpoch: number;
  readonly stepsPerEpoch: number;
  readonly #examples: Examples;
  readonly #options: DataOrderOptions;
  /** The rows of the epoch that is running. */
  #epoch: { number: number; batches: Int32Array[] } = { number: -1, batches: [] };

  /** Tokens of each row, or of all that stay together, once they were asked for. */
  #lengths: Int32Array | undefined;

  constructor(examples: Examples, options: DataOrderOptions) {
    this.#examples = examples;
    this.#options = options;
    this.batchesPerEpoch = Math.ceil(examples.length / (options.together ?? 1) / options.batchSize);
    this.stepsPerEpoch = Math.ceil(this.batchesPerEpoch / options.batchesPerStep);
  }

  /**
   * The batches of a 0-based step of the stage.
   * @param copies how often a batch holds each of its sequences: all of them once, then all of them again, ...
   */
  batches(step: number, copies = 1): TrainingBatch[] {
    const { batchesPerStep } = this.#options;
    const batches = this.#batchesOf(Math.floor(step / this.stepsPerEpoch));
    const first = (step % this.stepsPerEpoch) * batchesPerStep;
    return batches.slice(first, first + batchesPerStep).map((rows) => {
      const indices =
        copies === 1 ? rows : Int32Array.from({ length: copies * rows.length }, (_, at) => rows[at % rows.length]!);
      return { ...raggedBatch(Array.from(indices, (index) => this.#examples.at(index)!)), indices };
    });
  }

  #batchesOf(epoch: number): Int32Array[] {
    if (this.#epoch.number !== epoch) {
      const { seed, stage, batchSize, groupByLength, together = 1 } = this.#options;
      const random = generator(seed, 0x5417, stage, epoch);
      const order = shuffledIndices(this.#examples.length / together, random);
      if (groupByLength) this.#sortRuns(order);
      let batches = Array.from({ length: this.batchesPerEpoch }, (_, at) =>
        withNeighbors(order.subarray(at * batchSize, (at + 1) * batchSize), together),
      );
      if (groupByLength) {
        // The last batch may be a small one and stays last.
        const whole = shuffledIndices(batches.length - 1, random);
        batches = [...Array.from(whole, (at) => batches[at]!), batches.at(-1)!];
      }
      this.#epoch = { number: epoch, batches };
    }
    return this.#epoch.batches;
  }

  /** Sorts each run of some batches by length, longest first; rows of equal length stay in their random order. */
  #sortRuns(order: Int32Array): void {
    const lengths = (this.#lengths ??= this.#countTokens());
    const run = batchesSorted * this.#options.batchSize;
    for (let start = 0; start < order.length; start += run)
      order.subarray(start, start + run).sort((a, b) => lengths[b]! - lengths[a]!);
  }

  #countTokens(): Int32Array {
    const { together = 1 } = this.#options;
    const lengths = new Int32Array(this.#examples.length / together);
    let index = 0;
    for (const { inputIds } of this.#examples) lengths[Math.floor(index++ / together)]! += inputIds.length;
    return lengths;
  }
}

/** Numbers of groups as the numbers of all their examples. */
function withNeighbors(groups: Int32Array, together: number): Int32Array {
  if (together === 1) return groups;
  return Int32Array.from({ length: together * groups.length }, (_, at) => {
    const group = groups[Math.floor(at / together)]!;
    return group * together + (at % together);
  });
}
