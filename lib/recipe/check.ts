/** Checks all steps of a recipe against the models that they will get, before any of them runs. */
import { WhittleError } from '../../bindings/errors.js';
import type { Dataset } from '../data/dataset.js';
import type { ModelFacts, StepCheck } from '../step.js';
import type { RecipeParts } from './parts.js';
import type { ResolvedRecipe } from './schema.js';
import type { RecipeSource } from './source.js';

/**
 * @param source of the recipe, for the lines of mistakes.
 * @throws WhittleError `BAD_RECIPE` with the line of an option that does not go with the model that its step gets.
 */
export async function checkSteps(
  recipe: ResolvedRecipe,
  parts: RecipeParts,
  data: Dataset,
  source: Pick<RecipeSource, 'place' | 'nameOf'>,
): Promise<void> {
  const { describe } = parts;
  if (!describe) return;
  const models = new Map<string, ModelFacts>();
  let facts = await describe(recipe.model);
  for (const [index, { name, kind, options }] of recipe.steps.entries()) {
    const at: StepCheck['at'] = (path, check) => {
      try {
        return check();
      } catch (error) {
        throw placed(error, ['steps', index, kind, ...path], source);
      }
    };
    facts = (await parts.steps[kind]!.check?.(options, facts, { data, models, describe, at })) ?? facts;
    models.set(name, facts);
  }
}

function placed(error: unknown, place: (string | number)[], source: Pick<RecipeSource, 'place' | 'nameOf'>): unknown {
  if (!(error instanceof WhittleError) || error.code !== 'BAD_OPTION') return error;
  // The step's function names itself and the option, which the place says here.
  const [, key = '', message] = /^(?:(?:stage|[a-z]+ options): )?(?:([A-Za-z.]+): )?(.*)$/s.exec(error.message)!;
  const keys = key === '' ? [] : key.split('.');
  const path = keys.length === 0 || place.at(-1) === keys.at(-1) ? place : [...place, ...keys];
  return new WhittleError('BAD_RECIPE', `${source.place(path)}${source.nameOf(path)}: ${message}`, { cause: error });
}
