/** Which row of a relative position bias a pair of tokens has. */

/** Distances from here on share the last bucket of their side (T5 and MPNet alike). */
const farthest = 128;

/**
 * The bucket of each distance of a key from its query: entry `reach - 1 + (key - query)`, `[2 * reach - 1]`, for sequences
 * of up to `reach` tokens. Half of the buckets are for keys behind the query; of each half, half are for one distance
 * each and the others grow with the logarithm of the distance.
 *
 * Raffel et al. 2020 (T5), section 2.1; MPNet has the same.
 *
 * @example
 * relativePositionBuckets(3, 32); // [2, 1, 0, 17, 18]
 */
export function relativePositionBuckets(reach: number, buckets: number): Int32Array {
  const half = buckets / 2;
  const exact = half / 2;
  const bucketOf = (distance: number): number => {
    if (distance < exact) return distance;
    // In float32, as PyTorch computes it: at powers of 2 the last bit decides.
    const log = Math.fround(Math.log(Math.fround(distance / exact)));
    const share = Math.fround(log / Math.fround(Math.log(farthest / exact)));
    return Math.min(half - 1, exact + Math.trunc(Math.fround(share * (half - exact))));
  };
  const result = new Int32Array(2 * reach - 1);
  for (let distance = 0; distance < reach; distance++) {
    const bucket = bucketOf(distance);
    result[reach - 1 - distance] = bucket;
    if (distance > 0) result[reach - 1 + distance] = half + bucket;
  }
  return result;
}
