/** What a recipe is made of: the kinds of step, and how data are loaded. A new step is one entry of `steps`. */
import type { z } from 'zod';
import type { Dataset, Task } from '../data/dataset.js';
import type { StepContext, StepResult } from '../step.js';

/** One kind of step, under the key that a recipe names it by. */
export interface StepKind {
  /** Its options; unknown keys are refused. */
  schema: z.ZodType;
  run(checkpoint: string, options: unknown, context: StepContext): Promise<StepResult>;
  /** The options that the step's result depends on; all of them if absent. */
  resultOptions?(options: unknown): unknown;
  /**
   * The options with every reference to another checkpoint replaced by `map` of it: names of earlier steps stay,
   * folders become absolute. Absent if the options refer to none.
   */
  mapCheckpoints?(options: unknown, map: (reference: string, path: (string | number)[]) => string): unknown;
}

export interface DataLoader {
  schema: z.ZodType;
  /** The options with every path replaced by `resolve` of it. */
  mapPaths(options: unknown, resolve: (path: string) => string): unknown;
  load(options: unknown, task: Task, seed: number): Promise<Dataset>;
}

export interface RecipeParts {
  steps: Readonly<Record<string, StepKind>>;
  data: DataLoader;
}
