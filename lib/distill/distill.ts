/** The distill step: a student learns from its teachers' soft labels beside the hard ones. */
import { checkOptions } from '../options.js';
import { expectInMemory } from '../data/streamed-rows.js';
import { openCheckpoint, type Checkpoint } from '../models/checkpoint.js';
import { checkCall, type StepContext, type StepResult } from '../step.js';
import { WhittleError } from '../../bindings/errors.js';
import type { Dataset } from '../data/dataset.js';
import type { TaskHead } from '../models/description.js';
import type { TrainableModel } from '../training/model.js';
import { finishTraining, trainWithCheckpoints } from '../training/checkpointed-training.js';
import { plainLoss } from '../training/losses/options.js';
import { objectiveFor, type Objective } from '../training/objective.js';
import { openSession, type TrainingSession } from '../training/session.js';
import { taskOptionsOf, type TaskOptions } from '../training/task-options.js';
import { stageOf } from '../training/single-stage.js';
import { distillationLoss } from './loss.js';
import { distillSchema, type CheckedDistillOptions, type DistillOptions } from './options.js';
import { mixTeachers, type TeacherLogits } from './soft-labels.js';
import { keepLayers } from './student.js';
import { mixTargets, targetLoss } from './soft-targets.js';
import { ofExamples, openTeacher, resolveCheckpoint, teacherLogits } from './teachers.js';

interface Teacher {
  from: string;
  weight: number;
  checkpoint: Checkpoint;
}

/**
 * Trains a student on what its teachers say and writes it to the step's folder. The teachers run once over the training
 * rows, before the training, with dropout off; they may have other sizes and tokenizers than the student.
 *
 * @param checkpoint folder of the student, unless the options name another.
 * @returns the folder written and its dev metrics; the record has `teachers`, the student's `layers`, `temperature`,
 *   `alpha` and `training` (a record of the stage).
 * @throws WhittleError BAD_OPTION for a teacher or student that does not exist, whose labels are not those of the data,
 *   or that lacks a layer; what training throws; IO; ABORTED.
 * @example
 * const teacher = 'runs/quickstart/finetune';
 * const options = { teachers: [teacher], student: { layers: [0, 2, 4] }, temperature: 2, epochs: 3, learningRate: 4e-4 };
 * const data = await loadDataset({ path: 'examples/quickstart/data' });
 * const { metrics } = await distill(teacher, options, stepContext({ data, folder: 'runs/mine/distill' }));
 * console.log(metrics.accuracy);
 */
export async function distill(checkpoint: string, options: DistillOptions, context: StepContext): Promise<StepResult> {
  const checked = checkOptions(distillSchema, options, 'distill options');
  checkCall('distill', checkpoint, context, true);
  const { data, seed, signal, onProgress, log } = context;
  const teachers = await openTeachers(checked, context);
  const student = await openStudent(checkpoint, checked, teachers[0]!, context);
  const { temperature, alpha, batchSize, maxLength, precision, device } = checked;
  expectInMemory(data.train, 'distill');
  const session = await openSession(student, {
    ...{ data, seed, maxLength, precision, device },
    task: taskOptions(checked, data),
  });
  const { model, trainOptions } = session;
  try {
    checkWidths(teachers, model);
    const asked = { ...context, data: { ...data, train: session.task.train } };
    const answers = await askTeachers(teachers, session, asked);
    const hard = objectiveFor(
      checked.loss ?? plainLoss,
      model.head,
      trainOptions.trainExamples,
      trainOptions.taskObjective,
    );
    const { stages, metrics: trained } = await trainWithCheckpoints(
      model,
      {
        ...trainOptions,
        stages: [stageOf(checked)],
        objective: objectiveOf(answers, { ...{ alpha, temperature, hard }, head: model.head }),
        batchSize,
        seed,
        step: 'distill',
        log,
        ...(onProgress && { onProgress }),
        ...(signal && { signal }),
      },
      { context, session, options: checked, arrays: answers.flatMap(({ rows }) => [...rows]) },
    );
    const metrics = await session.finish(trained);
    await session.write(context.folder); // without the signal: what is trained is not thrown away
    await finishTraining(context);
    const record = {
      teachers: teachers.map(({ from, weight }) => ({ from, weight })),
      layers: student.description.layers,
      ...{ temperature, alpha, training: stages[0] },
    };
    return { checkpoint: context.folder, metrics, record };
  } finally {
    model.dispose();
  }
}

function openTeachers({ teachers }: CheckedDistillOptions, { checkpoints, data }: StepContext): Promise<Teacher[]> {
  return Promise.all(
    teachers.map(async (teacher) => {
      const { from, weight } = typeof teacher === 'string' ? { from: teacher, weight: 1 } : teacher;
      const folder = await resolveCheckpoint(from, checkpoints, 'teachers');
      return { from, weight, checkpoint: await openTeacher(folder, data) };
    }),
  );
}

async function openStudent(
  input: string,
  { student }: CheckedDistillOptions,
  teacher: Teacher,
  { checkpoints }: StepContext,
): Promise<Checkpoint> {
  if (student && 'layers' in student) return keepLayers(teacher.checkpoint, student.layers);
  return openCheckpoint(student ? await resolveCheckpoint(student.model, checkpoints, 'student.model') : input);
}

/** Soft labels lie at the first pieces of words. */
function taskOptions(checked: CheckedDistillOptions, { task }: Dataset): Partial<TaskOptions> {
  const options = taskOptionsOf(checked);
  if (options.labelPieces !== undefined && options.labelPieces !== 'first')
    throw new WhittleError(
      'BAD_OPTION',
      `distill options: labelPieces: expected "first", where the teachers are asked, but found "${options.labelPieces}"`,
    );
  return task === 'token-classification' ? { ...options, labelPieces: 'first' } : options;
}

/** Vectors of embeddings are compared as they are, so they must be of one length. */
function checkWidths(teachers: readonly Teacher[], { description, head }: TrainableModel): void {
  for (const { from, checkpoint } of teachers)
    if (head.task === 'embedding' && checkpoint.description.hidden !== description.hidden)
      throw new WhittleError(
        'BAD_OPTION',
        `distill options: teacher ${from}: expected embeddings of length ${description.hidden}, as the student's are, but found ${checkpoint.description.hidden}`,
      );
}

/** What is minimized, by task. */
function objectiveOf(
  answers: readonly TeacherLogits[],
  { alpha, temperature, hard, head }: { alpha: number; temperature: number; hard: Objective; head: TaskHead },
): Objective {
  const { task, labels } = head;
  if (task === 'text-classification' || task === 'token-classification')
    return distillationLoss(mixTeachers(answers, labels.length, temperature), { alpha, task, hard });
  return targetLoss(mixTargets(answers, task, temperature), { task, alpha, temperature, hard });
}

/** Every teacher's logits for the training examples, one teacher after the other. */
async function askTeachers(
  teachers: readonly Teacher[],
  { maxLength, model, trainOptions }: TrainingSession,
  { data, threads, signal, onProgress }: StepContext,
): Promise<TeacherLogits[]> {
  const { labels } = model.head;
  const answers: TeacherLogits[] = [];
  for (const [index, { weight, checkpoint }] of teachers.entries()) {
    const rows = await teacherLogits(checkpoint, {
      ...{ data, maxLength, labels, threads, signal },
      onProgress: (done, total) =>
        onProgress?.({
          step: 'distill',
          phase: `teacher ${index + 1} of ${teachers.length}`,
          ...{ done, total, unit: 'sequence' },
        }),
    });
    answers.push({ weight, rows: ofExamples(rows, trainOptions.trainExamples, data.task, labels.length) });
  }
  return answers;
}
