/** What a recipe is made of: the kinds of step, and how data are loaded. A new step is one entry of `steps`. */
import type { z } from 'zod';
import type { Dataset, Task } from '../data/dataset.js';
import type { ModelFacts, StepCheck, StepContext, StepResult } from '../step.js';

/** One kind of step, under the key that a recipe names it by. */
export interface StepKind {
  /** Its options; unknown keys are refused. */
  schema: z.ZodType;
  run(checkpoint: string, options: unknown, context: StepContext): Promise<StepResult>;
  /**
   * Checks the options against the model that the step will get, before any step runs.
   * @returns facts of the model that the step will make; the input's if absent.
   */
  check?(options: unknown, input: ModelFacts, check: StepCheck): ModelFacts | Promise<ModelFacts>;
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
  /** What is known of a checkpoint without reading its weights; without it steps are not checked beforehand. */
  describe?(folder: string): Promise<ModelFacts>;
  steps: Readonly<Record<string, StepKind>>;
  data: DataLoader;
}
