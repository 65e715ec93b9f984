/** How trials choose their parameters. A new sampler is one entry here. */
import { seededRandom } from '../data/random.js';
import type { Distribution } from '../recipe/study.js';
import { enumerate, sample, type Parameters, type PlaceOf } from './space.js';

/** What is known when a trial begins. */
export interface SamplerContext {
  space: Readonly<Record<string, Distribution>>;
  /** Number of the trial, from 0. */
  trial: number;
  seed: number;
  /** How errors about a field begin. */
  place?: PlaceOf;
}

/** Parameters of a trial; undefined when there are none left to try. Depends on nothing but its argument. */
export type Sampler = (context: SamplerContext) => Parameters | undefined;

export const samplers: Readonly<Record<string, Sampler>> = {
  /** Every field by itself, each trial from a generator of its own, so that trials may be repeated in any order. */
  random: ({ space, trial, seed }) => {
    const random = seededRandom(Math.imul(seed + 1, 0x9e3779b1) ^ Math.imul(trial + 1, 0x85ebca6b));
    return Object.fromEntries(
      Object.entries(space).map(([path, distribution]) => [path, sample(distribution, random)]),
    );
  },

  /** Every combination once; the last field changes fastest. */
  grid: ({ space, trial, place }) => {
    const parameters: Parameters = {};
    let rest = trial;
    for (const [path, distribution] of Object.entries(space).reverse()) {
      const values = enumerate(distribution, path, place);
      parameters[path] = values[rest % values.length];
      rest = Math.floor(rest / values.length);
    }
    if (rest > 0) return undefined;
    return Object.fromEntries(Object.keys(space).map((path) => [path, parameters[path]]));
  },
};
