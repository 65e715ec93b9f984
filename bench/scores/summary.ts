/** Scores of several seeds put together. */

/** One run's test score, times 100. */
export interface SeedScore {
  seed: number;
  score: number;
}

export interface Summary {
  mean: number;
  /** Sample standard deviation; absent for one seed. */
  deviation?: number;
  /** Score by seed. */
  scores: Record<string, number>;
}

/** Undefined for no runs. */
export function summarize(runs: readonly SeedScore[]): Summary | undefined {
  if (runs.length === 0) return undefined;
  const mean = average(runs.map(({ score }) => score));
  const squares = runs.reduce((sum, { score }) => sum + (score - mean) ** 2, 0);
  return {
    mean: round(mean),
    ...(runs.length > 1 && { deviation: round(Math.sqrt(squares / (runs.length - 1))) }),
    scores: Object.fromEntries(runs.map(({ seed, score }) => [seed, score])),
  };
}

/** How much better the first is than the second over the seeds that both have; undefined if they have none. */
export function difference(
  first: Summary | undefined,
  second: Summary | undefined,
): { mean: number; seeds: number[] } | undefined {
  const seeds = Object.keys(first?.scores ?? {}).filter((seed) => second?.scores[seed] !== undefined);
  if (seeds.length === 0) return undefined;
  return {
    mean: round(average(seeds.map((seed) => first!.scores[seed]! - second!.scores[seed]!))),
    seeds: seeds.map(Number),
  };
}

const average = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
const round = (value: number) => Number(value.toFixed(2));
