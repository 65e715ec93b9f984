/** Runs a recipe again and again with other values, and finds the best. */
import { readdir, rm } from 'node:fs/promises';
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
import { mainMetric } from '../report/metrics.js';
import { Journal, type Trial } from './journal.js';
import { samplers } from './samplers.js';
import { applyParameters, type Parameters } from './space.js';

/** What a study tells while it goes on: its own events, and those of the trial at work. */
export type TuneEvent =
  | { type: 'study'; name: string; folder: string; trials: number; finished: number }
  | { type: 'note'; message: string }
  | { type: 'trial'; trial: number; trials: number; parameters: Parameters }
  | { type: 'trialEnd'; trial: number; state: Trial['state']; value?: number; error?: string; best: boolean }
  | { type: 'run'; trial: number; event: RunEvent };

/** How `tune` runs a study; nothing of it changes a result. */
export interface TuneOptions {
  /** Where journal and trials are written; `runs/<name>-study` in the current folder unless given. */
  folder?: string | undefined;
  onProgress?: ((event: TuneEvent) => void) | undefined;
  signal?: AbortSignal | undefined;
  /** Throw away what an earlier study left in the folder. */
  overwrite?: boolean | undefined;
}

/** What a study found. */
export interface TuneResult {
  folder: string;
  /** `step.metric` that was sought. */
  metric: string;
  best: Trial & { folder: string };
  trials: Trial[];
}

/**
 * Goes through the trials of the recipe's `study`. Trials that the folder's journal holds are not repeated. Unless the
 * study keeps all checkpoints, those of a trial are removed once another is better; its scores and report stay.
 * @throws WhittleError `BAD_RECIPE` for a recipe without a study, a space that names no field, or a folder that holds
 *   another study; `BAD_DATA` for a damaged journal; `ABORTED`; `IO`; the last trial's error if every trial failed.
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
  checkMetric(base, study, source);
  const folder = resolve(options.folder ?? join('runs', `${base.name}-study`));
  const seed = study.seed ?? base.seed;
  const place = (field: string) => source.place(['study', 'space', field]);
  const sourceOf = (parameters: Parameters): RecipeSource => ({
    ...source,
    value: applyParameters(source.value, parameters, place),
    place: placeInSpace(source, parameters),
  });
  const sample = (trial: number) =>
    trial < study.trials ? sampler({ space: study.space, trial, seed, place }) : undefined;
  const first = sample(0);
  if (first) resolveRecipe(sourceOf(first), parts);

  const unlock = await lockFolder(folder);
  try {
    if (options.overwrite) await clear(folder);
    const journal = await openJournal(folder, base, study, seed);
    return await runTrials({ base, study, source, folder, journal, options, parts, sample, sourceOf });
  } finally {
    await unlock();
  }
}

interface StudyJob {
  base: ResolvedRecipe;
  study: Study;
  source: RecipeSource;
  folder: string;
  journal: Journal;
  options: TuneOptions;
  parts: RecipeParts;
  sample: (trial: number) => Parameters | undefined;
  sourceOf: (parameters: Parameters) => RecipeSource;
}

async function runTrials(job: StudyJob): Promise<TuneResult> {
  const { base, study, folder, journal, options, sample, sourceOf } = job;
  const tell = options.onProgress ?? (() => undefined);
  const known = new Map(journal.trials.map((trial) => [trial.trial, trial]));
  const total = countTrials(sample);
  tell({ type: 'study', name: base.name, folder, trials: total, finished: known.size });
  if (journal.note) tell({ type: 'note', message: journal.note });
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
        trial = await runTrial(job, number, sourceOf(parameters), parameters);
      } catch (error) {
        if (!isTrialsOwn(error)) throw error;
        failure = error;
        trial = { trial: number, parameters, state: 'failed', error: (error as Error).message, seconds: 0 };
      }
      await journal.append(trial);
    }
    trials.push(trial);
    const better = trial.value !== undefined && (best?.value === undefined || isBetter(trial.value, best.value, study));
    const worse = better ? best : trial;
    if (better) best = trial;
    if (worse && study.keepCheckpoints === 'best') await dropCheckpoints(trialFolder(folder, worse.trial));
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

async function runTrial(job: StudyJob, trial: number, source: RecipeSource, parameters: Parameters): Promise<Trial> {
  const { folder, options, parts } = job;
  const { signal, onProgress } = options;
  const started = performance.now();
  const runOptions = {
    folder: trialFolder(folder, trial),
    signal,
    onProgress: onProgress && ((event: RunEvent) => onProgress({ type: 'run', trial, event })),
  };
  const { metrics } = await runRecipe(resolveRecipe(source, parts), parts, runOptions, source);
  const seconds = (performance.now() - started) / 1000;
  const { metric, value } = valueOf(job, metrics);
  if (!Number.isFinite(value)) {
    return { trial, parameters, state: 'failed', metrics, error: `${metric} is ${value}`, seconds };
  }
  return { trial, parameters, state: 'finished', value, metrics, seconds };
}

/** Removes what the steps of a trial's run left but their records; recipe, scores and report of the run stay. */
async function dropCheckpoints(runFolder: string): Promise<void> {
  const entries = await readdir(runFolder, { withFileTypes: true }).catch(() => []);
  for (const step of entries.filter((entry) => entry.isDirectory())) {
    for (const name of await readdir(join(runFolder, step.name))) {
      if (name !== 'step.json') await rm(join(runFolder, step.name, name), { recursive: true, force: true });
    }
  }
}

function trialFolder(folder: string, trial: number): string {
  return join(folder, 'trials', String(trial + 1).padStart(3, '0'));
}

function isBetter(value: number, best: number, { mode }: Study): boolean {
  return mode === 'max' ? value > best : value < best;
}

/** Whether an error is about the parameters of one trial, so that the study goes on. */
function isTrialsOwn(error: unknown): boolean {
  if (error instanceof WrongMetric) return false;
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

/** A metric that no trial has. */
class WrongMetric extends WhittleError {}

/** Refuses a metric of a step that the recipe lacks before anything runs. */
function checkMetric({ steps }: ResolvedRecipe, { metric }: Study, source: RecipeSource): void {
  const step = metric?.slice(0, metric.indexOf('.'));
  const names = steps.map(({ name }) => name);
  if (step === undefined || names.includes(step)) return;
  throw new WhittleError(
    'BAD_RECIPE',
    `${source.place(['study', 'metric'])}study.metric: expected a metric of one of the steps ${names.join(', ')} ` +
      `but found "${metric}"${didYouMean(step, names)}`,
  );
}

function valueOf(
  { study, base, source }: StudyJob,
  metrics: Record<string, Record<string, number>>,
): { metric: string; value: number } {
  const metric = study.metric ?? defaultMetric(base, metrics);
  const dot = metric.indexOf('.');
  const value = metrics[metric.slice(0, dot)]?.[metric.slice(dot + 1)];
  if (value !== undefined) return { metric, value };
  const known = Object.entries(metrics).flatMap(([step, scores]) =>
    Object.keys(scores).map((name) => `${step}.${name}`),
  );
  throw new WrongMetric(
    'BAD_RECIPE',
    `${source.place(['study', 'metric'])}study.metric: expected one of ${known.join(', ')} but found "${metric}"` +
      didYouMean(metric, known),
  );
}

/**
 * The recipe as written has been checked, so that a mistake in a trial's recipe lies in the study's space: at the field
 * with the name of the mistaken key, or at the space as a whole.
 */
function placeInSpace(source: RecipeSource, parameters: Parameters): RecipeSource['place'] {
  return (path) => {
    const key = String(path.at(-1));
    const fields = Object.keys(parameters).filter((field) => field.split('.').at(-1) === key);
    return source.place(['study', 'space', ...(fields.length === 1 ? fields : [])]);
  };
}

/** Opens the folder's journal, whose first line must be of this very study. */
async function openJournal(folder: string, base: ResolvedRecipe, study: Study, seed: number): Promise<Journal> {
  await makeFolder(folder);
  const journal = await Journal.open(folder);
  const searched: Partial<Study> = { ...study, seed };
  delete searched.trials; // a study may be made longer
  delete searched.keepCheckpoints;
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
