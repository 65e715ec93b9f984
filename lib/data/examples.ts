/** Examples by number: an array of them, or what lies on the disk because it is larger than memory. */
import type { Example } from './batch.js';

export interface Examples extends Iterable<Example> {
  readonly length: number;
  at(index: number): Example | undefined;
  /** Those from `start` up to and without `end`. */
  slice(start: number, end: number): Example[];
  /** Every token id that occurs, where that is known beforehand: examples on the disk, which were checked as well. */
  readonly vocabulary?: Int32Array;
}

/** Arrays of ids that have every id of `examples` among them. */
export function* idsOf(examples: Examples): Generator<Int32Array, void, undefined> {
  if (examples.vocabulary) yield examples.vocabulary;
  else for (const { inputIds } of examples) yield inputIds;
}
