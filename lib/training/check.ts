/** Checks of training options against a model's description, before anything is trained. */
import { WhittleError } from '../../bindings/errors.js';
import { headKind } from '../models/description.js';
import { parameterShapes } from '../models/parameters.js';
import type { ModelFacts, StepCheck } from '../step.js';
import type { CheckedFinetuneOptions } from './options.js';
import { checkedLength, precisionFor } from './session.js';
import { metricNames } from './dev-metrics.js';
import { checkMetric } from './early-stopping.js';
import { plainLoss } from './losses/options.js';
import { checkBatchSize, objectiveFor } from './objective.js';
import { StageError, stageParameters } from './stage-parameters.js';
import type { Stage } from './stages.js';
import { objectiveOf } from './task-objectives.js';
import { resolveTask, taskOptionsOf, type TaskOptions } from './task-options.js';

/**
 * Checks a finetune step.
 * @returns facts of the model that it will make.
 * @throws WhittleError for a stage that names parameters that the model lacks or waits for a score without dev rows, and
 *   for a longest length that the model cannot take.
 */
export function checkFinetune(options: CheckedFinetuneOptions, input: ModelFacts, check: StepCheck): ModelFacts {
  const stages = options.stages.map((stage, index) => ({ stage, path: ['stages', index] }));
  return checkTraining(options, [], stages, input, check);
}

/**
 * The same of any step that trains.
 * @param path of the options that hold `maxLength`.
 * @param stages each with the path of its own.
 */
export function checkTraining(
  options: TaskOptions & Pick<CheckedFinetuneOptions, 'batchSize' | 'precision' | 'device' | 'maxLength'>,
  path: readonly string[],
  stages: readonly { stage: Stage; path: readonly (string | number)[] }[],
  input: ModelFacts,
  { data, at }: StepCheck,
): ModelFacts {
  const stored = input.head?.task === data.task ? input.settings.maxLength : undefined;
  const maxLength = at(path, () => checkedLength(options.maxLength ?? stored, input.description));
  at(path, () => precisionFor(options.precision, options.device));
  const { head, settings, embedding } = at(path, () => resolveTask(taskOptionsOf(options), data, input, maxLength));
  const description = { ...input.description, hasPooler: headKind(head.task) === 'sequence' };
  const names = [...parameterShapes(description, head).keys()];
  const refuse = (place: readonly (string | number)[], problem: string) =>
    at(place, () => {
      throw new WhittleError('BAD_OPTION', problem);
    });
  for (const [index, { stage, path: place }] of stages.entries()) {
    try {
      stageParameters(stage, index, { names, layers: description.layers });
    } catch (error) {
      if (error instanceof StageError) refuse([...place, ...error.path], error.problem);
      throw error;
    }
    const plain = objectiveOf(head.task, embedding);
    const objective = at([...place, 'loss'], () => objectiveFor(stage.loss ?? plainLoss, head, [], plain));
    const itsOwn = stage.batchSize !== undefined;
    at(itsOwn ? place : path, () => checkBatchSize(objective, stage.batchSize ?? options.batchSize));
    if (!stage.earlyStopping) continue;
    const watched = [...place, 'earlyStopping'];
    if (data.dev.rows.length === 0) refuse(watched, 'early stopping expects dev rows but found none');
    at(watched, () => checkMetric(stage.earlyStopping!.metric, ['loss', ...metricNames(head, data.dev.rows)]));
  }
  return { description, head, settings };
}
