/** `tune`: the search that a recipe's `study` describes. */
import { z } from 'zod';
import { checkOptions, functionRule, signalRule } from '../options.js';
import { openRecipe, type Recipe } from '../recipe/run.js';
import { whittleParts } from '../recipe/steps.js';
import { runStudy, type TuneOptions, type TuneResult } from './study.js';

const tuneOptionsSchema = z.strictObject({
  folder: z.string().min(1, 'expected the name of a folder').optional(),
  onProgress: functionRule<TuneOptions['onProgress']>().optional(),
  signal: signalRule.optional(),
  overwrite: z.boolean('expected true or false').optional(),
});

/**
 * Runs a recipe once a trial, each time with other values in the fields that its `study.space` names, and tells which
 * were best. Writes `runs/<name>-study/`: `journal.jsonl`, to which every finished trial is appended, `study.json`, and a
 * run folder a trial. Called again after a crash or Ctrl-C, it goes on with the trials that are missing.
 *
 * @throws WhittleError `BAD_OPTION` for an option that `tune` does not have; `BAD_RECIPE` for a recipe without a study, a space that names no field of it, or a folder that
 *   holds another study; `ABORTED`; what the steps throw.
 * @example
 * const { best } = await tune('examples/quickstart/recipe.yaml');
 * console.log(best.value, best.parameters, best.folder);
 */
export async function tune(recipe: Recipe | string, options: TuneOptions = {}): Promise<TuneResult> {
  const checked = checkOptions(tuneOptionsSchema, options, 'tune options');
  return runStudy(await openRecipe(recipe), whittleParts, checked);
}
