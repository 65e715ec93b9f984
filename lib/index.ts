/**
 * whittle: fine-tune a transformer in stages, whittle it down, run it fast.
 *
 * @example
 * import { Predictor, run } from 'whittle-ml';
 *
 * const { checkpoint } = await run('examples/quickstart/recipe.yaml');
 * await using predictor = await Predictor.load(checkpoint);
 * console.log(await predictor.predict('My card never arrived'));
 */
export { WhittleError, type WhittleErrorCode } from '../bindings/errors.js';

export { run, type Recipe, type Step } from './recipe/run.js';
export type { RunEvent, RunOptions, RunResult } from './recipe/runner.js';
export type { Distribution, StudyOptions } from './recipe/study.js';
export type { ModelReport, Report, StepReport } from './report/report.js';
export { tune } from './tune/tune.js';
export type { TuneEvent, TuneOptions, TuneResult } from './tune/study.js';
export type { Trial } from './tune/journal.js';

export { Preprocessing } from './data/preprocess/preprocessing.js';
export type { PreprocessingOptions } from './data/preprocess/options.js';
export { splitSentences, splitWords } from './data/preprocess/segment.js';
export { loadDataset, type DatasetOptions } from './data/load.js';
export { readRows, type LocatedRow, type ReadOptions } from './data/read-rows.js';
export type { Dataset, MultiLabelRow, Row, RowOf, ScoredRow, Split, Task, TextRow, TokenRow } from './data/dataset.js';

export { finetune } from './training/finetune.js';
export type { FinetuneOptions } from './training/options.js';
export { prune, type PruneOptions } from './compress/prune.js';
export { quantize, type QuantizeOptions } from './compress/quantize.js';
export { distill } from './distill/distill.js';
export type { DistillOptions } from './distill/options.js';
export {
  stepContext,
  type OnStep,
  type ProgressEvent,
  type StepEvent,
  type StepContext,
  type StepResult,
} from './step.js';

export { evaluate, type EvaluateOptions, type EvaluationResult } from './evaluate/evaluate.js';
export type { PredictOptions, PredictorOptions } from './predict/options.js';
export { Predictor } from './predict/predictor.js';
export type {
  ClassificationInput,
  ClassPrediction,
  EmbeddingInput,
  Entity,
  EntityInput,
  EntityPrediction,
  MultiLabelPrediction,
  Prediction,
  RegressionPrediction,
  ScoredClassPrediction,
  TaggedEntityPrediction,
} from './predict/predictions.js';
