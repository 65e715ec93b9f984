/**
 * Adafactor (Shazeer and Stern 2018), in the form of torch.optim.Adafactor: the second moment of a matrix is kept as the
 * means of its rows and columns, which takes almost no memory.
 */
import { Scratch } from './scratch.js';
import { holdMasked, sizeOf, type ParameterUpdate, type UpdateRule } from './rule.js';

export interface AdafactorOptions {
  /** The decay of the second moment is 1 - step^beta2Decay. */
  beta2Decay: number;
  /** An update whose root mean square is above it is scaled down to it. */
  clipThreshold: number;
  /** Least root mean square that a parameter is taken to have; steps are in proportion to it. */
  epsilon: number;
}

/** Of float32: what the row means and squares are kept above. */
const smallest = 2 ** -23;

export function adafactor({ beta2Decay, clipThreshold, epsilon }: AdafactorOptions): UpdateRule {
  const scratch = new Scratch();
  return {
    arrays(shape): Record<string, number> {
      if (shape.length < 2) return { variance: sizeOf(shape) };
      const columns = shape.at(-1)!;
      return { rowMeans: sizeOf(shape) / columns, columnMeans: columns };
    },
    apply(updates, gradientScale) {
      for (const update of updates) {
        const { parameter, learningRate, weightDecay, step } = update;
        const weight = step ** beta2Decay;
        const rate = Math.max(epsilon, rootMeanSquare(parameter)) * Math.min(learningRate, 1 / Math.sqrt(step));
        const direction = scratch.take(parameter.length);
        if (update.state.variance) wholeDirection(update, gradientScale, weight, direction);
        else factoredDirection(update, gradientScale, weight, direction);
        const scale = rate / Math.max(1, rootMeanSquare(direction) / clipThreshold);
        const kept = 1 - learningRate * weightDecay;
        for (let at = 0; at < parameter.length; at++) parameter[at] = kept * parameter[at]! - scale * direction[at]!;
        holdMasked(update);
      }
    },
  };
}

/** gradient / sqrt(second moment) into `direction`, the moment kept element by element. */
function wholeDirection(
  { gradient, state }: ParameterUpdate,
  gradientScale: number,
  weight: number,
  direction: Float32Array,
): void {
  const variance = state.variance!;
  for (let at = 0; at < gradient.length; at++) {
    const g = gradient[at]! * gradientScale;
    variance[at]! += weight * (g * g - variance[at]!);
    direction[at] = g / Math.sqrt(Math.max(smallest * smallest, variance[at]!));
  }
}

/** The same with the moment of an element taken as rowMean * columnMean / mean of the row means. */
function factoredDirection(
  { gradient, state }: ParameterUpdate,
  gradientScale: number,
  weight: number,
  direction: Float32Array,
): void {
  const rowMeans = state.rowMeans!;
  const columnMeans = state.columnMeans!;
  const [rows, columns] = [rowMeans.length, columnMeans.length];
  const columnSums = new Float64Array(columns);
  for (let row = 0; row < rows; row++) {
    let sum = 0;
    for (let column = 0; column < columns; column++) {
      const g = gradient[row * columns + column]! * gradientScale;
      sum += g * g;
      columnSums[column]! += g * g;
    }
    rowMeans[row]! += weight * (sum / columns - rowMeans[row]!);
  }
  for (let column = 0; column < columns; column++)
    columnMeans[column]! += weight * (columnSums[column]! / rows - columnMeans[column]!);
  const meanOfRows = Math.max(smallest, rowMeans.reduce((sum, mean) => sum + mean, 0) / rows);
  for (let row = 0; row < rows; row++)
    for (let column = 0; column < columns; column++) {
      const variance = Math.max(smallest * smallest, (rowMeans[row]! * columnMeans[column]!) / meanOfRows);
      const at = row * columns + column;
      direction[at] = (gradient[at]! * gradientScale) / Math.sqrt(variance);
    }
}

function rootMeanSquare(values: Float32Array): number {
  let sum = 0;
  for (let at = 0; at < values.length; at++) sum += values[at]! * values[at]!;
  return Math.sqrt(sum / values.length);
}
