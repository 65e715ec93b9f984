/** Tells recipes apart: a hash of everything a step's result depends on, and a list of what differs. */
import { createHash } from 'node:crypto';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Dataset } from '../data/dataset.js';
import type { RecipeParts } from './parts.js';
import type { ResolvedRecipe } from './schema.js';

/** Hashes of what lies outside the recipe: the model's files and the rows of the data. */
export interface InputHashes {
  model: string;
  data: string;
}

export async function hashInputs(recipe: ResolvedRecipe, data: Dataset): Promise<InputHashes> {
  return {
    model: sha256(JSON.stringify(await listFiles(recipe.model))),
    data: sha256(
      JSON.stringify([
        data.labels,
        data.train.source?.hash ?? data.train.rows,
        ...[data.dev.rows, data.test.rows, data.preprocessing],
      ]),
    ),
  };
}

/**
 * One hash a step, over the inputs and all steps up to it. What changes no result is left out: the number of threads,
 * when a training is saved.
 */
export function hashSteps(recipe: ResolvedRecipe, parts: RecipeParts, inputs: InputHashes): string[] {
  let hash = sha256(canonical([inputs, recipe.task, recipe.seed]));
  return recipe.steps.map(({ name, kind, options }) => {
    const { resultOptions } = parts.steps[kind]!;
    return (hash = sha256(canonical([hash, name, kind, resultOptions ? resultOptions(options) : options])));
  });
}

/** What differs between two JSON values, as `path: old -> new`. */
export function differences(before: unknown, after: unknown, path = ''): string[] {
  if (isObject(before) && isObject(after)) {
    return [...new Set([...Object.keys(before), ...Object.keys(after)])].flatMap((key) =>
      differences(before[key], after[key], path ? `${path}.${key}` : key),
    );
  }
  if (canonical(before) === canonical(after)) return [];
  return [`${path}: ${short(before)} then, ${short(after)} now`];
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}

function short(value: unknown): string {
  const text = value === undefined ? 'absent' : JSON.stringify(value);
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}

/** JSON with the keys of objects in order, so that equal values give equal text. */
export function canonical(value: unknown): string {
  return JSON.stringify(value ?? null, (_key, inner: unknown) =>
    isObject(inner) && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );
}

/** Name, size and time of change of every file of a folder. */
async function listFiles(folder: string): Promise<[string, number, number][]> {
  const names = (await readdir(folder)).filter((name) => !name.startsWith('.')).sort();
  return Promise.all(
    names.map(async (name): Promise<[string, number, number]> => {
      const { size, mtimeMs } = await stat(join(folder, name));
      return [name, size, mtimeMs];
    }),
  );
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
