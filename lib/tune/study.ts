/** Runs a recipe again and again with other values, and finds the best. */
import { rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { WhittleError } from '../../bindings/errors.js';
import { makeFolder, writeFileWhole } from '../atomic.js';
import { didYouMean } from '../options.js';
import { canonical, differences } from '../recipe/compare.js';
import { lockFolder } from '../recipe/lock.js';
import type { RecipeParts } from '../recipe/parts.js';
import { runRecipe, type RunEvent } from '../recipe/runner.js';
import { resolveRecipe, writtenRecipe, type ResolvedRecipe } from '../recipe/schema.js';
import type { RecipeSource } from '../recipe/source.js';
import type { Study } from '../recipe/study.js';
import { mainMetric } from '../report/report.js';
import { Journal, type Trial } from './journal.js';
import { samplers } from './samplers.js';
import { applyParameters, type Parameters } from './space.js';

/** What a study tells while it goes on: its own events, and those of the trial at work. */
export type TuneEvent =
  | { type: 'study'; name: string; folder: string; trials: number; finished: number }
  | { type: 'trial'; trial: number; trials: number; parameters: Parameters }
  | { type: 'trialEnd'; trial: number; state: Trial['state']; value?: number; error?: string; best: boolean }
  | { type: 'run'; trial: number; event: RunEvent };

export interface TuneOptions {
  /** Where journal and trials are written; `runs/<name>-study` in the current folder unless given. */
  folder?: string | undefined;
  onProgress?: ((event: TuneEvent) => void) | undefined;
  signal?: AbortSignal | undefined;
  /** Throw away what an earlier study left in the folder. */
  overwrite?: boolean | undefined;
}

export interface TuneResult {
  folder: string;
  /** `step.metric` that was sought. */
  metric: string;
  best: Trial & { folder: string };
  trials: Trial[];
}

/**
 * Goes through the trials of the recipe's `study`. Trials that the folder's journal holds are not repeated.
 * @throws WhittleError `BAD_RECIPE` for a recipe without a study, a space that names no field, or a folder that holds
 *   another study; `ABORTED`; `IO`; the last trial's error if every trial failed.
 */
export async function runStudy(
  source: RecipeSource,
  parts: RecipeParts,
  options: TuneOptions = {},
): Promise<TuneResult> {
  const base = resolveRecipe(source, parts);
  const { study } = base;
  if (!study) throw new WhittleError('BAD_RECIPE', `${source.place([])}expected a "study" to tune but found none`);
  const sampler = samplers[study.sampler];
  if (!sampler) {
    const known = Object.keys(samplers);
    throw new WhittleError(
      'BAD_RECIPE',
      `${source.place(['study', 'sampler'])}sampler: expected one of ${known.join(', ')} but found "${study.sampler}"` +
        didYouMean(study.sampler, known),
    );
  }
  const folder = resolve(options.folder ?? join('runs', `${base.name}-study`));
  const seed = study.seed ?? base.seed;
  const recipeOf = (parameters: Parameters) =>
    resolveRecipe({ ...source, value: applyParameters(source.value, parameters) }, parts);
  const first = sampler({ space: study.space, trial: 0, seed });
  if (first) recipeOf(first);

  const unlock = await lockFolder(folder);
  try {
    if (options.overwrite) await clear(folder);
    const journal = await openJournal(folder, base, study, seed);
    const sample = (trial: number) => (trial < study.trials ? sampler({ space: study.space, trial, seed }) : undefined);
    return await runTrials({ base, study, folder, journal, options, parts, sample, recipeOf });
  } finally {
    await unlock();
  }
}

interface StudyJob {
  base: ResolvedRecipe;
  study: Study;
  folder: string;
  journal: Journal;
  options: TuneOptions;
  parts: RecipeParts;
  sample: (trial: number) => Parameters | undefined;
  recipeOf: (parameters: Parameters) => ResolvedRecipe;
}

async function runTrials(job: StudyJob): Promise<TuneResult> {
  const { base, study, folder, journal, options, sample, recipeOf } = job;
  const tell = options.onProgress ?? (() => undefined);
  const known = new Map(journal.trials.map((trial) => [trial.trial, trial]));
  const total = countTrials(sample);
  tell({ type: 'study', name: base.name, folder, trials: total, finished: known.size });
  const trials: Trial[] = [];
  let best: Trial | undefined;
  let failure: unknown;
  for (let number = 0; number < total; number++) {
    const parameters = sample(number)!;
    let trial = known.get(number);
    if (!trial) {
      if (options.signal?.aborted) throw new WhittleError('ABORTED', `stopped before trial ${number + 1} of ${total}`);
      tell({ type: 'trial', trial: number, trials: total, parameters });
      try {
        trial = await runTrial(job, number, recipeOf(parameters), parameters);
      } catch (error) {
        if (!isTrialsOwn(error)) throw error;
        failure = error;
        trial = { trial: number, parameters, state: 'failed', error: (error as Error).message, seconds: 0 };
      }
      await journal.append(trial);
    }
    trials.push(trial);
    const better = trial.value !== undefined && (best?.value === undefined || isBetter(trial.value, best.value, study));
    if (better) best = trial;
    const { state, value, error } = trial;
    tell({
      type: 'trialEnd',
      trial: number,
      state,
      ...(value !== undefined && { value }),
      ...(error !== undefined && { error }),
      best: better,
    });
  }
  if (!best) throw failure ?? new WhittleError('BAD_RECIPE', `${folder}: every trial of the study failed`);
  const metric = study.metric ?? defaultMetric(base, best.metrics ?? {});
  const result = { folder, metric, best: { ...best, folder: trialFolder(folder, best.trial) }, trials };
  await writeFileWhole(join(folder, 'study.json'), `${JSON.stringify(result, null, 2)}\n`);
  return result;
}

async function runTrial(
  { base, study, folder, options, parts }: StudyJob,
  trial: number,
  recipe: ResolvedRecipe,
  parameters: Parameters,
): Promise<Trial> {
  const { signal, onProgress } = options;
  const started = performance.now();
  const run = () =>
    runRecipe(recipe, parts, {
      folder: trialFolder(folder, trial),
      signal,
      onProgress: onProgress && ((event) => onProgress({ type: 'run', trial, event })),
    });
  const { metrics } = await run();
  const value = valueOf(metrics, study.metric ?? defaultMetric(base, metrics));
  return { trial, parameters, state: 'finished', value, metrics, seconds: (performance.now() - started) / 1000 };
}

function trialFolder(folder: string, trial: number): string {
  return join(folder, 'trials', String(trial + 1).padStart(3, '0'));
}

function isBetter(value: number, best: number, { mode }: Study): boolean {
  return mode === 'max' ? value > best : value < best;
}

/** Whether an error is about the parameters of one trial, so that the study goes on. */
function isTrialsOwn(error: unknown): boolean {
  return error instanceof WhittleError && ['DIVERGED', 'BAD_OPTION', 'BAD_RECIPE', 'UNSUPPORTED'].includes(error.code);
}

function countTrials(sample: (trial: number) => Parameters | undefined): number {
  let count = 0;
  while (sample(count)) count++;
  return count;
}

/** The task's main score of the last step that has one on dev, else of the last step that has one. */
function defaultMetric(recipe: ResolvedRecipe, metrics: Record<string, Record<string, number>>): string {
  const { name } = mainMetric(recipe.task);
  const scored = recipe.steps.filter((step) => metrics[step.name]?.[name] !== undefined);
  const onTest = (options: unknown) => (options as { on?: string } | undefined)?.on === 'test';
  const step = scored.findLast(({ options }) => !onTest(options)) ?? scored.at(-1);
  if (step) return `${step.name}.${name}`;
  throw new WhittleError(
    'BAD_RECIPE',
    `study: expected a step that scores ${name} but found none; name a metric, such as evaluate.${name}`,
  );
}

function valueOf(metrics: Record<string, Record<string, number>>, metric: string): number {
  const dot = metric.indexOf('.');
  const value = metrics[metric.slice(0, dot)]?.[metric.slice(dot + 1)];
  if (value !== undefined) return value;
  const known = Object.entries(metrics).flatMap(([step, scores]) =>
    Object.keys(scores).map((name) => `${step}.${name}`),
  );
  throw new WhittleError(
    'BAD_RECIPE',
    `study: expected "metric" to be one of ${known.join(', ')} but found "${metric}"${didYouMean(metric, known)}`,
  );
}

/** Opens the folder's journal, whose first line must be of this very study. */
async function openJournal(folder: string, base: ResolvedRecipe, study: Study, seed: number): Promise<Journal> {
  await makeFolder(folder);
  const journal = await Journal.open(folder);
  const searched: Partial<Study> = { ...study, seed };
  delete searched.trials; // a study may be made longer
  const recipe = writtenRecipe(base);
  delete recipe.study;
  const heading = JSON.parse(JSON.stringify({ study: searched, recipe })) as Record<string, unknown>;
  if (journal.study === undefined) await journal.append(heading);
  else if (canonical(journal.study) !== canonical(heading)) {
    const changes = differences(journal.study, heading).slice(0, 5).join('; ');
    throw new WhittleError(
      'BAD_RECIPE',
      `${folder} holds another study, which differs in ${changes}; tune with overwrite to start anew, or under another name`,
    );
  }
  return journal;
}

async function clear(folder: string): Promise<void> {
  for (const name of ['journal.jsonl', 'study.json', 'trials']) {
    await rm(join(folder, name), { recursive: true, force: true });
  }
}
