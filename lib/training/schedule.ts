/** Learning rate schedules: one entry here is one name in a recipe. */

/** Factor on the learning rate at `progress` in [0, 1) of the steps after the warm-up. */
export type Schedule = (progress: number) => number;

export const schedules = {
  linear: (progress) => 1 - progress,
} satisfies Record<string, Schedule>;

export type ScheduleName = keyof typeof schedules;

/**
 * Factor on the learning rate at 0-based `step` of `steps`: rises linearly from 0 over the warm-up, then follows the
 * schedule. The same as Transformers' get_linear_schedule_with_warmup: the first step of a warm-up has rate 0.
 *
 * @example
 * scheduleFactor('linear', 0, 100, 10) // 0
 * scheduleFactor('linear', 55, 100, 10) // 0.5
 */
export function scheduleFactor(name: ScheduleName, step: number, steps: number, warmupSteps: number): number {
  if (step < warmupSteps) return step / warmupSteps;
  const schedule: Schedule = schedules[name];
  return schedule((step - warmupSteps) / Math.max(1, steps - warmupSteps));
}
