/** What a run did, as the JSON of report.json. */
import type { Task } from '../data/dataset.js';

/** One step of a run. */
export interface StepReport {
  name: string;
  kind: string;
  seconds: number;
  /** Whether an earlier run had finished it already. */
  reused: boolean;
  metrics: Record<string, number>;
  /** What the step recorded of itself. */
  record: Record<string, unknown>;
  /** Step that made the checkpoint this one started from; `model` for the recipe's model. */
  from: string;
  /** Of the checkpoint that the step left: all its files, and how its weights are stored. */
  bytes: number;
  precision: string;
}

/** One evaluated checkpoint: a row of the table that a run ends with. */
export interface ModelReport {
  /** Step that made it. */
  name: string;
  /** `float32`, `int8`, ... */
  precision: string;
  /** Of classes, and where a whole answer is right or wrong. */
  accuracy?: number;
  macroF1?: number;
  /** Of entities and of several labels, over all of them. */
  f1?: number;
  /** All scores of the evaluation by name. */
  scores: Record<string, number>;
  bytes: number;
  textsPerSecond?: number;
  /** Split it was evaluated on. */
  on: string;
}

/** What report.json of a run holds. */
export interface Report {
  name: string;
  task: Task;
  machine: string;
  seconds: number;
  finishedAt: string;
  models: ModelReport[];
  steps: StepReport[];
}

/** Puts together what the steps left behind. */
export function makeReport(run: {
  name: string;
  task: Task;
  machine: string;
  seconds: number;
  steps: StepReport[];
}): Report {
  return { ...run, finishedAt: new Date().toISOString(), models: run.steps.filter(isEvaluation).map(modelReport) };
}

function isEvaluation(step: StepReport): boolean {
  return step.kind === 'evaluate';
}

function modelReport({ from, precision, bytes, metrics, record }: StepReport): ModelReport {
  const { textsPerSecond, ...scores } = metrics;
  const { accuracy, macroF1, f1 } = scores;
  return {
    name: from,
    precision,
    ...(accuracy !== undefined && { accuracy }),
    ...(macroF1 !== undefined && { macroF1 }),
    ...(f1 !== undefined && { f1 }),
    scores,
    bytes,
    ...(textsPerSecond !== undefined && { textsPerSecond }),
    on: typeof record.on === 'string' ? record.on : 'test',
  };
}
