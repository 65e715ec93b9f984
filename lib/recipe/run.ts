/** `run`: a recipe, from a file or an object, from its first step to its report. */
import { z } from 'zod';
import { checkOptions, functionRule, signalRule } from '../options.js';
import type { PruneOptions } from '../compress/prune.js';
import type { QuantizeOptions } from '../compress/quantize.js';
import type { Task } from '../data/dataset.js';
import type { DatasetOptions } from '../data/load.js';
import type { DistillOptions } from '../distill/options.js';
import type { EvaluateStepOptions } from '../evaluate/evaluate.js';
import type { FinetuneOptions } from '../training/options.js';
import { runRecipe, type RunOptions, type RunResult } from './runner.js';
import { resolveRecipe } from './schema.js';
import { readRecipeFile, recipeFromObject, type RecipeSource } from './source.js';
import { whittleParts } from './steps.js';
import type { StudyOptions } from './study.js';

const runOptionsSchema = z.strictObject({
  folder: z.string().min(1, 'expected the name of a folder').optional(),
  onProgress: functionRule<RunOptions['onProgress']>().optional(),
  onStep: functionRule<RunOptions['onStep']>().optional(),
  signal: signalRule.optional(),
  resume: z.boolean('expected true or false').optional(),
  restart: z.boolean('expected true or false').optional(),
  overwrite: z.boolean('expected true or false').optional(),
});

/** One step: exactly one of the kinds, with its options; `name` is the name of its folder. */
export type Step = { name?: string } & (
  | { finetune: FinetuneOptions }
  | { prune: PruneOptions }
  | { distill: DistillOptions }
  | { quantize: QuantizeOptions }
  | { evaluate: EvaluateStepOptions }
);

/** A recipe as a TypeScript object; YAML and JSON files hold the same. */
export interface Recipe {
  /** Of the run and its folder. */
  name?: string;
  /** Folder of the checkpoint to start from. */
  model: string;
  task: Task;
  data: DatasetOptions;
  /** Source of all randomness. */
  seed?: number;
  /** Of native work; 0 is the machine's default. Changes no result. */
  threads?: number;
  steps: Step[];
  /** Read by `tune`, ignored by `run`. */
  study?: StudyOptions;
}

/**
 * Runs the steps of a recipe one after the other and writes `runs/<name>/`: the resolved recipe, a folder a step (a
 * Hugging Face checkpoint where the step makes one), `metrics.jsonl`, `report.json` and `report.html`. A step that an
 * earlier run of the same recipe finished is not run again, and a training that was cut off goes on from its last
 * training checkpoint; the weights are then, bit for bit, those of a run that nothing disturbed.
 *
 * @param recipe path of a YAML or JSON file, whose relative paths start from its own folder, or the same as an object.
 * @throws WhittleError `BAD_OPTION` for an option that `run` does not have; `BAD_RECIPE` with file, line and key, or for a folder with
 *   finished steps or training checkpoints of another recipe;
 *   `ABORTED` by the signal; what the steps throw.
 * @example
 * const { checkpoint, metrics } = await run({
 *   model: 'models/minilm-l6',
 *   task: 'text-classification',
 *   data: { path: 'examples/quickstart/data' },
 *   steps: [
 *     { finetune: { stages: [{ train: 'all', epochs: 3, learningRate: 2e-4 }] } },
 *     { quantize: {} },
 *     { evaluate: { on: 'test' } },
 *   ],
 * });
 * console.log(checkpoint, metrics.evaluate);
 */
export async function run(recipe: Recipe | string, options: RunOptions = {}): Promise<RunResult> {
  const checked = checkOptions(runOptionsSchema, options, 'run options');
  const source = await openRecipe(recipe);
  return runRecipe(resolveRecipe(source, whittleParts), whittleParts, checked, source);
}

/** Where a recipe comes from, given its file or itself. */
export function openRecipe(recipe: Recipe | string): Promise<RecipeSource> | RecipeSource {
  return typeof recipe === 'string' ? readRecipeFile(recipe) : recipeFromObject(recipe);
}
