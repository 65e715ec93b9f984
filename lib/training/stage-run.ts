/** One stage of a training run, from its first step to its last. */
import { setImmediate } from 'node:timers/promises';
import * as tf from '@tensorflow/tfjs-core';
import { WhittleError } from '../../bindings/errors.js';
import type { ParameterName } from '../models/description.js';
import type { ProgressEvent, StepEvent } from '../step.js';
import { evaluateExamples } from './dev.js';
import { ImprovementWatch } from './early-stopping.js';
import { lowestDepth, type Pass } from './encoder.js';
import { FrozenCache } from './frozen-cache.js';
import { LossCurve } from './loss-curve.js';
import type { FrozenOutput, TrainableModel } from './model.js';
import { labelledRows, type Objective, type TrainingBatch } from './objective.js';
import { createOptimizer, type Optimizer, type Slot } from './optimizers/optimizer.js';
import { assignValues, valuesOf } from './parameter-values.js';
import { scheduleFactor } from './schedule.js';
import { Snapshot } from './snapshot.js';
import { isEvaluatedAfter, phaseAt, type Phase, type StagePlan } from './stage-plan.js';
import { formatRate, inStage, stageName } from './stages.js';
import type { StageRecord, StepPlace, TrainOptions } from './train.js';
import { tensorsUnder, type TrainingProgress, type TrainingState } from './training-state.js';
import { WeightAverage } from './weight-average.js';

/** What the stages before have done. */
export interface Earlier {
  records: readonly StageRecord[];
  /** Parameters that any of them trained. */
  trained: ReadonlySet<ParameterName>;
  /** Batches that went through the model in training. */
  passes: number;
}

export class StageRun {
  readonly #model: TrainableModel;
  readonly #options: TrainOptions;
  readonly #plan: StagePlan;
  readonly #objective: Objective;
  readonly #earlier: Earlier;
  readonly #optimizer: Optimizer;
  readonly #watch: ImprovementWatch | undefined;
  readonly #average: WeightAverage | undefined;
  readonly #record: StageRecord;
  readonly #curve: LossCurve;
  #step: number;
  #passes: number;
  #ended: boolean;
  /** Loss of the last step while the evaluation that follows it is not made. */
  #evaluationDue: number | undefined;
  /** The state to go back to: the best so far with early stopping, else the last that was evaluated. */
  #good: Snapshot;
  #phase: Phase | undefined;
  #trainCache: FrozenCache | undefined;
  #devCache: FrozenCache | undefined;

  /** @param from a state within this stage to go on from. */
  constructor(
    model: TrainableModel,
    options: TrainOptions,
    plan: StagePlan,
    objective: Objective,
    earlier: Earlier,
    from?: TrainingState,
  ) {
    const { stage, trained, steps } = plan;
    this.#model = model;
    this.#options = options;
    this.#plan = plan;
    this.#objective = objective;
    this.#earlier = earlier;
    model.activate();
    if (from) restoreWeights(model, from);
    else applyMasks(model, trained, options.masks);
    const progress = from?.progress;
    this.#step = progress?.step ?? 0;
    this.#passes = progress?.passes ?? earlier.passes;
    this.#ended = progress?.ended ?? false;
    this.#evaluationDue = progress?.evaluationDue;
    this.#record = progress ? structuredClone(progress.record) : newRecord(plan);
    this.#curve = new LossCurve(this.#record.curve, Math.ceil(steps / 200), progress?.curve);
    if (stage.earlyStopping) this.#watch = new ImprovementWatch(stage.earlyStopping, progress?.watch);
    this.#good =
      from && progress
        ? new Snapshot(progress.good.step, tensorsUnder(from, 'good'), progress.good.missedDecay)
        : Snapshot.take(model, trained);
    if (stage.ema !== undefined)
      this.#average = new WeightAverage(
        model,
        trained,
        stage.ema,
        from && progress?.average && { state: progress.average, values: tensorsUnder(from, 'average') },
      );
    this.#optimizer = createOptimizer(
      model,
      slotsOf(plan, model, options.masks),
      plan.optimizer,
      typeof stage.gradientClip === 'number' ? { norm: stage.gradientClip } : stage.gradientClip,
      from && { updates: from.progress.updates, arrays: tensorsUnder(from, 'optimizer') },
    );
  }

  /** Batches that went through the model in training, in this stage and those before. */
  get passes(): number {
    return this.#passes;
  }

  /** Runs to the end of the stage. The run is of no use afterwards. */
  async run(): Promise<StageRecord> {
    const record = this.#record;
    const before = record.seconds;
    const started = performance.now();
    const seconds = () => before + (performance.now() - started) / 1000;
    try {
      if (this.#step === 0) for (const note of this.#plan.notes) this.#options.onNote?.(note);
      if (this.#evaluationDue !== undefined) {
        await this.#enterPhase(phaseAt(this.#plan, this.#step - 1));
        await this.#evaluateIfDue();
      }
      while (this.#step < this.#plan.steps && !this.#ended) {
        await this.#pause();
        await this.#enterPhase(phaseAt(this.#plan, this.#step));
        await this.#advance();
        record.seconds = seconds();
        await this.#options.afterStep?.(this.#place());
      }
      this.#curve.end();
      if (this.#watch) this.#good.restore(this.#model);
      else this.#average?.assign();
    } catch (error) {
      const isStopped = error instanceof WhittleError && error.code === 'ABORTED';
      if (isStopped) await this.#options.beforeAbort?.(this.#place());
      throw error;
    } finally {
      this.#optimizer.dispose();
    }
    record.epochs = record.steps / this.#plan.order.stepsPerEpoch;
    record.seconds = seconds();
    return record;
  }

  /** One step and the evaluation that may follow. */
  async #advance(): Promise<void> {
    const record = this.#record;
    const { stage, steps, warmupSteps } = this.#plan;
    const learningRate = stage.learningRate * scheduleFactor(stage.schedule, this.#step, steps, warmupSteps);
    const started = performance.now();
    const { loss, gradientNorm, tokens } = this.#train(learningRate);
    this.#step++;
    this.#average?.update();
    record.trainingSeconds += (performance.now() - started) / 1000;
    record.tokens += tokens;
    record.tokensPerSecond = record.tokens / record.trainingSeconds;
    record.steps = this.#step;
    this.#curve.add(this.#step, loss, learningRate);
    this.#report({ loss, learningRate });
    await this.#tellStep({ loss, gradientNorm, learningRate });
    if (this.#ended || isEvaluatedAfter(this.#plan, this.#step)) this.#evaluationDue = loss;
    await this.#evaluateIfDue();
  }

  async #evaluateIfDue(): Promise<void> {
    if (this.#evaluationDue === undefined) return;
    await this.#evaluate(this.#evaluationDue);
    this.#evaluationDue = undefined;
  }

  #place(): StepPlace {
    return { stage: this.#plan.index, step: this.#step, capture: () => this.#capture() };
  }

  /** Calls back with the step that was done, and ends the stage if the callback asks for it. */
  async #tellStep(measured: Pick<StepEvent, 'loss' | 'gradientNorm' | 'learningRate'>): Promise<void> {
    const { onStep } = this.#options;
    if (!onStep) return;
    const { index, stage, steps, order } = this.#plan;
    const { tokens, tokensPerSecond } = this.#record;
    const answer = await onStep({
      recipeStep: this.#options.step ?? 'finetune',
      ...{ stage: index + 1, train: stageName(stage), step: this.#step, steps, tokens, tokensPerSecond },
      epoch: this.#step / order.stepsPerEpoch,
      ...measured,
    });
    if (answer === 'stop') this.#ended = true;
  }

  /** Gradients of the step's batches, and the update. */
  #train(learningRate: number): { loss: number; gradientNorm: number; tokens: number } {
    const batches = this.#plan.order.batches(this.#step, this.#objective.copies);
    const weights = batches.map(this.#objective.weightOf ?? labelledRows);
    const whole = weights.reduce((sum, weight) => sum + weight, 0);
    let loss = 0;
    let gradients: tf.NamedTensorMap = {};
    for (const [index, batch] of batches.entries()) {
      const share = batches.length === 1 ? 1 : whole > 0 ? weights[index]! / whole : 0;
      const part = this.#gradients(batch, share);
      loss += part.loss;
      gradients = index === 0 ? part.gradients : addGradients(gradients, part.gradients);
    }
    const norm = Number.isFinite(loss) ? this.#optimizer.update(gradients, learningRate) : NaN;
    tf.dispose(gradients);
    if (!Number.isFinite(norm)) this.#diverged(learningRate, loss);
    return { loss, gradientNorm: norm, tokens: batches.reduce((sum, { inputIds }) => sum + inputIds.length, 0) };
  }

  /** Of a batch's loss times `share`. */
  #gradients(batch: TrainingBatch, share: number): { loss: number; gradients: tf.NamedTensorMap } {
    const model = this.#model;
    const { stage } = this.#plan;
    const { trained } = this.#phase!;
    const pass: Pass = {
      trained,
      hiddenDropout: stage.dropout ?? model.description.hiddenDropout,
      attentionDropout: stage.dropout ?? model.description.attentionDropout,
      recompute: stage.recompute,
      headDropout: stage.dropout ?? model.headDropout,
      seed: this.#options.seed,
      step: this.#passes++,
    };
    const frozen = this.#frozenOutput(batch);
    const { value, gradients } = model.gradients(pass, (taking) => {
      const loss = this.#objective(model.forward(batch, taking, frozen), batch);
      return share === 1 ? loss : (tf.mul(loss, share) as tf.Scalar);
    });
    const loss = value.dataSync()[0]!;
    value.dispose();
    frozen?.hidden.dispose();
    return { loss, gradients };
  }

  /** What lies below the lowest layer that trains, dropout off; nothing if the embeddings train. */
  #frozenOutput(batch: TrainingBatch): FrozenOutput | undefined {
    if (this.#trainCache) return this.#trainCache.batch(batch.indices);
    const depth = lowestDepth(this.#phase!.trained, this.#model.description.layers);
    return depth < 0 ? undefined : this.#model.frozenOutput(batch, depth);
  }

  #diverged(learningRate: number, loss: number): never {
    this.#good.restore(this.#model);
    const what = Number.isFinite(loss) ? 'the gradient became infinite' : `the loss became ${loss}`;
    const { title, stage, steps } = this.#plan;
    throw new WhittleError(
      'DIVERGED',
      `${title}: ${what} at step ${this.#step + 1} of ${steps}; the stage's learning rate is ` +
        `${formatRate(stage.learningRate)}, as scheduled for this step ${formatRate(learningRate)}; ` +
        `the last good weights are those of step ${this.#good.step}`,
    );
  }

  /** Scores the dev set, keeps the weights if they are good, and sees whether the stage should end. */
  async #evaluate(loss: number): Promise<void> {
    if (this.#average) await this.#average.during(() => this.#scoreAndKeep(loss));
    else await this.#scoreAndKeep(loss);
  }

  async #scoreAndKeep(loss: number): Promise<void> {
    const { devExamples, evaluateDev, taskObjective, log } = this.#options;
    const { index, stage, trained, order, steps } = this.#plan;
    const step = this.#step;
    this.#record.stoppedEarly = this.#ended && step < steps;
    if (devExamples.length === 0) {
      this.#good = Snapshot.take(this.#model, trained, step);
      return;
    }
    const metrics = await evaluateExamples(this.#model, devExamples, this.#devCache, evaluateDev, taskObjective, () =>
      this.#pause(),
    );
    const epoch = step / order.stepsPerEpoch;
    this.#record.evaluations.push({ step, epoch, metrics });
    log?.({ stage: index + 1, train: stageName(stage), trainingStep: step, epoch, loss, metrics });
    this.#report({ metrics });
    const { improved, stop } = this.#observe(metrics);
    if (improved) {
      this.#good = Snapshot.take(this.#model, trained, step);
      this.#record.kept = { step, metrics };
    }
    this.#ended ||= stop;
    this.#record.stoppedEarly = this.#ended && step < steps;
  }

  #observe(metrics: Record<string, number>): { improved: boolean; stop: boolean } {
    try {
      return this.#watch?.observe(metrics) ?? { improved: true, stop: false };
    } catch (error) {
      throw inStage(this.#plan.title, error);
    }
  }

  /** Makes sure that the outputs kept are those of what is frozen now. */
  async #enterPhase(phase: Phase): Promise<void> {
    if (this.#phase === phase) return;
    this.#phase = phase;
    this.#trainCache = this.#devCache = undefined;
    const { trainExamples, devExamples } = this.#options;
    const { order } = this.#plan;
    const depth = lowestDepth(phase.trained, this.#model.description.layers);
    const paysOff = phase.to - phase.from >= order.stepsPerEpoch;
    if (depth < 0 || !paysOff || !FrozenCache.fits(this.#model, depth, [trainExamples, devExamples])) return;
    const total = trainExamples.length + devExamples.length;
    const report = (before: number) => async (done: number) => {
      await this.#pause();
      const title = `${this.#title()}: frozen layers`;
      this.#emit({ phase: title, done: before + done, total, unit: 'sequence' });
    };
    this.#trainCache = await FrozenCache.build(this.#model, depth, trainExamples, report(0));
    this.#devCache = await FrozenCache.build(this.#model, depth, devExamples, report(trainExamples.length));
    await report(0)(total);
  }

  #capture(): TrainingState {
    const tensors = new Map<string, Float32Array>();
    for (const name of new Set([...this.#earlier.trained, ...this.#plan.trained]))
      tensors.set(`weights/${name}`, valuesOf(this.#model.parameters.get(name)!));
    for (const [name, values] of this.#good.values) tensors.set(`good/${name}`, values);
    for (const [name, values] of this.#average?.values ?? []) tensors.set(`average/${name}`, values);
    const { updates, arrays } = this.#optimizer.state();
    for (const [name, values] of arrays) tensors.set(`optimizer/${name}`, values);
    const progress: TrainingProgress = {
      stage: this.#plan.index,
      step: this.#step,
      passes: this.#passes,
      ...(this.#evaluationDue !== undefined && { evaluationDue: this.#evaluationDue }),
      ended: this.#ended,
      finished: structuredClone([...this.#earlier.records]),
      record: structuredClone(this.#record),
      curve: this.#curve.remainder,
      ...(this.#watch && { watch: this.#watch.state }),
      ...(this.#average && { average: this.#average.state }),
      updates,
      good: { step: this.#good.step, missedDecay: this.#good.missedDecay },
      missedDecay: this.#model.words?.missedDecay ?? 1,
    };
    return { progress, tensors };
  }

  #title(): string {
    const { index, stage } = this.#plan;
    return `stage ${index + 1} of ${this.#options.stages.length} (${stageName(stage)})`;
  }

  #report(measured: Pick<ProgressEvent, 'loss' | 'learningRate' | 'metrics'>): void {
    const { trainingSeconds, tokensPerSecond, steps } = this.#record;
    const total = this.#plan.steps;
    const secondsLeft = (trainingSeconds / Math.max(1, steps)) * (total - this.#step);
    const phase = this.#title();
    this.#emit({ phase, done: this.#step, total, unit: 'step', tokensPerSecond, secondsLeft, ...measured });
  }

  #emit(event: Omit<ProgressEvent, 'step'>): void {
    this.#options.onProgress?.({ step: this.#options.step ?? 'finetune', ...event });
  }

  /** Lets the event loop run and stops if that was asked for. */
  async #pause(): Promise<void> {
    await setImmediate();
    this.#model.activate();
    if (this.#options.signal?.aborted) throw new WhittleError('ABORTED', `${this.#title()}: training was stopped`);
  }
}

function newRecord({ stage }: StagePlan): StageRecord {
  return {
    train: stageName(stage),
    ...{ steps: 0, epochs: 0, tokens: 0, trainingSeconds: 0, seconds: 0, tokensPerSecond: 0 },
    ...{ curve: [], evaluations: [], stoppedEarly: false, kept: undefined },
  };
}

function slotsOf({ trained, rates }: StagePlan, model: TrainableModel, masks: TrainOptions['masks']): Slot[] {
  return [...trained].map((name) => {
    const mask = masks?.get(name);
    return {
      ...{ name, ...rates.get(name)! },
      mask: mask && name === 'embeddings.word' && model.words ? model.words.select(mask) : mask,
    };
  });
}

/** The sum of two sets of gradients, which are disposed of. */
function addGradients(sum: tf.NamedTensorMap, more: tf.NamedTensorMap): tf.NamedTensorMap {
  const result: tf.NamedTensorMap = { ...sum };
  for (const [name, gradient] of Object.entries(more)) {
    const before = sum[name];
    result[name] = before ? tf.add(before, gradient) : gradient;
    if (before) tf.dispose([before, gradient]);
  }
  return result;
}

function restoreWeights(model: TrainableModel, state: TrainingState): void {
  for (const [name, values] of tensorsUnder(state, 'weights')) assignValues(model.parameters.get(name)!, values);
  if (model.words) model.words.missedDecay = state.progress.missedDecay;
}

/** Zeroes what the masks hold at 0, in case it is not yet. */
function applyMasks(model: TrainableModel, trained: ReadonlySet<ParameterName>, masks: TrainOptions['masks']): void {
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
