/** Runs the steps of a resolved recipe one after the other, and keeps the run folder. */
import { readFile, readdir, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { WhittleError } from '../../bindings/errors.js';
import { writeError } from '../atomic.js';
import type { Dataset, Task } from '../data/dataset.js';
import { describeMachine } from '../report/machine.js';
import { makeReport, type Report, type StepReport } from '../report/report.js';
import { renderHtml } from '../report/html.js';
import type { OnStep, ProgressEvent, StepContext } from '../step.js';
import { findTraining, placeOf, removeTraining, type SavedTraining } from '../training/training-checkpoint.js';
import { checkSteps } from './check.js';
import { differences, hashInputs, hashSteps, type InputHashes } from './compare.js';
import { lockFolder } from './lock.js';
import type { RecipeParts } from './parts.js';
import { RunFolder, type FinishedStep } from './run-folder.js';
import { writtenRecipe, type ResolvedRecipe, type ResolvedStep } from './schema.js';
import { recipeFromObject, type RecipeSource } from './source.js';

/** What a run tells while it goes on. */
export type RunEvent =
  | { type: 'run'; name: string; task: Task; folder: string; steps: string[]; machine: string }
  | { type: 'step'; step: string; index: number; steps: number }
  /** Something worth knowing, such as a finished step that has to run again. */
  | { type: 'note'; message: string }
  | ({ type: 'progress' } & ProgressEvent)
  | { type: 'stepEnd'; step: string; metrics: Record<string, number>; seconds: number; reused: boolean }
  | { type: 'end'; folder: string; seconds: number };

/** How `run` runs a recipe; nothing of it changes a result. */
export interface RunOptions {
  /** Where everything is written; `runs/<name>` in the current folder unless given. */
  folder?: string | undefined;
  onProgress?: ((event: RunEvent) => void) | undefined;
  /** Sees each step of every training, and may end its stage: see OnStep. */
  onStep?: OnStep | undefined;
  /** Stops the run: the step at work ends soon, leaves nothing half-written, and `run` rejects with `ABORTED`. */
  signal?: AbortSignal | undefined;
  /** Keep the finished steps of an earlier run in this folder (the default), or refuse a folder that has some. */
  resume?: boolean | undefined;
  /** Throw away the training checkpoints of steps that are not finished, so that they start anew. */
  restart?: boolean | undefined;
  /** Throw away what an earlier run left in the folder. */
  overwrite?: boolean | undefined;
}

/** What `run` leaves behind. Paths are absolute. */
export interface RunResult {
  folder: string;
  /** The last step's checkpoint. */
  checkpoint: string;
  /** Checkpoint of every step, by the step's name. */
  checkpoints: Record<string, string>;
  /** Scores of every step, by the step's name. */
  metrics: Record<string, Record<string, number>>;
  report: Report;
  /** Path of report.html. */
  reportFile: string;
}

/**
 * @param source of the recipe, for the lines of mistakes.
 * @throws WhittleError of the step that failed; `BAD_RECIPE` if the folder holds finished steps of another recipe, or for options
 *   that do not go with the models.
 */
export async function runRecipe(
  recipe: ResolvedRecipe,
  parts: RecipeParts,
  options: RunOptions = {},
  source: RecipeSource = recipeFromObject(undefined),
): Promise<RunResult> {
  const folder = new RunFolder(resolve(options.folder ?? join('runs', recipe.name)));
  const unlock = await lockFolder(folder.path);
  try {
    return await runLocked(recipe, parts, options, folder, source);
  } catch (error) {
    throw writeError(error, folder.path);
  } finally {
    await unlock();
  }
}

async function runLocked(
  recipe: ResolvedRecipe,
  parts: RecipeParts,
  options: RunOptions,
  folder: RunFolder,
  source: RecipeSource,
): Promise<RunResult> {
  const started = performance.now();
  const tell = options.onProgress ?? (() => undefined);
  const machine = describeMachine();
  await folder.checkIsRun();
  await folder.tidy();
  const data = await loadData(recipe, parts, source);
  await checkSteps(recipe, parts, data, source);
  const inputs = await hashInputs(recipe, data);
  const hashes = hashSteps(recipe, parts, inputs);
  if (options.overwrite) await folder.clear();
  const { finished, notes } = await readFinished(folder, recipe, hashes, inputs, options);
  const trainings = await findTrainings(folder, recipe, hashes, inputs, finished.length, options, notes);
  await folder.writeRecipe(recipe, inputs);
  await folder.writeSplits(data);
  await folder.keepMetrics(
    new Map([
      ...finished.map(({ name }): [string, number] => [name, Infinity]),
      ...[...trainings].map(([name, { records }]): [string, number] => [name, records]),
    ]),
  );

  tell({
    type: 'run',
    name: recipe.name,
    task: recipe.task,
    folder: folder.path,
    steps: recipe.steps.map((step) => step.name),
    machine,
  });
  for (const message of notes) tell({ type: 'note', message });
  const checkpoints = new Map<string, string>();
  const reports: StepReport[] = [];
  let checkpoint = recipe.model;
  for (const [index, step] of recipe.steps.entries()) {
    tell({ type: 'step', step: step.name, index, steps: recipe.steps.length });
    const reused = index < finished.length;
    const input = checkpoint;
    const done =
      finished[index] ??
      (await runStep({
        recipe,
        step,
        parts,
        options,
        folder,
        data,
        inputs,
        checkpoint,
        checkpoints,
        hash: hashes[index]!,
        secondsBefore: trainings.get(step.name)?.seconds ?? 0,
      }));
    checkpoint = done.checkpoint;
    checkpoints.set(step.name, checkpoint);
    reports.push({
      ...done,
      reused,
      ...(await weighCheckpoint(checkpoint)),
      from: nameOfCheckpoint(input, checkpoints),
    });
    tell({ type: 'stepEnd', step: step.name, metrics: done.metrics, seconds: done.seconds, reused });
  }

  const earlier = finished.reduce((sum, step) => sum + step.seconds, 0);
  const seconds = (performance.now() - started) / 1000 + earlier;
  const report = makeReport({ name: recipe.name, task: recipe.task, machine, seconds, steps: reports });
  await folder.writeReport(report, renderHtml(report, writtenRecipe(recipe)));
  tell({ type: 'end', folder: folder.path, seconds });
  return {
    folder: folder.path,
    checkpoint,
    checkpoints: Object.fromEntries(checkpoints),
    metrics: Object.fromEntries(reports.map((step) => [step.name, step.metrics])),
    report,
    reportFile: join(folder.path, 'report.html'),
  };
}

/** A mistake in the options of the data gets its line. */
async function loadData(recipe: ResolvedRecipe, parts: RecipeParts, source: RecipeSource): Promise<Dataset> {
  try {
    return await parts.data.load(recipe.data, recipe.task, recipe.seed);
  } catch (error) {
    if (!(error instanceof WhittleError) || error.code !== 'BAD_OPTION') throw error;
    throw new WhittleError('BAD_RECIPE', source.place(['data']) + error.message, { cause: error });
  }
}

interface StepJob {
  recipe: ResolvedRecipe;
  step: ResolvedStep;
  parts: RecipeParts;
  options: RunOptions;
  folder: RunFolder;
  data: Dataset;
  inputs: InputHashes;
  checkpoint: string;
  checkpoints: ReadonlyMap<string, string>;
  hash: string;
  /** That earlier processes spent on the step's training, as far as it is kept. */
  secondsBefore: number;
}

async function runStep(job: StepJob): Promise<FinishedStep> {
  const { recipe, step, options, folder } = job;
  const { signal, onProgress, onStep } = options;
  if (signal?.aborted)
    throw new WhittleError('ABORTED', `stopped before step "${step.name}"; the same command goes on from there`);
  const stopped = async () => {
    if (!signal?.aborted) return;
    const { saved } = await findTraining(folder.trainingFolder(step.name));
    throw new WhittleError(
      'ABORTED',
      saved
        ? `stopped in step "${step.name}" after ${placeOf(saved.progress)}; the same command goes on from there`
        : `stopped in step "${step.name}"; the same command goes on from this step`,
    );
  };
  await folder.clearStep(step.name);
  const context: StepContext = {
    data: job.data,
    task: recipe.task,
    seed: recipe.seed,
    folder: folder.stepFolder(step.name),
    checkpoints: job.checkpoints,
    threads: recipe.threads,
    hash: job.hash,
    log: (record) => folder.appendMetrics({ step: step.name, time: new Date().toISOString(), ...record }),
    ...(signal && { signal }),
    ...(onStep && { onStep: (event) => onStep({ ...event, recipeStep: step.name }) }),
    ...(onProgress && {
      onProgress: (event: ProgressEvent) => onProgress({ ...event, type: 'progress', step: step.name }),
      onNote: (message: string) => onProgress({ type: 'note', message: `${step.name}: ${message}` }),
    }),
  };
  const started = performance.now();
  const result = await job.parts.steps[step.kind]!.run(job.checkpoint, step.options, context).catch(
    async (error: unknown) => {
      await stopped();
      throw error;
    },
  );
  const seconds = job.secondsBefore + (performance.now() - started) / 1000;
  const finished = await folder.writeStep({
    ...{ name: step.name, kind: step.kind, hash: job.hash, inputs: job.inputs, seconds },
    ...result,
  });
  await removeTraining(folder.trainingFolder(step.name));
  return finished;
}

/** The leading steps that an earlier run finished and that need not run again, and why the next one must. */
async function readFinished(
  folder: RunFolder,
  recipe: ResolvedRecipe,
  hashes: string[],
  inputs: InputHashes,
  { resume = true }: RunOptions,
): Promise<{ finished: FinishedStep[]; notes: string[] }> {
  const finished: FinishedStep[] = [];
  const notes: string[] = [];
  for (const [index, { name }] of recipe.steps.entries()) {
    const { step, damage } = await folder.readStep(name);
    if (step && step.hash !== hashes[index]) throw await changedRecipe(folder, recipe, index, step, inputs);
    if (damage) notes.push(`step "${name}" was finished and runs again, with those after it: ${damage}`);
    if (!step || damage) break;
    finished.push(step);
  }
  if (!resume && finished.length > 0) {
    throw new WhittleError(
      'BAD_OPTION',
      `${folder.path}: expected no earlier run but found the finished step "${finished[0]!.name}"; ` +
        'allow resuming it, overwrite it, or give the run another name',
    );
  }
  return { finished, notes };
}

/**
 * The training checkpoints that unfinished steps go on from, by step.
 * @throws WhittleError `BAD_RECIPE` if one is of another recipe, unless the steps are to start anew.
 */
async function findTrainings(
  folder: RunFolder,
  recipe: ResolvedRecipe,
  hashes: string[],
  inputs: InputHashes,
  finished: number,
  { restart, resume = true }: RunOptions,
  notes: string[],
): Promise<Map<string, SavedTraining>> {
  const trainings = new Map<string, SavedTraining>();
  for (const [index, { name }] of recipe.steps.entries()) {
    const place = folder.trainingFolder(name);
    if (index < finished || restart) {
      await removeTraining(place);
      continue;
    }
    const found = await findTraining(place);
    notes.push(...found.notes);
    const { saved } = found;
    if (!saved) continue;
    const where = `step "${name}" after ${placeOf(saved.progress)}`;
    if (saved.hash !== hashes[index]) {
      const changes = await changesUpTo(folder, recipe, index, await folder.readInputs(), inputs);
      throw new WhittleError(
        'BAD_RECIPE',
        `${folder.path} holds a training checkpoint of ${where}, of another recipe, which differs in ${changes}; ` +
          'undo the change to go on from it, or run with restart to start the step anew',
      );
    }
    if (!resume) {
      throw new WhittleError(
        'BAD_OPTION',
        `${folder.path}: expected no earlier run but found a training checkpoint of ${where}; ` +
          'allow resuming it, restart the step, overwrite the run, or give it another name',
      );
    }
    notes.push(`goes on from the training checkpoint of ${where}`);
    trainings.set(name, saved);
  }
  return trainings;
}

async function changedRecipe(
  folder: RunFolder,
  recipe: ResolvedRecipe,
  index: number,
  found: FinishedStep,
  inputs: InputHashes,
): Promise<WhittleError> {
  const changes = await changesUpTo(folder, recipe, index, found.inputs, inputs);
  return new WhittleError(
    'BAD_RECIPE',
    `${folder.path} holds the finished step "${found.name}" of another recipe, which differs in ${changes}; ` +
      'run with overwrite to start anew, or under another name',
  );
}

/** What differs between this recipe and the one that the folder was written by, up to the step at `index`. */
async function changesUpTo(
  folder: RunFolder,
  recipe: ResolvedRecipe,
  index: number,
  inputsThen: Partial<InputHashes>,
  inputsNow: InputHashes,
): Promise<string> {
  const then = comparable(await folder.readRecipe(), index);
  const now = comparable(writtenRecipe(recipe), index);
  const changes = differences(then, now).filter((change) => !/\.checkpoint[.:]/.test(change));
  if (isOther(inputsThen.model, inputsNow.model) && then.model === now.model) changes.push('the files of the model');
  if (isOther(inputsThen.data, inputsNow.data)) changes.push('the rows of the data');
  return changes.slice(0, 5).join('; ') || 'its steps';
}

function isOther(then: string | undefined, now: string): boolean {
  return then !== undefined && then !== now;
}

/** The parts of a written recipe that the result of the step at `index` depends on. */
function comparable(recipe: unknown, index: number): Record<string, unknown> {
  const copy = JSON.parse(JSON.stringify(recipe ?? {})) as Record<string, unknown>;
  for (const key of ['name', 'threads', 'study']) delete copy[key];
  if (Array.isArray(copy.steps)) copy.steps = copy.steps.slice(0, index + 1);
  return copy;
}

/** Bytes of a checkpoint's files, and how its weights are stored. */
async function weighCheckpoint(folder: string): Promise<{ bytes: number; precision: string }> {
  let bytes = 0;
  for (const name of await readdir(folder)) {
    if (name === 'step.json' || name.startsWith('.')) continue;
    const found = await stat(join(folder, name));
    if (found.isFile()) bytes += found.size;
  }
  const text = await readFile(join(folder, 'config.json'), 'utf8').catch(() => '{}');
  const config = JSON.parse(text) as { quantization_config?: unknown; dtype?: string; torch_dtype?: string };
  return { bytes, precision: config.quantization_config ? 'int8' : (config.dtype ?? config.torch_dtype ?? 'float32') };
}

/** Which step made a checkpoint; `model` if none did. */
function nameOfCheckpoint(folder: string, checkpoints: ReadonlyMap<string, string>): string {
  for (const [name, path] of checkpoints) if (path === folder) return name;
  return 'model';
}
