/** Seeded generators. Every use has its own stream, named by numbers, so that a resumed run draws the same values. */

/** Draws uniformly from [0, 1). */
export type Random = () => number;

/**
 * A generator for one use, a pure function of the seed and the stream's numbers (sfc32 by C. Doty-Humphrey, seeded
 * through the finalizer of MurmurHash3).
 *
 * @example
 * generator(13, epoch)() === generator(13, epoch)() // true
 */
export function generator(seed: number, ...stream: number[]): Random {
  let hash = 0x9e3779b9;
  const mix = (value: number) => {
    hash = Math.imul(hash ^ (value >>> 0), 0x85ebca6b);
    hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
    hash ^= hash >>> 16;
    return hash;
  };
  for (const value of [seed, ...stream]) {
    mix(Math.floor(value / 2 ** 32));
    mix(value);
  }
  let [a, b, c, counter] = [mix(1), mix(2), mix(3), 1];
  const next = () => {
    const sum = (((a + b) | 0) + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = (c << 21) | (c >>> 11);
    c = (c + sum) | 0;
    return (sum >>> 0) / 2 ** 32;
  };
  for (let round = 0; round < 12; round++) next();
  return next;
}

/** 0 .. count - 1 in random order (Fisher and Yates). */
export function shuffledIndices(count: number, random: Random): Int32Array {
  const indices = Int32Array.from({ length: count }, (_, index) => index);
  for (let last = count - 1; last > 0; last--) {
    const other = Math.floor(random() * (last + 1));
    [indices[last], indices[other]] = [indices[other]!, indices[last]!];
  }
  return indices;
}

/** Draws from the normal distribution with mean 0 (Box and Muller). */
export function normalValues(count: number, deviation: number, random: Random): Float32Array {
  return Float32Array.from(
    { length: count },
    () => deviation * Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random()),
  );
}
