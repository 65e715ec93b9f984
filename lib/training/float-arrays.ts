/** Memory of what training keeps for each parameter. */
import { native } from '../../bindings/load.js';

/** Floats in a cache line, at which every array begins. */
const line = 16;

/**
 * Arrays with arbitrary content, in one allocation: large enough for huge pages, also where each array alone is not. A
 * pass over all of them then waits less for the translation of addresses.
 */
export function floatArrays(lengths: readonly number[]): Float32Array[] {
  const whole = (length: number) => Math.ceil(length / line) * line;
  const total = lengths.reduce((sum, length) => sum + whole(length), 0);
  if (total === 0) return lengths.map(() => new Float32Array(0));
  const block = native.allocateFloats(total);
  let at = 0;
  return lengths.map((length) => {
    const array = block.subarray(at, at + length);
    at += whole(length);
    return array;
  });
}
