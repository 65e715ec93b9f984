/** The `study` section of a recipe: read by tuning, checked but not used by a run. */
import { z } from 'zod';

const bounds = z
  .tuple([z.number(), z.number()], 'expected a range [low, high]')
  .refine(([low, high]) => low < high, 'expected the lower bound first');

const choices = z.array(z.json()).min(1, 'expected at least one value');

/** How the values of one field are spread. A plain list is a choice. */
export const distributionSchema = z.union([
  choices,
  z
    .strictObject({
      choice: choices.optional(),
      uniform: bounds.optional(),
      logUniform: bounds.refine(([low]) => low > 0, 'expected bounds above 0').optional(),
      int: bounds.refine((range) => range.every(Number.isSafeInteger), 'expected whole numbers').optional(),
    })
    .refine((one) => Object.keys(one).length === 1, 'expected one of choice, uniform, logUniform, int'),
]);

/** How the values of one field are spread: `[1, 2]`, `{ logUniform: [1e-5, 1e-3] }`, `{ int: [1, 4] }`. */
export type Distribution = z.output<typeof distributionSchema>;

export const studySchema = z.strictObject({
  /** Fields by path, steps by name: `steps.finetune.stages.2.learningRate`. */
  space: z
    .record(z.string(), distributionSchema)
    .refine((space) => Object.keys(space).length > 0, 'expected at least one field to search'),
  /** `random` or `grid`. */
  sampler: z.string().default('random'),
  /** How many trials; a grid stops earlier when it is used up. */
  trials: z.int('expected a whole number of trials').min(1).max(100_000).default(20),
  /** What is sought, as `step.metric`: `finetune.accuracy`. By default the first score of the last step that trains. */
  metric: z
    .string()
    .regex(/^[^.]+\..+$/, 'expected the form step.metric, such as finetune.accuracy')
    .optional(),
  mode: z.enum(['max', 'min']).default('max'),
  /**
   * Which trials keep their checkpoints: the best so far, or all. Recipe, scores, curves and report of every trial stay
   * either way.
   */
  keepCheckpoints: z.enum(['best', 'all']).default('best'),
  /** Of the sampler; the recipe's own by default. */
  seed: z.int().min(0).optional(),
});

/** The `study` of a recipe as a user writes it. */
export type StudyOptions = z.input<typeof studySchema>;
export type Study = z.output<typeof studySchema>;
