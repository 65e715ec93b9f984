/** Lengths of training, in epochs or steps. */
import { z } from 'zod';

const wanted = 'expected a number of epochs or steps, such as "0.5 epochs" or "100 steps"';
const epochs = z.number('expected a number of epochs').positive('expected more than 0 epochs').max(10_000);
const steps = z.int('expected a whole number of steps').min(1, 'expected at least 1 step');
const intervalSchemas = [z.strictObject({ epochs }), z.strictObject({ steps })] as const;

/** `1 epoch`, `100 steps`, `{ epochs: 0.5 }`, `{ steps: 100 }`; as an object once it is checked. */
export const intervalSchema = z.union([
  z.string(wanted).transform((text, context): Interval => {
    const [, number, unit] = /^\s*(\d+(?:\.\d+)?)\s+(epochs?|steps?)\s*$/.exec(text) ?? [];
    const value = unit?.startsWith('step') ? { steps: Number(number) } : { epochs: Number(number) };
    const parsed = z.union(intervalSchemas).safeParse(value);
    if (unit !== undefined && parsed.success) return parsed.data;
    context.addIssue({ code: 'custom', message: wanted });
    return z.NEVER;
  }),
  ...intervalSchemas,
]);

export type Interval = { epochs: number } | { steps: number };

/** In steps, not always whole. */
export function intervalInSteps(interval: Interval, stepsPerEpoch: number): number {
  return 'steps' in interval ? interval.steps : interval.epochs * stepsPerEpoch;
}
