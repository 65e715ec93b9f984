/** The options of a stage's loss, checked. */
import { z } from 'zod';
import { WhittleError } from '../../../bindings/errors.js';
import { didYouMean } from '../../options.js';

const weight = z.number('expected a weight').min(0, 'expected a weight of at least 0');

export const lossSchema = z.strictObject({
  /** Part of each label's target that is spread over all classes alike: 0.1 is common. */
  labelSmoothing: z.number('expected a part').min(0).lt(1, 'expected a part below 1').default(0),
  /**
   * What each class counts: `balanced` (rows / classes / rows of the class, as scikit-learn has it), a list in the order
   * of the labels, or weights by label, 1 for those that are not named. Where rows have several labels: what having the
   * label counts beside not having it, and `balanced` is the rows without it / the rows with it.
   */
  classWeights: z
    .union(
      [z.literal('balanced'), z.array(weight), z.record(z.string(), weight)],
      'expected "balanced", a list of weights or weights by label',
    )
    .optional(),
  /** Focal loss: rows that the model is sure of count less, by (1 - p)^gamma. 0 is plain cross-entropy, 2 is common. */
  focalGamma: z.number('expected a number').min(0, 'expected a number of at least 0').max(20).default(0),
  /**
   * R-Drop: each row goes through the model twice, with different dropout, and the divergence of the two answers times
   * this is added to the loss. 0 turns it off; 0.5 to 5 are common. Costs a second pass.
   */
  rDrop: z.number('expected a factor').min(0, 'expected a factor of at least 0').default(0),
});

/** Options of a loss with their defaults filled in. */
export type LossOptions = z.output<typeof lossSchema>;

/** Cross-entropy and nothing else. */
export const plainLoss: LossOptions = lossSchema.parse({});

/** True if the options ask for nothing but the task's own loss. */
export function isPlainLoss({ labelSmoothing, classWeights, focalGamma, rDrop }: LossOptions): boolean {
  return labelSmoothing === 0 && classWeights === undefined && focalGamma === 0 && rDrop === 0;
}

/**
 * `[classes]` the weight of each class, or undefined if all count the same.
 *
 * @param counts `[classes]` rows or tokens of each class in the training data. A class without any has weight 1 if
 *   `balanced`: it is the label of nothing.
 * @throws WhittleError BAD_OPTION for a list of another length than the labels, a label that does not exist, or weights
 *   that are all 0.
 * @example
 * classWeightsOf('balanced', ['a', 'b'], [30, 10]); // [0.667, 2]
 */
export function classWeightsOf(
  wanted: LossOptions['classWeights'],
  labels: readonly string[],
  counts: readonly number[],
): Float32Array | undefined {
  if (wanted !== 'balanced') return givenWeights(wanted, labels);
  const total = counts.reduce((sum, count) => sum + count, 0);
  const present = counts.filter((count) => count > 0).length;
  return Float32Array.from(counts, (count) => (count > 0 ? total / present / count : 1));
}

/**
 * `[labels]` what having a label counts beside not having it, or undefined if it counts the same.
 *
 * @param counts `[labels]` training rows that have each label, of `rows`. A label that all or none have has weight 1 if
 *   `balanced`.
 * @throws WhittleError as classWeightsOf.
 * @example
 * positiveWeightsOf('balanced', ['a', 'b'], [30, 10], 40); // [0.333, 3]
 */
export function positiveWeightsOf(
  wanted: LossOptions['classWeights'],
  labels: readonly string[],
  counts: readonly number[],
  rows: number,
): Float32Array | undefined {
  if (wanted !== 'balanced') return givenWeights(wanted, labels);
  return Float32Array.from(counts, (count) => (count > 0 && count < rows ? (rows - count) / count : 1));
}

function givenWeights(
  wanted: Exclude<LossOptions['classWeights'], 'balanced'>,
  labels: readonly string[],
): Float32Array | undefined {
  if (wanted === undefined) return undefined;
  const weights = Array.isArray(wanted) ? Float32Array.from(wanted) : weightsByLabel(wanted, labels);
  if (weights.length !== labels.length)
    throw new WhittleError(
      'BAD_OPTION',
      `classWeights: expected a weight for each of the ${labels.length} labels but found ${weights.length}`,
    );
  if (weights.every((one) => one === 0))
    throw new WhittleError('BAD_OPTION', 'classWeights: expected a weight above 0 but found none');
  return weights;
}

function weightsByLabel(weights: Readonly<Record<string, number>>, labels: readonly string[]): Float32Array {
  for (const label of Object.keys(weights))
    if (!labels.includes(label))
      throw new WhittleError(
        'BAD_OPTION',
        `classWeights: expected one of the ${labels.length} labels but found "${label}"${didYouMean(label, labels)}`,
      );
  return Float32Array.from(labels, (label) => weights[label] ?? 1);
}
