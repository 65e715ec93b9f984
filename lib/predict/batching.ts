/** Which sequences run together: sorted by length, cut to a token budget, results put back in order. */

/**
 * Batches of sequence indices: the longest sequences first, each batch at most `budget` tokens, or one sequence if that
 * alone has more. Every index is in exactly one batch.
 *
 * @param lengths `[sequences]` tokens of each.
 * @example
 * planBatches([5, 100, 7], 110); // [[1, 2], [0]]
 */
export function planBatches(lengths: readonly number[], budget: number): number[][] {
  const order = lengths.map((_, index) => index).sort((a, b) => lengths[b]! - lengths[a]! || a - b);
  const batches: number[][] = [];
  let room = 0;
  for (const index of order) {
    const length = lengths[index]!;
    if (batches.length === 0 || length > room) {
      batches.push([]);
      room = budget;
    }
    batches.at(-1)!.push(index);
    room -= length;
  }
  return batches;
}
