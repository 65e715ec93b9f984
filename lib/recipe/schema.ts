/** Checks a recipe and resolves it: defaults filled in, paths absolute, steps named. */
import { existsSync, statSync } from 'node:fs';
import { isAbsolute, join, resolve } from 'node:path';
import { z } from 'zod';
import { WhittleError } from '../../bindings/errors.js';
import { tasks, type Task } from '../data/dataset.js';
import { describeProblems, didYouMean, parseOptions, threadsRule } from '../options.js';
import type { RecipeParts } from './parts.js';
import type { Path, RecipeSource } from './source.js';
import { studySchema, type Study } from './study.js';

/** One step of a resolved recipe. */
export interface ResolvedStep {
  /** Unique in the recipe, and the name of the step's folder. */
  name: string;
  /** Key of the registry: `finetune`. */
  kind: string;
  /** Checked, with defaults. */
  options: unknown;
}

/** A recipe as it is run. */
export interface ResolvedRecipe {
  name: string;
  model: string;
  task: Task;
  data: unknown;
  seed: number;
  threads: number;
  steps: ResolvedStep[];
  study: Study | undefined;
}

const nameRule = z
  .string()
  .regex(/^[A-Za-z0-9][\w.-]*$/, 'expected a name of letters, digits, ".", "_" and "-" that can be a folder')
  .refine((name) => !name.endsWith('.training'), 'expected a name that does not end in ".training"');

/** The schema of a whole recipe, composed of the steps' own. */
export function recipeSchema(parts: RecipeParts) {
  const kinds = Object.fromEntries(Object.entries(parts.steps).map(([kind, { schema }]) => [kind, schema.optional()]));
  const step = z.strictObject({ name: nameRule.optional(), ...kinds }).refine((value) => kindsOf(value).length === 1, {
    error: ({ input }) => {
      const found = kindsOf(input as object);
      return `expected exactly one of ${Object.keys(parts.steps).join(', ')} but found ${found.length ? found.join(' and ') : 'none'}`;
    },
  });
  return z.strictObject({
    name: nameRule.optional(),
    model: z.string('expected the folder of a checkpoint').min(1, 'expected the folder of a checkpoint'),
    task: z.enum(tasks),
    data: parts.data.schema,
    seed: z.int('expected a whole number').min(0).max(0xffffffff).default(13),
    threads: threadsRule.default(0),
    steps: z.array(step).min(1, 'expected at least one step'),
    study: studySchema.optional(),
  });
}

/**
 * Checks what was written and resolves it.
 * @throws WhittleError `BAD_RECIPE` with the line and key of the first mistake.
 */
export function resolveRecipe(source: RecipeSource, parts: RecipeParts): ResolvedRecipe {
  const schema = recipeSchema(parts);
  if (typeof source.value !== 'object' || source.value === null || Array.isArray(source.value)) {
    const found = Array.isArray(source.value) ? 'a list' : (JSON.stringify(source.value) ?? 'nothing');
    throw badRecipe(
      source,
      [],
      `expected a recipe, with the keys model, task, data and steps, but ${source.value === null ? 'it is empty' : `found ${found}`}`,
    );
  }
  const parsed = parseOptions(schema, withoutShorthands(source.value));
  if (!parsed.success) {
    const [problem] = describeProblems(parsed.error, schema, source.nameOf);
    throw new WhittleError('BAD_RECIPE', source.place(problem!.path) + problem!.message);
  }
  const { name, model, task, data, seed, threads, steps, study } = parsed.data;
  const toPath = (path: string) => resolvePath(path, source.folder);
  const resolved: ResolvedRecipe = {
    name: name ?? source.defaultName,
    model: toPath(model),
    task,
    data: parts.data.mapPaths(data, toPath),
    seed,
    threads,
    steps: nameSteps(steps as Record<string, unknown>[], source),
    study,
  };
  const found = statSync(resolved.model, { throwIfNoEntry: false });
  if (!found?.isDirectory()) {
    const what = found ? 'a file' : 'nothing';
    throw badRecipe(
      source,
      ['model'],
      `model: expected the folder of a checkpoint but found ${what} at ${resolved.model}`,
    );
  }
  resolveReferences(resolved, source, parts);
  return resolved;
}

/** The recipe as someone could have written it, for the run folder. */
export function writtenRecipe(recipe: ResolvedRecipe): Record<string, unknown> {
  const { steps, study, ...rest } = recipe;
  return {
    ...rest,
    steps: steps.map(({ name, kind, options }) => (name === kind ? { [kind]: options } : { name, [kind]: options })),
    ...(study && { study }),
  };
}

/** `- evaluate` and `- evaluate:` mean `- evaluate: {}`. */
function withoutShorthands(value: unknown): unknown {
  const steps = (value as { steps?: unknown } | null)?.steps;
  if (!Array.isArray(steps)) return value;
  return {
    ...(value as object),
    steps: steps.map((step: unknown) => {
      if (typeof step === 'string') return { [step]: {} };
      if (typeof step !== 'object' || step === null || Array.isArray(step)) return step;
      return Object.fromEntries(Object.entries(step).map(([key, options]) => [key, options === null ? {} : options]));
    }),
  };
}

function kindsOf(step: object): string[] {
  return Object.entries(step)
    .filter(([key, value]) => key !== 'name' && value !== undefined)
    .map(([key]) => key);
}

/** Names every step: its own name, or its kind, with `-2`, `-3` ... where the kind comes again. */
function nameSteps(steps: Record<string, unknown>[], source: RecipeSource): ResolvedStep[] {
  const used = new Set<string>();
  steps.forEach((step, index) => {
    if (step.name === undefined) return;
    if (used.has(step.name as string)) {
      throw badRecipe(
        source,
        ['steps', index, 'name'],
        `expected step names to differ but "${String(step.name)}" comes twice`,
      );
    }
    used.add(step.name as string);
  });
  return steps.map((step) => {
    const kind = kindsOf(step)[0]!;
    if (step.name !== undefined) return { name: step.name as string, kind, options: step[kind] };
    let name = kind;
    for (let count = 2; used.has(name); count++) name = `${kind}-${count}`;
    used.add(name);
    return { name, kind, options: step[kind] };
  });
}

/** Teachers and the like: the name of an earlier step, or a folder. */
function resolveReferences(recipe: ResolvedRecipe, source: RecipeSource, parts: RecipeParts): void {
  const earlier: string[] = [];
  recipe.steps.forEach((step, index) => {
    const { mapCheckpoints } = parts.steps[step.kind]!;
    if (mapCheckpoints) {
      step.options = mapCheckpoints(step.options, (reference, path) => {
        if (earlier.includes(reference)) return reference;
        const folder = resolvePath(reference, source.folder);
        if (existsSync(folder)) return folder;
        const place = ['steps', index, step.kind, ...path];
        throw badRecipe(
          source,
          place,
          `${source.nameOf(place)}: expected an earlier step or the folder of a checkpoint but found "${reference}"` +
            didYouMean(reference, earlier),
        );
      });
    }
    earlier.push(step.name);
  });
}

/** A path beside the recipe if something is there, else from the current folder if something is there. */
function resolvePath(path: string, folder: string): string {
  if (isAbsolute(path)) return path;
  const besideRecipe = join(folder, path);
  return !existsSync(besideRecipe) && existsSync(path) ? resolve(path) : besideRecipe;
}

function badRecipe(source: RecipeSource, path: Path, message: string): WhittleError {
  return new WhittleError('BAD_RECIPE', source.place(path) + message);
}
