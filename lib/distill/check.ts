/** Checks of distill options against the descriptions of teachers and student. */
import { expectInMemory } from '../data/streamed-rows.js';
import type { ModelFacts, StepCheck } from '../step.js';
import { checkTraining } from '../training/check.js';
import { stageOf } from '../training/single-stage.js';
import type { CheckedDistillOptions } from './options.js';
import { checkLayers } from './student.js';
import { checkTeacher } from './teachers.js';

/**
 * Checks a distill step.
 * @returns facts of the student.
 * @throws WhittleError for a teacher whose head is not one for the data, a student of layers that the teacher lacks, and
 *   what every step that trains refuses.
 */
export async function checkDistill(
  options: CheckedDistillOptions,
  input: ModelFacts,
  check: StepCheck,
): Promise<ModelFacts> {
  check.at([], () => expectInMemory(check.data.train, 'distill'));
  const factsOf = async (name: string) => check.models.get(name) ?? (await check.describe(name));
  const names = options.teachers.map((teacher) => (typeof teacher === 'string' ? teacher : teacher.from));
  const teachers = await Promise.all(names.map(factsOf));
  for (const [index, { head }] of teachers.entries())
    check.at(['teachers', index], () => checkTeacher(head, check.data, names[index]!));
  const { student } = options;
  let facts = input;
  if (student && 'model' in student) facts = await factsOf(student.model);
  if (student && 'layers' in student) {
    const { description, ...rest } = teachers[0]!;
    check.at(['student', 'layers'], () => checkLayers(student.layers, description.layers, names[0]!));
    facts = { description: { ...description, layers: student.layers.length }, ...rest };
  }
  return checkTraining(options, [], [{ stage: stageOf(options), path: [] }], facts, check);
}
