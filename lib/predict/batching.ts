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

/**
 * The budget with which `planBatches` makes batches of about equal size, as few as with `budget`: a small last batch
 * keeps threads waiting for each other as long as a large one.
 *
 * @param lengths `[sequences]` tokens of each.
 * @example
 * evenBudget([4, 4, 4, 4, 4], 16); // 14: batches of 12 and 8 tokens, not of 16 and 4
 */
export function evenBudget(lengths: readonly number[], budget: number): number {
  let [total, longest] = [0, 0];
  for (const length of lengths) {
    total += length;
    longest = Math.max(longest, length);
  }
  return Math.min(budget, Math.ceil(total / Math.ceil(total / budget)) + longest) || budget;
}
