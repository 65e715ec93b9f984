/**
 * Training checkpoints: a training state as a folder that appears whole or not at all, `state.json` and
 * `state.safetensors`. They lie beside the folder of the step that they belong to, since that one appears whole too.
 */
import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { z } from 'zod';
import { WhittleError } from '../../bindings/errors.js';
import { native } from '../../bindings/load.js';
import { removeAsides, writeFolderWhole } from '../atomic.js';
import { makeHeader, readHeader } from '../models/safetensors.js';
import type { TrainingProgress, TrainingState } from './training-state.js';

/** A training checkpoint that was found on the disk. */
export interface SavedTraining {
  folder: string;
  /** Tells what the training depends on: a state goes on only where this is the same. */
  hash: string;
  /** That the step had taken so far, over all its processes. */
  seconds: number;
  /** Records that the step had written to metrics.jsonl. */
  records: number;
  progress: TrainingProgress;
}

/** Folder of the training checkpoints of the step that writes `stepFolder`. */
export function trainingFolder(stepFolder: string): string {
  return `${resolve(stepFolder)}.training`;
}

/** `stage 2, step 120` */
export function placeOf({ stage, step }: Pick<TrainingProgress, 'stage' | 'step'>): string {
  return `stage ${stage + 1}, step ${step}`;
}

/**
 * Writes a training checkpoint and removes all but the newest `keep`.
 * @param state whose arrays must not change before the promise resolves.
 * @throws WhittleError IO; nothing partial is left, and the checkpoints before stay.
 */
export async function saveTraining(
  folder: string,
  state: TrainingState,
  about: Pick<SavedTraining, 'hash' | 'seconds' | 'records'>,
  keep: number,
): Promise<void> {
  const { stage, step } = state.progress;
  await writeFolderWhole(join(folder, `stage-${stage + 1}-step-${step}`), async (aside) => {
    const tensors = [...state.tensors].map(([name, data]) => ({
      ...{ name, data, shape: [data.length] },
      dtype: 'F32' as const,
    }));
    await native.writeTensors(join(aside, 'state.safetensors'), makeHeader(tensors), tensors);
    await writeFile(join(aside, 'state.json'), JSON.stringify({ ...about, progress: state.progress }));
  });
  for (const { name } of (await listCheckpoints(folder)).slice(keep))
    await rm(join(folder, name), { recursive: true, force: true });
}

/**
 * The newest training checkpoint of a folder that is whole.
 * @returns what was found, and what is wrong with newer ones.
 */
export async function findTraining(folder: string): Promise<{ saved?: SavedTraining; notes: string[] }> {
  const notes: string[] = [];
  for (const { name } of await listCheckpoints(folder)) {
    try {
      return { saved: await readSaved(join(folder, name)), notes };
    } catch (error) {
      notes.push(`the training checkpoint ${join(folder, name)} is damaged and left out: ${(error as Error).message}`);
    }
  }
  return { notes };
}

/** The state that a training checkpoint holds. */
export async function loadTraining({ folder, progress }: SavedTraining): Promise<TrainingState> {
  const stored = [...(await readHeader(join(folder, 'state.safetensors'))).values()];
  const arrays = await native.readParameters(stored.map((tensor) => ({ tensor })));
  return { progress, tensors: new Map(stored.map(({ name }, index) => [name, arrays[index]!])) };
}

/** Removes the training checkpoints of a step, and what a killed process left of one. */
export async function removeTraining(folder: string): Promise<void> {
  await rm(folder, { recursive: true, force: true });
}

/** Removes what killed processes left of training checkpoints. Nobody may be writing there. */
export async function tidyTraining(folder: string): Promise<void> {
  await removeAsides(folder);
}

const savedSchema = z.looseObject({
  hash: z.string(),
  seconds: z.number(),
  records: z.int(),
  progress: z.looseObject({ stage: z.int().min(0), step: z.int().min(0), record: z.looseObject({}) }),
});

async function readSaved(folder: string): Promise<SavedTraining> {
  const file = join(folder, 'state.json');
  const parsed = savedSchema.safeParse(JSON.parse(await readFile(file, 'utf8')));
  if (!parsed.success) throw new WhittleError('BAD_CHECKPOINT', `${file}: expected the state of a training`);
  await readHeader(join(folder, 'state.safetensors')); // checked against the length of the file
  return { ...(parsed.data as unknown as Omit<SavedTraining, 'folder'>), folder };
}

/** The folders of checkpoints, newest first. */
async function listCheckpoints(folder: string): Promise<{ name: string }[]> {
  const names = await readdir(folder).catch((): string[] => []);
  return names
    .flatMap((name) => {
      const found = /^stage-(\d+)-step-(\d+)$/.exec(name);
      return found ? [{ name, stage: Number(found[1]), step: Number(found[2]) }] : [];
    })
    .sort((a, b) => b.stage - a.stage || b.step - a.step);
}
