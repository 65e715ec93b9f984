/** The files of `runs/<name>/`, apart from what the steps themselves write. */
import { appendFileSync } from 'node:fs';
import { readdir, readFile, rm } from 'node:fs/promises';
import { join, relative, resolve } from 'node:path';
import { parse, stringify } from 'yaml';
import { WhittleError } from '../../bindings/errors.js';
import { writeError, writeFileWhole } from '../atomic.js';
import type { StepResult } from '../step.js';
import type { InputHashes } from './compare.js';
import { writtenRecipe, type ResolvedRecipe } from './schema.js';

/** What step.json of a finished step holds. */
export interface FinishedStep extends StepResult {
  name: string;
  kind: string;
  hash: string;
  inputs: InputHashes;
  seconds: number;
}

export class RunFolder {
  constructor(readonly path: string) {}

  stepFolder(name: string): string {
    return join(this.path, name);
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

  async writeRecipe(recipe: ResolvedRecipe): Promise<void> {
    const heading = '# The recipe of this run as it was resolved: defaults filled in, paths absolute.\n';
    await writeFileWhole(join(this.path, 'recipe.yaml'), heading + stringify(writtenRecipe(recipe)));
  }

  /** The resolved recipe of the last run in this folder. */
  async readRecipe(): Promise<unknown> {
    const text = await readFile(join(this.path, 'recipe.yaml'), 'utf8').catch(() => undefined);
    return text === undefined ? undefined : parse(text);
  }

  async writeStep(step: FinishedStep): Promise<void> {
    const written = { ...step, checkpoint: relative(this.path, step.checkpoint) };
    await writeFileWhole(join(this.stepFolder(step.name), 'step.json'), JSON.stringify(written, null, 2));
  }

  /** What a finished step left behind; undefined if it did not finish. */
  async readStep(name: string): Promise<FinishedStep | undefined> {
    const text = await readFile(join(this.stepFolder(name), 'step.json'), 'utf8').catch(() => undefined);
    if (text === undefined) return undefined;
    try {
      const step = JSON.parse(text) as FinishedStep;
      return { ...step, checkpoint: resolve(this.path, step.checkpoint) };
    } catch {
      return undefined; // damaged from outside: the step runs again
    }
  }

  async clearStep(name: string): Promise<void> {
    await rm(this.stepFolder(name), { recursive: true, force: true });
  }

  /** Drops the records of steps that did not finish, and a last line that a crash cut off. */
  async keepMetrics(finished: ReadonlySet<string>): Promise<void> {
    const file = join(this.path, 'metrics.jsonl');
    const lines = (await readFile(file, 'utf8').catch(() => '')).split('\n').filter((line) => {
      try {
        return finished.has((JSON.parse(line) as { step: string }).step);
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
