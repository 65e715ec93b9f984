/** Types that every step of a recipe shares. A leaf: it imports nothing of whittle's but types. */
import type { Dataset, Task } from './data/dataset.js';

/** What a step tells while it runs. Numbers that do not apply are absent. */
export interface ProgressEvent {
  /** Which step of the recipe this is, e.g. `finetune`. */
  step: string;
  /** What it is doing now, e.g. `stage 2 of 3 (layers.4-5, head)`. */
  phase: string;
  /** Units of work done and to do in this phase. */
  done: number;
  total: number;
  /** What a unit is: `step`, `sequence`, `tensor`. */
  unit: string;
  loss?: number;
  learningRate?: number;
  tokensPerSecond?: number;
  secondsLeft?: number;
  /** Dev or test scores, when they were just measured. */
  metrics?: Record<string, number>;
}

export interface StepContext {
  data: Dataset;
  task: Task;
  /** Source of all randomness of the step. */
  seed: number;
  /** Folder that the step owns; its checkpoint is written here, whole or not at all. */
  folder: string;
  /** Checkpoints of earlier steps by name, for teachers. */
  checkpoints: ReadonlyMap<string, string>;
  /** Threads of native work; 0 is the machine's default. */
  threads: number;
  onProgress?: (event: ProgressEvent) => void;
  signal?: AbortSignal;
  /** Appends one record to the run's metrics.jsonl. */
  log: (record: Record<string, unknown>) => void;
}

/** What a step leaves behind. */
export interface StepResult {
  /** Folder of the checkpoint that the next step starts from; the input's folder if the step changed none. */
  checkpoint: string;
  /** Scores, by name: `accuracy`, `macroF1`, ... */
  metrics: Record<string, number>;
  /** What was done, as plain JSON for the report: per-stage curves, sparsity per tensor, ... */
  record: Record<string, unknown>;
}
