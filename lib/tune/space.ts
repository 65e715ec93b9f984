/** Search spaces: what values a field may take, and how a recipe gets them. */
import { WhittleError } from '../../bindings/errors.js';
import { didYouMean } from '../options.js';
import type { Distribution } from '../recipe/study.js';

/** Values by the path of their field: `{ 'steps.finetune.stages.2.learningRate': 1e-4 }`. */
export type Parameters = Record<string, unknown>;

/** One value of a distribution. @param random uniform in [0, 1). */
export function sample(distribution: Distribution, random: () => number): unknown {
  const listed = listedValues(distribution);
  if (listed) return listed[Math.floor(random() * listed.length)];
  const { uniform, logUniform, int } = distribution as Exclude<Distribution, unknown[]>;
  if (uniform) return uniform[0] + random() * (uniform[1] - uniform[0]);
  if (int) return int[0] + Math.floor(random() * (int[1] - int[0] + 1));
  const [low, high] = logUniform!.map(Math.log) as [number, number];
  return Math.exp(low + random() * (high - low));
}

/** Begins an error about a field of the space: `recipe.yaml:14: ` in a file. */
export type PlaceOf = (field: string) => string;

const nowhere: PlaceOf = () => 'study: ';

/**
 * All values of a distribution, in order.
 * @throws WhittleError `BAD_RECIPE` for a continuous one.
 */
export function enumerate(distribution: Distribution, path: string, place = nowhere): unknown[] {
  const listed = listedValues(distribution);
  if (listed) return listed;
  const { int } = distribution as Exclude<Distribution, unknown[]>;
  if (int) return Array.from({ length: int[1] - int[0] + 1 }, (_, index) => int[0] + index);
  const kind = Object.keys(distribution)[0];
  throw new WhittleError(
    'BAD_RECIPE',
    `${place(path)}expected a list of values for ${path} in a grid but found ${kind}`,
  );
}

function listedValues(distribution: Distribution): unknown[] | undefined {
  return Array.isArray(distribution) ? distribution : distribution.choice;
}

/**
 * A copy of the recipe as written, with the parameters in their places. Steps go by name or by index.
 * @throws WhittleError `BAD_RECIPE` for a path whose step, list entry or parent does not exist.
 */
export function applyParameters(recipe: unknown, parameters: Parameters, place = nowhere): unknown {
  const copy = structuredClone(recipe);
  for (const [path, value] of Object.entries(parameters)) setField(copy, path, value, place);
  return copy;
}

function setField(recipe: unknown, path: string, value: unknown, place: PlaceOf): void {
  const badPath = (what: string) =>
    new WhittleError('BAD_RECIPE', `${place(path)}${path} in study.space: expected a field of the recipe, but ${what}`);
  const keys = path.split('.');
  let node = recipe as Record<string, unknown>;
  let done = '';
  const last = keys.pop()!;
  for (const [depth, key] of keys.entries()) {
    if (depth === 1 && keys[0] === 'steps') node = enterStep(node as unknown as unknown[], key, badPath);
    else {
      if (Array.isArray(node) && node[Number(key)] === undefined) {
        const entries = node.length === 1 ? '1 entry' : `${node.length} entries`;
        throw badPath(`${done} has ${entries}, counted from 0, and no ${key}`);
      }
      node[key] ??= {};
      node = node[key] as Record<string, unknown>;
    }
    done = done ? `${done}.${key}` : key;
    if (typeof node !== 'object' || node === null) throw badPath(`${done} holds no fields`);
  }
  node[last] = value;
}

/** The options of the step called `key`: by name, else by kind, else by index. */
function enterStep(steps: unknown[], key: string, badPath: (what: string) => WhittleError): Record<string, unknown> {
  const entries = steps.map((step, index) => {
    const fields = (typeof step === 'string' ? { [step]: {} } : step) as Record<string, unknown>;
    steps[index] = fields;
    const kind = Object.keys(fields).find((name) => name !== 'name') ?? '';
    const before = steps.slice(0, index).filter((other) => kind in (other as object)).length;
    const name = (fields.name as string | undefined) ?? (before ? `${kind}-${before + 1}` : kind);
    return { fields, kind, name };
  });
  const found = entries.find(({ name }) => name === key) ?? entries[/^\d+$/.test(key) ? Number(key) : -1];
  if (!found) {
    const names = entries.map(({ name }) => name);
    throw badPath(`there is no step "${key}"${didYouMean(key, names) || ` among ${names.join(', ')}`}`);
  }
  found.fields[found.kind] ??= {};
  return found.fields[found.kind] as Record<string, unknown>;
}
