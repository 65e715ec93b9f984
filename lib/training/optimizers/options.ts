/** The optimizers by name, with their options: one entry here is one name in a recipe. */
import { z } from 'zod';
import { adafactor } from './adafactor.js';
import { adam } from './adam.js';
import { adamw } from './adamw.js';
import { lion } from './lion.js';
import type { UpdateRule } from './rule.js';
import { sgd } from './sgd.js';

const decay = z.number('expected a decay').min(0, 'expected a decay of at least 0').lt(1, 'expected a decay below 1');
const epsilon = z.number('expected a small number').positive('expected a number above 0').max(1);
const betas = (first: number, second: number) =>
  z.tuple([decay, decay], 'expected two decays').readonly().default([first, second]);

/** The options of each optimizer; `kind` alone is its name. */
export const optimizerSchemas = {
  /** Adam with decoupled weight decay. */
  adamw: z.strictObject({ kind: z.literal('adamw'), betas: betas(0.9, 0.999), epsilon: epsilon.default(1e-8) }),
  /** Weight decay is part of the gradient. */
  adam: z.strictObject({ kind: z.literal('adam'), betas: betas(0.9, 0.999), epsilon: epsilon.default(1e-8) }),
  /** Weight decay is part of the gradient. Wants rates some hundred times those of AdamW. */
  sgd: z
    .strictObject({ kind: z.literal('sgd'), momentum: decay.default(0.9), nesterov: z.boolean().default(false) })
    .refine(({ momentum, nesterov }) => !nesterov || momentum > 0, 'expected a momentum above 0 with nesterov'),
  /** Steps are in proportion to the parameters: 1e-2 is a common rate. Weight decay is decoupled. */
  adafactor: z.strictObject({
    kind: z.literal('adafactor'),
    beta2Decay: z.number().max(0, 'expected a number of at most 0').default(-0.8),
    clipThreshold: z.number().min(1, 'expected a threshold of at least 1').default(1),
    epsilon: epsilon.default(1e-3),
  }),
  /** Wants rates some three to ten times below those of AdamW, and that much more weight decay, which is decoupled. */
  lion: z.strictObject({ kind: z.literal('lion'), betas: betas(0.9, 0.99) }),
} as const;

export type OptimizerName = keyof typeof optimizerSchemas;
const names = Object.keys(optimizerSchemas) as [OptimizerName, ...OptimizerName[]];

/** An optimizer by name, or with its options: `lion`, `{ kind: sgd, momentum: 0.9, nesterov: true }`. */
export const optimizerSchema = z.union([
  z.enum(names, `expected one of ${names.join(', ')}`),
  z.discriminatedUnion('kind', [
    optimizerSchemas.adamw,
    optimizerSchemas.adam,
    optimizerSchemas.sgd,
    optimizerSchemas.adafactor,
    optimizerSchemas.lion,
  ]),
]);

/** An optimizer as a checked stage has it. */
export type OptimizerChoice = z.output<typeof optimizerSchema>;
/** The same with all options there. */
export type OptimizerOptions = Exclude<OptimizerChoice, string>;

/** The options behind a name. */
export function optimizerOptions(choice: OptimizerChoice): OptimizerOptions {
  return typeof choice === 'string' ? optimizerSchemas[choice].parse({ kind: choice }) : choice;
}

/** What the optimizer does to parameters. */
export function ruleOf(options: OptimizerOptions): UpdateRule {
  switch (options.kind) {
    case 'adamw':
      return adamw(options);
    case 'adam':
      return adam(options);
    case 'sgd':
      return sgd(options);
    case 'adafactor':
      return adafactor(options);
    case 'lion':
      return lion(options);
  }
}

/**
 * True if an element without a gradient is left alone but for its decoupled decay, whatever the others are: the rows of
 * the word embeddings that a run never uses can then stay out of it.
 */
export function leavesUnusedRows({ kind }: OptimizerOptions, weightDecay: number): boolean {
  if (kind === 'adafactor') return false;
  return kind === 'adamw' || kind === 'lion' || weightDecay === 0;
}
