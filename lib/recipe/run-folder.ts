/** The files of `runs/<name>/`, apart from what the steps themselves write. */
import { createHash } from 'node:crypto';
import { appendFileSync, createReadStream, existsSync } from 'node:fs';
import { readdir, readFile, rm, stat } from 'node:fs/promises';
import { join, relative, resolve } from 'node:path';
import { parse, stringify } from 'yaml';
import { z } from 'zod';
import { WhittleError } from '../../bindings/errors.js';
import { removeAsides, writeError, writeFileWhole } from '../atomic.js';
import type { Dataset } from '../data/dataset.js';
import { describeSplits } from '../data/split-record.js';
import type { StepResult } from '../step.js';
import { trainingFolder } from '../training/training-checkpoint.js';
import type { InputHashes } from './compare.js';
import { writtenRecipe, type ResolvedRecipe } from './schema.js';

/** What step.json of a finished step holds. */
export interface FinishedStep extends StepResult {
  name: string;
  kind: string;
  hash: string;
  inputs: InputHashes;
  seconds: number;
  /** The files in the step's folder, by name. */
  files: Record<string, StepFile>;
}

/** What tells a file of a finished step from another. */
export interface StepFile {
  bytes: number;
  /** Time of the last change, in milliseconds since 1970: a file that nobody touched is not read again. */
  changed: number;
  sha256: string;
}

/** What is left of an earlier run of a step: what it left behind, and what is wrong with that. */
export interface FoundStep {
  step?: FinishedStep;
  damage?: string;
}

const inputsFile = '.inputs.json';

export class RunFolder {
  constructor(readonly path: string) {}

  stepFolder(name: string): string {
    return join(this.path, name);
  }

  /** Where the training checkpoints of a step lie until it is finished. */
  trainingFolder(name: string): string {
    return trainingFolder(this.stepFolder(name));
  }

  /** Removes what a killed process left half-written. */
  async tidy(): Promise<void> {
    await removeAsides(this.path);
  }

  /** Refuses a folder that holds something else than a run. */
  async checkIsRun(): Promise<void> {
    const names = await readdir(this.path).catch((): string[] => []);
    if (names.every((name) => name.startsWith('.')) || names.includes('recipe.yaml')) return;
    throw new WhittleError('IO', `${this.path}: expected a run folder or an empty one but found other files there`);
  }

  /** Removes everything but the lock. */
  async clear(): Promise<void> {
    for (const name of await readdir(this.path)) {
      if (name !== '.lock') await rm(join(this.path, name), { recursive: true, force: true });
    }
  }

  /** @param inputs hashes of what the recipe refers to. */
  async writeRecipe(recipe: ResolvedRecipe, inputs: InputHashes): Promise<void> {
    await writeFileWhole(join(this.path, inputsFile), JSON.stringify(inputs));
    const heading = '# The recipe of this run as it was resolved: defaults filled in, paths absolute.\n';
    await writeFileWhole(join(this.path, 'recipe.yaml'), heading + stringify(writtenRecipe(recipe)));
  }

  /** Which rows, by file and line, train, choose and test. */
  async writeSplits(data: Dataset): Promise<void> {
    await writeFileWhole(join(this.path, 'split.json'), `${JSON.stringify(describeSplits(data), null, 2)}\n`);
  }

  /** The resolved recipe of the last run in this folder. */
  async readRecipe(): Promise<unknown> {
    const text = await readFile(join(this.path, 'recipe.yaml'), 'utf8').catch(() => undefined);
    if (text === undefined) return undefined;
    try {
      return parse(text);
    } catch {
      return undefined; // damaged: what differs cannot be told
    }
  }

  /** The hashes that went with it. */
  async readInputs(): Promise<Partial<InputHashes>> {
    try {
      return JSON.parse(await readFile(join(this.path, inputsFile), 'utf8')) as Partial<InputHashes>;
    } catch {
      return {};
    }
  }

  /** Notes that a step is finished. @returns the step with what tells its files from others. */
  async writeStep(step: Omit<FinishedStep, 'files'>): Promise<FinishedStep> {
    const finished = { ...step, files: await describeFiles(this.stepFolder(step.name)) };
    const written = { ...finished, checkpoint: relative(this.path, step.checkpoint) };
    await writeFileWhole(join(this.stepFolder(step.name), 'step.json'), JSON.stringify(written, null, 2));
    return finished;
  }

  /** What a finished step left behind, and whether its files are as it left them; nothing if it did not finish. */
  async readStep(name: string): Promise<FoundStep> {
    const folder = this.stepFolder(name);
    const file = join(folder, 'step.json');
    const text = await readFile(file, 'utf8').catch(() => undefined);
    if (text === undefined) return {};
    const written = parseStep(text);
    if (!written) return { damage: `${file} is damaged` };
    const step = { ...written, checkpoint: resolve(this.path, written.checkpoint) };
    for (const [name, file] of Object.entries(step.files)) {
      const damage = await damageOf(join(folder, name), file);
      if (damage) return { step, damage: `${join(folder, name)} ${damage}` };
    }
    return existsSync(step.checkpoint) ? { step } : { step, damage: `${step.checkpoint} is missing` };
  }

  async clearStep(name: string): Promise<void> {
    await rm(this.stepFolder(name), { recursive: true, force: true });
  }

  /** Keeps so many records of each step, and drops those of other steps and a last line that a crash cut off. */
  async keepMetrics(records: ReadonlyMap<string, number>): Promise<void> {
    const file = join(this.path, 'metrics.jsonl');
    const left = new Map(records);
    const lines = (await readFile(file, 'utf8').catch(() => '')).split('\n').filter((line) => {
      try {
        const { step } = JSON.parse(line) as { step: string };
        const count = left.get(step) ?? 0;
        left.set(step, count - 1);
        return count > 0;
      } catch {
        return false;
      }
    });
    await writeFileWhole(file, lines.map((line) => `${line}\n`).join(''));
  }

  appendMetrics(record: Record<string, unknown>): void {
    const file = join(this.path, 'metrics.jsonl');
    try {
      appendFileSync(file, `${JSON.stringify(record)}\n`);
    } catch (error) {
      throw writeError(error, file);
    }
  }

  async writeReport(json: unknown, html: string): Promise<void> {
    await writeFileWhole(join(this.path, 'report.json'), `${JSON.stringify(json, null, 2)}\n`);
    await writeFileWhole(join(this.path, 'report.html'), html);
  }
}

const stepSchema = z.looseObject({
  name: z.string(),
  kind: z.string(),
  hash: z.string(),
  inputs: z.looseObject({ model: z.string(), data: z.string() }),
  seconds: z.number(),
  checkpoint: z.string(),
  metrics: z.looseObject({}),
  record: z.looseObject({}),
  files: z.record(z.string(), z.object({ bytes: z.number(), changed: z.number(), sha256: z.string() })),
});

/** The contents of step.json; undefined if they are none. */
function parseStep(text: string): FinishedStep | undefined {
  try {
    const parsed = stepSchema.safeParse(JSON.parse(text));
    return parsed.success ? (parsed.data as unknown as FinishedStep) : undefined;
  } catch {
    return undefined;
  }
}

/** What is wrong with a file, as the end of a sentence; a file of another time is read as a whole. */
async function damageOf(file: string, { bytes, changed, sha256 }: StepFile): Promise<string | undefined> {
  const found = await stat(file).catch(() => undefined);
  if (!found) return 'is missing';
  if (found.size !== bytes) return `has ${found.size} bytes in place of ${bytes}`;
  return found.mtimeMs === changed || (await hashFile(file)) === sha256 ? undefined : 'has changed since';
}

async function hashFile(file: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(file, { highWaterMark: 1 << 20 })) hash.update(chunk as Buffer);
  return hash.digest('hex');
}

/** The files that a step left in its folder. */
async function describeFiles(folder: string): Promise<Record<string, StepFile>> {
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => []);
  const names = entries.filter((entry) => entry.isFile() && entry.name !== 'step.json').map(({ name }) => name);
  const described = names
    .filter((name) => !name.startsWith('.'))
    .sort()
    .map(async (name): Promise<[string, StepFile]> => {
      const file = join(folder, name);
      const { size, mtimeMs } = await stat(file);
      return [name, { bytes: size, changed: mtimeMs, sha256: await hashFile(file) }];
    });
  return Object.fromEntries(await Promise.all(described));
}
