/** What the windows of one text give together. */

/**
 * The mean of the outputs of a text's windows, element by element.
 * @param outputs one array a window, all of one length; at least one.
 * @example
 * meanOutput([Float32Array.of(1, 3), Float32Array.of(2, 5)]); // [1.5, 4]
 */
export function meanOutput(outputs: readonly Float32Array[]): Float32Array {
  const [first, ...others] = outputs;
  if (others.length === 0) return first!;
  return first!.map((value, index) => others.reduce((sum, other) => sum + other[index]!, value) / outputs.length);
}
