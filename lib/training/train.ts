/** The training loop: stages, one after the other. */
import { setImmediate } from 'node:timers/promises';
import * as tf from '@tensorflow/tfjs-core';
import { WhittleError } from '../../bindings/errors.js';
import { raggedBatch, type Example } from '../data/batch.js';
import type { ParameterName } from '../models/description.js';
import type { ProgressEvent } from '../step.js';
import { createAdamW, type AdamW } from './adamw.js';
import { evaluateExamples, type DevMetrics } from './dev.js';
import { ImprovementWatch } from './early-stopping.js';
import { lowestDepth, type Pass } from './encoder.js';
import { FrozenCache } from './frozen-cache.js';
import type { TrainableModel } from './model.js';
import { hardLabels, type Objective, type TrainingBatch } from './objective.js';
import { generator, shuffledIndices } from './random.js';
import { scheduleFactor } from './schedule.js';
import { Snapshot } from './snapshot.js';
import { stageName, trainedParameters, type Stage } from './stages.js';

export type { DevMetrics } from './dev.js';
export type { Objective, TrainingBatch } from './objective.js';

export interface TrainOptions {
  stages: readonly Stage[];
  trainExamples: readonly Example[];
  /** Without any, no stage may stop early. */
  devExamples: readonly Example[];
  /**
   * Scores the dev examples from their logits, one array an example: `[labels]`, or `[tokens, labels]`. `loss`, the
   * mean cross-entropy, is there without it.
   */
  evaluateDev?: DevMetrics;
  /** Sequences a step, unless the stage says otherwise. */
  batchSize: number;
  seed: number;
  /** Cross-entropy against the batch's labels by default. */
  objective?: Objective;
  /** Where a mask is 0, its parameter is held at 0 throughout. */
  masks?: ReadonlyMap<ParameterName, Uint8Array>;
  /** Name of the recipe step in progress events; `finetune` by default. */
  step?: string;
  onProgress?: (event: ProgressEvent) => void;
  signal?: AbortSignal;
  /** Takes one record a stage's evaluation, for metrics.jsonl. */
  log?: (record: Record<string, unknown>) => void;
}

/** What one stage did. */
export interface StageRecord {
  train: string;
  steps: number;
  epochs: number;
  tokens: number;
  /** Of training steps alone, and with evaluations and the computing of frozen outputs. */
  trainingSeconds: number;
  seconds: number;
  tokensPerSecond: number;
  /** Mean loss over runs of steps, at most 200 of them. */
  curve: { step: number; loss: number; learningRate: number }[];
  evaluations: { step: number; epoch: number; metrics: Record<string, number> }[];
  stoppedEarly: boolean;
  /** The evaluation whose weights the stage ended with: the best with early stopping, else the last. */
  kept: { step: number; metrics: Record<string, number> } | undefined;
}

export interface TrainResult {
  stages: StageRecord[];
  /** Dev metrics of the weights that the last stage ended with. */
  metrics: Record<string, number>;
}

/**
 * Trains a model through its stages in place.
 *
 * Frozen parameters cost nothing: layers below the lowest trained one are run once an example and their outputs kept,
 * with dropout off. The same seed on the same machine gives the same weights, bit for bit.
 *
 * @throws WhittleError BAD_OPTION for a stage that trains nothing or names layers that the model lacks; BAD_DATA
 *   without training examples or for labels outside the head's; DIVERGED when the loss or gradient is no longer finite,
 *   naming step and learning rate (the model is then as at its last evaluation, or as the stage began); ABORTED.
 * @example
 * const model = new TrainableModel({ description, head, parameters, seed: 13 });
 * const stages = [stageSchema.parse({ train: 'all', epochs: 3, learningRate: 2e-4 })];
 * const result = await trainStages(model, { stages, trainExamples, devExamples, batchSize: 32, seed: 13 });
 * result.metrics.loss;
 */
export async function trainStages(model: TrainableModel, options: TrainOptions): Promise<TrainResult> {
  const { stages, trainExamples, devExamples } = options;
  checkExamples(model, trainExamples);
  const trainedByStage = stages.map((stage) => trainedParameters(stage, model.parameters.keys(), model.description));
  if (trainedByStage.some((trained) => trained.has('embeddings.word')))
    model.restrictVocabulary([...trainExamples, ...devExamples].map(({ inputIds }) => inputIds));
  try {
    const records: StageRecord[] = [];
    let stepsBefore = 0;
    for (const [index, stage] of stages.entries()) {
      const record = await new StageRun(model, options, stage, trainedByStage[index]!, index, stepsBefore).run();
      stepsBefore += record.steps;
      records.push(record);
    }
    return { stages: records, metrics: records.at(-1)?.kept?.metrics ?? {} };
  } finally {
    model.releaseVocabulary();
  }
}

/** One stage on its way. */
class StageRun {
  readonly #model: TrainableModel;
  readonly #options: TrainOptions;
  readonly #stage: Stage;
  readonly #trained: ReadonlySet<ParameterName>;
  readonly #index: number;
  readonly #stepsBefore: number;
  readonly #batchSize: number;
  readonly #batchesPerEpoch: number;
  readonly #steps: number;
  readonly #pass: Omit<Pass, 'step'>;
  readonly #objective: Objective;
  readonly #watch: ImprovementWatch | undefined;
  readonly #record: StageRecord;
  #trainCache: FrozenCache | undefined;
  #devCache: FrozenCache | undefined;
  /** The shuffled rows of the epoch that is running. */
  #order: { epoch: number; indices: Int32Array } = { epoch: -1, indices: new Int32Array() };
  /** The state to go back to: the best so far with early stopping, else the last that was evaluated. */
  #good: Snapshot;

  constructor(
    model: TrainableModel,
    options: TrainOptions,
    stage: Stage,
    trained: ReadonlySet<ParameterName>,
    index: number,
    stepsBefore: number,
  ) {
    this.#model = model;
    this.#options = options;
    this.#stage = stage;
    this.#trained = trained;
    this.#index = index;
    this.#stepsBefore = stepsBefore;
    this.#batchSize = stage.batchSize ?? options.batchSize;
    this.#batchesPerEpoch = Math.ceil(options.trainExamples.length / this.#batchSize);
    this.#steps = stage.steps ?? Math.max(1, Math.round(stage.epochs! * this.#batchesPerEpoch));
    this.#pass = {
      trained,
      hiddenDropout: stage.dropout ?? model.description.hiddenDropout,
      attentionDropout: stage.dropout ?? model.description.attentionDropout,
      seed: options.seed,
    };
    this.#objective = options.objective ?? hardLabels;
    if (stage.earlyStopping) {
      if (options.devExamples.length === 0)
        throw new WhittleError(
          'BAD_DATA',
          `stage "${stageName(stage)}": early stopping expects dev rows but found none`,
        );
      this.#watch = new ImprovementWatch(stage.earlyStopping);
    }
    this.#good = Snapshot.take(model, trained);
    this.#record = {
      train: stageName(stage),
      ...{ steps: 0, epochs: 0, tokens: 0, trainingSeconds: 0, seconds: 0, tokensPerSecond: 0 },
      ...{ curve: [], evaluations: [], stoppedEarly: false, kept: undefined },
    };
  }

  async run(): Promise<StageRecord> {
    const record = this.#record;
    const started = performance.now();
    applyMasks(this.#model, this.#trained, this.#options.masks);
    await this.#fillCaches();
    const optimizer = createAdamW(this.#model, this.#trained, this.#stage, this.#options.masks ?? new Map());
    try {
      await this.#loop(optimizer);
    } finally {
      optimizer.dispose();
    }
    record.epochs = record.steps / this.#batchesPerEpoch;
    record.seconds = (performance.now() - started) / 1000;
    return record;
  }

  async #loop(optimizer: AdamW): Promise<void> {
    const record = this.#record;
    const warmupSteps = Math.ceil(this.#stage.warmupRatio * this.#steps);
    const curve = new LossCurve(record.curve, Math.ceil(this.#steps / 200));
    for (let step = 0; step < this.#steps; step++) {
      await this.#pause();
      const factor = scheduleFactor(this.#stage.schedule, step, this.#steps, warmupSteps);
      const learningRate = this.#stage.learningRate * factor;
      const started = performance.now();
      const batch = this.#batch(step);
      const loss = this.#trainStep(optimizer, batch, step, learningRate);
      record.trainingSeconds += (performance.now() - started) / 1000;
      record.tokens += batch.inputIds.length;
      record.tokensPerSecond = record.tokens / record.trainingSeconds;
      record.steps = step + 1;
      curve.add(step, loss, learningRate);
      this.#report(step + 1, { loss, learningRate });
      const last = step + 1 === this.#steps;
      if ((last || (step + 1) % this.#batchesPerEpoch === 0) && (await this.#evaluate(step + 1, loss))) break;
    }
    curve.end();
    if (this.#watch) this.#good.restore(this.#model);
  }

  /** Runs one step and returns its loss. */
  #trainStep(optimizer: AdamW, batch: TrainingBatch, step: number, learningRate: number): number {
    const model = this.#model;
    const pass: Pass = { ...this.#pass, step: this.#stepsBefore + step };
    const frozen = this.#trainCache?.batch(batch.indices);
    const variables = [...this.#trained].map((name) => model.parameters.get(name)!);
    const { value, grads } = tf.variableGrads(
      () => this.#objective(model.forward(batch, pass, frozen), batch),
      variables,
    );
    const loss = value.dataSync()[0]!;
    const norm = Number.isFinite(loss) ? optimizer.update(grads, learningRate) : NaN;
    tf.dispose([value, grads]);
    frozen?.hidden.dispose();
    if (!Number.isFinite(norm)) this.#diverged(step, learningRate, loss);
    return loss;
  }

  #diverged(step: number, learningRate: number, loss: number): never {
    this.#good.restore(this.#model);
    const what = Number.isFinite(loss) ? 'the gradient became infinite' : `the loss became ${loss}`;
    throw new WhittleError(
      'DIVERGED',
      `stage ${this.#index + 1} (${stageName(this.#stage)}): ${what} at step ${step + 1} of ${this.#steps} with learning rate ${learningRate.toPrecision(3)}; the last good weights are those of step ${this.#good.step}`,
    );
  }

  /** Scores the dev set and returns true if the stage should end. */
  async #evaluate(step: number, loss: number): Promise<boolean> {
    const { devExamples, evaluateDev, log } = this.#options;
    if (devExamples.length === 0) {
      this.#good = Snapshot.take(this.#model, this.#trained, step);
      return false;
    }
    const metrics = await evaluateExamples(this.#model, devExamples, this.#devCache, evaluateDev, () => this.#pause());
    const epoch = step / this.#batchesPerEpoch;
    this.#record.evaluations.push({ step, epoch, metrics });
    log?.({ stage: this.#index + 1, train: stageName(this.#stage), step, epoch, loss, metrics });
    this.#report(step, { metrics });
    const { improved, stop } = this.#watch?.observe(metrics) ?? { improved: true, stop: false };
    if (improved) {
      this.#good = Snapshot.take(this.#model, this.#trained, step);
      this.#record.kept = { step, metrics };
    }
    this.#record.stoppedEarly = stop && step < this.#steps;
    return stop;
  }

  async #fillCaches(): Promise<void> {
    const { trainExamples, devExamples } = this.#options;
    const depth = lowestDepth(this.#trained, this.#model.description.layers);
    const all = [...trainExamples, ...devExamples];
    if (depth < 0 || !FrozenCache.fits(this.#model, depth, all)) return;
    const report = (before: number) => async (done: number) => {
      await this.#pause();
      this.#emit({
        phase: `${this.#phase()}: frozen layers`,
        done: before + done,
        total: all.length,
        unit: 'sequence',
      });
    };
    this.#trainCache = await FrozenCache.build(this.#model, depth, trainExamples, report(0));
    this.#devCache = await FrozenCache.build(this.#model, depth, devExamples, report(trainExamples.length));
  }

  #batch(step: number): TrainingBatch {
    const { trainExamples, seed } = this.#options;
    const epoch = Math.floor(step / this.#batchesPerEpoch);
    const place = (step % this.#batchesPerEpoch) * this.#batchSize;
    if (this.#order.epoch !== epoch) {
      this.#order = {
        epoch,
        indices: shuffledIndices(trainExamples.length, generator(seed, 0x5417, this.#index, epoch)),
      };
    }
    const indices = this.#order.indices.subarray(place, place + this.#batchSize);
    return { ...raggedBatch(Array.from(indices, (index) => trainExamples[index]!)), indices };
  }

  #phase(): string {
    return `stage ${this.#index + 1} of ${this.#options.stages.length} (${stageName(this.#stage)})`;
  }

  #report(done: number, measured: Pick<ProgressEvent, 'loss' | 'learningRate' | 'metrics'>): void {
    const { trainingSeconds, tokensPerSecond, steps } = this.#record;
    const secondsLeft = (trainingSeconds / Math.max(1, steps)) * (this.#steps - done);
    this.#emit({
      phase: this.#phase(),
      done,
      total: this.#steps,
      unit: 'step',
      tokensPerSecond,
      secondsLeft,
      ...measured,
    });
  }

  #emit(event: Omit<ProgressEvent, 'step'>): void {
    this.#options.onProgress?.({ step: this.#options.step ?? 'finetune', ...event });
  }

  /** Lets the event loop run and stops if that was asked for. */
  async #pause(): Promise<void> {
    await setImmediate();
    if (this.#options.signal?.aborted) throw new WhittleError('ABORTED', `${this.#phase()}: training was stopped`);
  }
}

/** Means over runs of steps. */
class LossCurve {
  readonly #points: StageRecord['curve'];
  readonly #every: number;
  #sum = 0;
  #count = 0;
  #last = { step: 0, learningRate: 0 };

  constructor(points: StageRecord['curve'], every: number) {
    this.#points = points;
    this.#every = every;
  }

  add(step: number, loss: number, learningRate: number): void {
    this.#sum += loss;
    this.#last = { step: step + 1, learningRate };
    if (++this.#count === this.#every) this.end();
  }

  end(): void {
    if (this.#count > 0) this.#points.push({ ...this.#last, loss: this.#sum / this.#count });
    this.#sum = this.#count = 0;
  }
}

function checkExamples(model: TrainableModel, examples: readonly Example[]): void {
  if (examples.length === 0)
    throw new WhittleError('BAD_DATA', 'Expected rows to train on but the train split has none');
  const classes = model.head.labels.length;
  const perToken = model.head.task === 'token-classification';
  examples.forEach((example, row) => {
    const labels = perToken ? (example.tokenLabels ?? []) : example.label === undefined ? [] : [example.label];
    for (const label of labels)
      if (label !== -100 && !(label >= 0 && label < classes))
        throw new WhittleError(
          'BAD_DATA',
          `Training row ${row + 1}: expected a label id below ${classes} but found ${label}`,
        );
  });
}

/** Zeroes what the masks hold at 0, in case it is not yet. */
function applyMasks(
  model: TrainableModel,
  trained: ReadonlySet<ParameterName>,
  masks: ReadonlyMap<ParameterName, Uint8Array> | undefined,
): void {
  for (const [name, mask] of masks ?? []) {
    const variable = model.parameters.get(name);
    if (!variable || !trained.has(name)) continue;
    const kept = name === 'embeddings.word' && model.words ? model.words.select(mask) : mask;
    if (kept.length !== variable.size)
      throw new WhittleError(
        'BAD_OPTION',
        `masks: expected ${variable.size} elements for ${name} but found ${kept.length}`,
      );
    tf.tidy(() => variable.assign(tf.mul(variable, tf.tensor(Float32Array.from(kept), variable.shape))));
  }
}
