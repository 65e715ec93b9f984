/** The finetune step: a checkpoint and labelled data in, a trained checkpoint out. */
import { dirname, join, resolve } from 'node:path';
import { WhittleError } from '../../bindings/errors.js';
import { rowCount } from '../data/streamed-rows.js';
import { checkOptions } from '../options.js';
import { checkCall, type StepContext, type StepResult } from '../step.js';
import { finishTraining, trainWithCheckpoints } from './checkpointed-training.js';
import { finetuneSchema, type FinetuneOptions } from './options.js';
import { openSession, tellingRows } from './session.js';
import { taskOptionsOf } from './task-options.js';

/**
 * Fine-tunes a checkpoint in stages and writes the result to the step's folder.
 *
 * @param folder of the checkpoint to start from.
 * @returns dev metrics of the weights written, and a record of each stage: curve, evaluations, tokens/s.
 * @throws WhittleError BAD_OPTION, BAD_CHECKPOINT, BAD_DATA, ABORTED, IO; DIVERGED when the loss is no longer finite,
 *   after writing the last good weights to `last-good` in the step's folder.
 * @example
 * const stages = [
 *   { train: 'head', epochs: 1, learningRate: 1e-3 },
 *   { train: 'all', epochs: 6, learningRate: 2e-4, earlyStopping: { metric: 'accuracy', patience: 2 } },
 * ];
 * const data = await loadDataset({ path: 'examples/quickstart/data' });
 * const context = stepContext({ data, folder: 'runs/mine/finetune' });
 * const { checkpoint, metrics } = await finetune('models/minilm-l6', { stages }, context);
 * console.log(checkpoint, metrics.accuracy);
 */
export async function finetune(folder: string, options: FinetuneOptions, context: StepContext): Promise<StepResult> {
  checkCall('finetune', folder, context, true);
  const checked = checkOptions(finetuneSchema, options, 'finetune options');
  const { data, seed, signal, log, threads } = context;
  const { maxLength, precision, device } = checked;
  const session = await openSession(folder, {
    ...{ data, seed, maxLength, precision, device, threads },
    task: taskOptionsOf(checked),
    ...tellingRows('finetune', context),
    scratchFolder: dirname(resolve(context.folder)),
  });
  const { model, trainExamples, task } = session;
  try {
    const { stages, metrics } = await trainWithCheckpoints(
      model,
      {
        ...session.trainOptions,
        stages: checked.stages,
        batchSize: checked.batchSize,
        optimizer: checked.optimizer,
        seed,
        step: 'finetune',
        log,
        ...(context.onProgress && { onProgress: context.onProgress }),
        ...(signal && { signal }),
      },
      { context, session, options: checked },
    ).catch((error: unknown) => keepLastGood(error, context.folder, session.write));
    const finalMetrics = await session.finish(metrics);
    await session.write(context.folder); // without the signal: what is trained is not thrown away
    await finishTraining(context);
    const record = {
      stages,
      precision: session.precision,
      device: session.device,
      trainRows: rowCount(task.train),
      trainExamples: trainExamples.length,
      truncatedRows: session.truncated,
    };
    return { checkpoint: context.folder, metrics: finalMetrics, record };
  } finally {
    model.dispose();
    session.close();
  }
}

async function keepLastGood(error: unknown, folder: string, write: (folder: string) => Promise<void>): Promise<never> {
  if (!(error instanceof WhittleError) || error.code !== 'DIVERGED') throw error;
  const target = join(folder, 'last-good');
  await write(target);
  throw new WhittleError('DIVERGED', `${error.message}, kept in ${target}`, { cause: error });
}
