/** The options of a distill step, checked. */
import { z } from 'zod';
import { epochsOrSteps, singleStageShape } from '../training/single-stage.js';

const teacher = z.union([
  z.string().min(1, 'expected a step or a folder'),
  z.strictObject({
    /** An earlier step of the recipe by name, or the folder of a checkpoint. */
    from: z.string().min(1, 'expected a step or a folder'),
    /** Share of its soft labels beside the other teachers'; only the proportions count. */
    weight: z.number('expected a weight').positive('expected a weight above 0').default(1),
  }),
]);

const student = z.union([
  z.strictObject({
    /** Layers of the first teacher that the student starts from, lowest first; embeddings and head come along. */
    layers: z
      .array(z.int('expected a layer').min(0, 'expected a layer of at least 0'))
      .min(1, 'expected at least one layer')
      .refine((layers) => layers.every((layer, index) => index === 0 || layer > layers[index - 1]!), {
        error: 'expected ascending layers',
      }),
  }),
  z.strictObject({
    /** An earlier step of the recipe by name, or the folder of a checkpoint. */
    model: z.string().min(1, 'expected a step or a folder'),
  }),
]);

export const distillSchema = z
  .strictObject({
    teachers: z.array(teacher).min(1, 'expected at least one teacher'),
    /** What learns: `{ layers }`, `{ model }`, or, without it, the checkpoint that the step is given. */
    student: student.optional(),
    /** Both sides' logits are divided by it before the softmax of the soft labels. */
    temperature: z.number('expected a temperature').positive('expected a temperature above 0').default(2),
    /** Weight of the hard labels' cross-entropy; the soft labels have 1 - alpha. */
    alpha: z
      .number('expected a weight from 0 to 1')
      .min(0, 'expected a weight of at least 0')
      .max(1, 'expected a weight of at most 1')
      .default(0.5),
    ...singleStageShape(1e-4),
  })
  .refine(...epochsOrSteps);

/** Options of a distill step as a user writes them. */
export type DistillOptions = z.input<typeof distillSchema>;
/** The same with their defaults filled in. */
export type CheckedDistillOptions = z.output<typeof distillSchema>;
