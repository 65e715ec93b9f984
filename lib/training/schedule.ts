/** Learning rate schedules: one entry here is one name in a recipe. */
import { z } from 'zod';

/** Where a step lies in its stage. */
export interface SchedulePlace {
  /** 0-based. */
  step: number;
  steps: number;
  /** Steps during which the rate rises. */
  warmupSteps: number;
}

const part = (what: string) => z.number(`expected ${what}`).min(0).max(1, `expected ${what} of at most 1`);

/** The options of each schedule; `kind` alone is its name. */
export const scheduleSchemas = {
  /** The full rate after the warm-up. */
  constant: z.strictObject({ kind: z.literal('constant') }),
  /** Falls to 0 along a line. */
  linear: z.strictObject({ kind: z.literal('linear') }),
  /** Falls to 0 along half a cosine. */
  cosine: z.strictObject({ kind: z.literal('cosine') }),
  /** Falls to 0 along half a cosine `cycles` times, each time from the full rate (Loshchilov and Hutter 2017). */
  'cosine-with-restarts': z.strictObject({
    kind: z.literal('cosine-with-restarts'),
    cycles: z.int('expected a whole number of cycles').min(1).max(1000).default(3),
  }),
  /** Falls to `end` of the rate as (1 - progress)^power. */
  polynomial: z.strictObject({
    kind: z.literal('polynomial'),
    power: z.number('expected a power').positive('expected a power above 0').default(2),
    end: part('a part of the rate').default(0),
  }),
  /**
   * Rises over the warm-up from `start` of the rate along half a cosine, and falls to `end` of it along another (Smith
   * and Topin 2018). A warm-up of 0.3 of the steps is common.
   */
  'one-cycle': z.strictObject({
    kind: z.literal('one-cycle'),
    start: part('a part of the rate').default(0.04),
    end: part('a part of the rate').default(4e-6),
  }),
} as const;

export type ScheduleName = keyof typeof scheduleSchemas;
type OptionsOf<K extends ScheduleName> = z.output<(typeof scheduleSchemas)[K]>;

const names = Object.keys(scheduleSchemas) as [ScheduleName, ...ScheduleName[]];

/** A schedule by name, or with its options: `cosine`, `{ kind: polynomial, power: 2 }`. */
export const scheduleSchema = z.union([
  z.enum(names, `expected one of ${names.join(', ')}`),
  z.discriminatedUnion('kind', [
    scheduleSchemas.constant,
    scheduleSchemas.linear,
    scheduleSchemas.cosine,
    scheduleSchemas['cosine-with-restarts'],
    scheduleSchemas.polynomial,
    scheduleSchemas['one-cycle'],
  ]),
]);

/** A schedule as a checked stage has it. */
export type Schedule = z.output<typeof scheduleSchema>;

/** Half a cosine from 1 at 0 to 0 at 1. */
const halfCosine = (progress: number) => (1 + Math.cos(Math.PI * progress)) / 2;

/** Rises linearly from 0 over the warm-up, then follows `factor` of the progress in [0, 1) of the other steps. */
function afterWarmup({ step, steps, warmupSteps }: SchedulePlace, factor: (progress: number) => number): number {
  if (step < warmupSteps) return step / warmupSteps;
  return factor((step - warmupSteps) / Math.max(1, steps - warmupSteps));
}

/** Factor on the learning rate. */
const schedules: { [K in ScheduleName]: (place: SchedulePlace, options: OptionsOf<K>) => number } = {
  constant: (place) => afterWarmup(place, () => 1),
  linear: (place) => afterWarmup(place, (progress) => 1 - progress),
  cosine: (place) => afterWarmup(place, halfCosine),
  'cosine-with-restarts': (place, { cycles }) => afterWarmup(place, (progress) => halfCosine((cycles * progress) % 1)),
  polynomial: (place, { power, end }) => afterWarmup(place, (progress) => (1 - end) * (1 - progress) ** power + end),
  'one-cycle': ({ step, steps, warmupSteps }, { start, end }) => {
    const top = warmupSteps - 1;
    if (step <= top) return top === 0 ? 1 : 1 + (start - 1) * halfCosine(step / top);
    return end + (1 - end) * halfCosine((step - top) / Math.max(1, steps - 1 - top));
  },
};

/**
 * Factor on the learning rate at 0-based `step` of `steps`. All but one-cycle rise linearly from 0 over the warm-up: the
 * first of its steps has rate 0. The values are those of Transformers' schedules of the same names, one-cycle's those
 * of torch's OneCycleLR with `total_steps` steps and `pct_start` warmupSteps / steps.
 *
 * @example
 * scheduleFactor('linear', 0, 100, 10) // 0
 * scheduleFactor('linear', 55, 100, 10) // 0.5
 * scheduleFactor({ kind: 'polynomial', power: 2, end: 0 }, 55, 100, 10) // 0.25
 */
export function scheduleFactor(schedule: Schedule, step: number, steps: number, warmupSteps: number): number {
  const options = typeof schedule === 'string' ? scheduleSchemas[schedule].parse({ kind: schedule }) : schedule;
  const factor = schedules[options.kind] as (place: SchedulePlace, options: Exclude<Schedule, string>) => number;
  return factor({ step, steps, warmupSteps }, options);
}
