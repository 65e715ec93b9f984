/** What one optimizer does to parameters, given their gradients: one file a rule. */

/** One parameter in one update. Arrays are row-major and changed in place. */
export interface ParameterUpdate {
  shape: readonly number[];
  parameter: Float32Array;
  /** Before `gradientScale`. Read only. */
  gradient: Float32Array;
  /** What the rule keeps for the parameter, by the names of `UpdateRule.arrays`; zeros at the first update. */
  state: Readonly<Record<string, Float32Array>>;
  learningRate: number;
  weightDecay: number;
  /** Updates of this parameter, this one included: 1 at the first. */
  step: number;
  /** Where it is 0, the parameter is held at 0. */
  mask: Uint8Array | undefined;
  /** The rows of the gradient that may not be zero, ascending; undefined: any. */
  gradientRows: Int32Array | undefined;
  /** Elements of a row: of the last axis. */
  columns: number;
  /** Of a rule that packs: an array to pack the new parameter into. */
  packed: Float32Array | undefined;
}

export interface UpdateRule {
  /** It writes what `ParameterUpdate.packed` is for. */
  readonly packs?: boolean;
  /** Name and length of each array that is kept for a parameter of this shape. */
  arrays(shape: readonly number[]): Record<string, number>;
  /** Updates the parameters from `gradient * gradientScale`. */
  apply(updates: readonly ParameterUpdate[], gradientScale: number): void;
}

/** Elements of a shape. */
export function sizeOf(shape: readonly number[]): number {
  return shape.reduce((product, length) => product * length, 1);
}
