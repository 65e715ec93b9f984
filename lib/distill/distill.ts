/** The distill step: a student learns from its teachers' soft labels beside the hard ones. */
import { checkOptions } from '../options.js';
import { openCheckpoint, type Checkpoint } from '../models/checkpoint.js';
import type { StepContext, StepResult } from '../step.js';
import { finishTraining, trainWithCheckpoints } from '../training/checkpointed-training.js';
import { devMetricsFor } from '../training/dev-metrics.js';
import { plainLoss } from '../training/losses/options.js';
import { objectiveFor } from '../training/objective.js';
import { openSession } from '../training/session.js';
import { stageOf } from '../training/single-stage.js';
import { distillationLoss } from './loss.js';
import { distillSchema, type CheckedDistillOptions, type DistillOptions } from './options.js';
import { mixTeachers, type TeacherLogits } from './soft-labels.js';
import { keepLayers } from './student.js';
import { openTeacher, resolveCheckpoint, teacherLogits } from './teachers.js';

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
 * const options = { teachers: ['finetune'], student: { layers: [0, 2, 4] }, temperature: 2, epochs: 3 };
 * const { checkpoint, metrics } = await distill('runs/a/finetune', options, context);
 */
export async function distill(checkpoint: string, options: DistillOptions, context: StepContext): Promise<StepResult> {
  const checked = checkOptions(distillSchema, options, 'distill options');
  const { data, seed, signal, onProgress, log } = context;
  const teachers = await openTeachers(checked, context);
  const student = await openStudent(checkpoint, checked, teachers[0]!, context);
  const { temperature, alpha, batchSize, maxLength, precision, device } = checked;
  const session = await openSession(student, { data, seed, maxLength, precision, device });
  const { model, trainExamples, devExamples } = session;
  try {
    const rows = await askTeachers(teachers, session.maxLength, model.head.labels, context);
    const softLabels = mixTeachers(rows, model.head.labels.length, temperature);
    const hard = objectiveFor(checked.loss ?? plainLoss, model.head, trainExamples);
    const { stages, metrics } = await trainWithCheckpoints(
      model,
      {
        stages: [stageOf(checked)],
        trainExamples,
        devExamples,
        evaluateDev: devMetricsFor(data.dev, devExamples, model.head),
        objective: distillationLoss(softLabels, { alpha, task: data.task, hard }),
        batchSize,
        seed,
        step: 'distill',
        log,
        ...(onProgress && { onProgress }),
        ...(signal && { signal }),
      },
      { context, session, options: checked, arrays: softLabels.probabilities },
    );
    await session.write(context.folder, signal);
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

/** Every teacher's logits for the training rows, one teacher after the other. */
async function askTeachers(
  teachers: readonly Teacher[],
  maxLength: number,
  labels: readonly string[],
  { data, threads, signal, onProgress }: StepContext,
): Promise<TeacherLogits[]> {
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
    answers.push({ weight, rows });
  }
  return answers;
}
