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
}

export class DataOrder {
  readonly batchesPerEpoch: number;
  readonly stepsPerEpoch: number;
  readonly #examples: Examples;
  readonly #options: DataOrderOptions;
  /** The rows of the epoch that is running. */
  #epoch: { number: number; batches: Int32Array[] } = { number: -1, batches: [] };

  constructor(examples: Examples, options: DataOrderOptions) {
    this.#examples = examples;
    this.#options = options;
    this.batchesPerEpoch = Math.ceil(examples.length / options.batchSize);
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
      const { seed, stage, batchSize } = this.#options;
      const order = shuffledIndices(this.#examples.length, generator(seed, 0x5417, stage, epoch));
      const batches = Array.from({ length: this.batchesPerEpoch }, (_, at) =>
        order.subarray(at * batchSize, (at + 1) * batchSize),
      );
      this.#epoch = { number: epoch, batches };
    }
    return this.#epoch.batches;
  }
}
