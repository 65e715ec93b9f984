/**
 * All that a run of stages depends on between two steps, beside its options and data: plain JSON and named arrays. A
 * run that starts from a state ends with the same weights, bit for bit, as the one that it was captured from.
 */
import type { CurveRemainder } from './loss-curve.js';
import type { WatchState } from './early-stopping.js';
import type { StageRecord } from './train.js';
import type { AverageState } from './weight-average.js';

export interface TrainingState {
  /** JSON. */
  progress: TrainingProgress;
  /**
   * By name: `weights/PARAMETER` of what trained so far, `good/PARAMETER` of the state to go back to,
   * `average/PARAMETER` of the moving average, `optimizer/ARRAY/PARAMETER`. Of `embeddings.word` only the rows in use are there.
   */
  tensors: Map<string, Float32Array>;
}

/** The part of a state that is JSON. */
export interface TrainingProgress {
  /** 0-based stage that is at work. */
  stage: number;
  /** Its steps that are done. */
  step: number;
  /** Batches that went through the model in training, over all stages: where the dropout counter is. */
  passes: number;
  /** Loss of the last step, if the evaluation that follows it is still to be made. */
  evaluationDue?: number;
  /** True if the stage is to end at this step, though it has more. */
  ended: boolean;
  /** Of the stages before. */
  finished: StageRecord[];
  /** Of the stage at work, so far. */
  record: StageRecord;
  curve: CurveRemainder;
  /** Early stopping. */
  watch?: WatchState;
  /** Of the moving average of the weights. */
  average?: AverageState;
  /** Updates of each parameter so far. */
  updates: Record<string, number>;
  /** Of the snapshot to go back to. */
  good: { step: number; missedDecay: number };
  /** What the words that are not in use have missed. */
  missedDecay: number;
}

/** The arrays of a state under `prefix/`, by the rest of their names. */
export function tensorsUnder(state: TrainingState, prefix: string): Map<string, Float32Array> {
  const found = new Map<string, Float32Array>();
  for (const [name, values] of state.tensors)
    if (name.startsWith(`${prefix}/`)) found.set(name.slice(prefix.length + 1), values);
  return found;
}
