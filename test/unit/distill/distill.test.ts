/** The distill step on the small fixture models: students, teachers, and what is refused. */
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { raggedBatch } from '../../../lib/data/batch.js';
import { encodeRows } from '../../../lib/data/encode.js';
import { loadTokenizer } from '../../../lib/data/tokenizer/tokenizer.js';
import { distill } from '../../../lib/distill/distill.js';
import { keepLayers } from '../../../lib/distill/student.js';
import { teacherLogits } from '../../../lib/distill/teachers.js';
import { openCheckpoint, type Checkpoint } from '../../../lib/models/checkpoint.js';
import { Engine } from '../../../lib/models/engine.js';
import { writeCheckpoint } from '../../../lib/models/write-checkpoint.js';
import { finetune } from '../../../lib/training/finetune.js';
import { expectError, temporaryFolder } from '../../harness.js';
import { testContext, textDataset, textModel, tokenDataset, tokenModel } from '../compress/tiny-task.js';

/** Writes a checkpoint as it is, or with some of it replaced. */
async function save(checkpoint: Checkpoint, changes: Partial<Checkpoint> = {}): Promise<string> {
  const folder = join(temporaryFolder(), 'model');
  const { config, description, head } = { ...checkpoint, ...changes };
  const parameters = await checkpoint.readParameters();
  await writeCheckpoint(folder, { config, description, head, parameters, dtype: 'float32', tokenizerFrom: textModel });
  return folder;
}

test('a student keeps the chosen layers, the embeddings and the head', async () => {
  const teacher = await openCheckpoint(textModel);
  const folder = await save(keepLayers(teacher, [1]));
  const [all, kept] = [await teacher.readParameters(), await (await openCheckpoint(folder)).readParameters()];
  assert.is((await openCheckpoint(folder)).description.layers, 1);
  for (const [name, { data }] of kept) assert.equal(data, all.get(name.replace('layers.0.', 'layers.1.'))!.data, name);
  assert.ok(kept.has('classifier.weight') && kept.has('embeddings.word'));
});

test('all layers kept: nothing changes', async () => {
  const teacher = await openCheckpoint(textModel);
  const kept = await keepLayers(teacher, [0, 1]).readParameters();
  const all = await teacher.readParameters();
  assert.equal([...kept.keys()], [...all.keys()]);
  for (const [name, { data }] of kept) assert.equal(data, all.get(name)!.data, name);
});

test("a teacher's logits are the engine's, with columns in the student's order", async () => {
  const data = textDataset(3);
  const teacher = await openCheckpoint(textModel);
  const labels = teacher.head!.labels.toReversed();
  const rows = await teacherLogits(teacher, { data, maxLength: 32, labels, threads: 1, onProgress: () => {} });
  const tokenizer = await loadTokenizer(textModel);
  const { examples } = encodeRows(data.train.rows, data.task, { tokenizer, maxLength: 32 });
  await using engine = await Engine.load(teacher);
  for (const [row, example] of examples.entries()) {
    const logits = await engine.run(raggedBatch([example]), { output: 'logits' });
    assert.equal(rows[row], logits.toReversed(), `row ${row}`);
  }
});

test('a token teacher answers at the first piece of each word', async () => {
  const teacher = await openCheckpoint(tokenModel);
  const { labels } = teacher.head!;
  const data = tokenDataset(labels, 5);
  const rows = await teacherLogits(teacher, { data, maxLength: 48, labels, threads: 1, onProgress: () => {} });
  const tokenizer = await loadTokenizer(tokenModel);
  const { examples } = encodeRows(data.train.rows, data.task, { tokenizer, labels, maxLength: 48 });
  await using engine = await Engine.load(teacher);
  for (const [row, example] of examples.entries()) {
    const logits = await engine.run(raggedBatch([example]), { output: 'logits' });
    const pieces = [...example.tokenLabels!].flatMap((label, token) => (label === -100 ? [] : [token]));
    const words = (data.train.rows[row] as { tokens: string[] }).tokens.length;
    assert.is(pieces.length, words);
    const expected = pieces.flatMap((token) => [
      ...logits.subarray(token * labels.length, (token + 1) * labels.length),
    ]);
    assert.equal([...rows[row]!], expected, `row ${row}`);
  }
});

test('a student of two teachers comes nearer to what the teachers say', async () => {
  const data = textDataset(24);
  const context = testContext(data);
  const options = { stages: [{ train: 'all', epochs: 4, learningRate: 3e-3 }] };
  const { checkpoint: teacher } = await finetune(textModel, options, context);
  const student = testContext(data, { checkpoints: new Map([['finetune', teacher]]) });
  const result = await distill(
    textModel,
    {
      teachers: ['finetune', { from: teacher, weight: 3 }],
      student: { layers: [0] },
      ...{ alpha: 0, epochs: 8, learningRate: 3e-3, dropout: 0 },
    },
    student,
  );
  const { layers, teachers, training } = result.record as {
    layers: number;
    teachers: { from: string; weight: number }[];
    training: { curve: { loss: number }[] };
  };
  assert.is(layers, 1);
  assert.equal(teachers, [
    { from: 'finetune', weight: 1 },
    { from: teacher, weight: 3 },
  ]);
  assert.is((await openCheckpoint(student.folder)).description.layers, 1);
  const [first, last] = [training.curve[0]!.loss, training.curve.at(-1)!.loss];
  assert.ok(last < 0.2 * first, `the divergence went from ${first} to ${last}`);
  assert.ok(result.metrics.accuracy! > 0.9, `accuracy ${result.metrics.accuracy}`);
  assert.ok(student.events.some(({ phase }) => phase === 'teacher 2 of 2'));
});

test('without a student in the options, the checkpoint given learns; alpha 1 is training on hard labels alone', async () => {
  const data = textDataset(6);
  const stage = { train: 'all', epochs: 1, learningRate: 1e-3 };
  const [plain, distilled] = [testContext(data), testContext(data)];
  await finetune(textModel, { stages: [stage] }, plain);
  await distill(textModel, { teachers: [textModel], alpha: 1, ...stage }, distilled);
  const [expected, actual] = await Promise.all(
    [plain, distilled].map(async ({ folder }) => (await openCheckpoint(folder)).readParameters()),
  );
  for (const [name, { data: values }] of expected!) assert.equal(actual!.get(name)!.data, values, name);
});

test('entities are distilled too, into another checkpoint', async () => {
  const { labels } = (await openCheckpoint(tokenModel)).head!;
  const context = testContext(tokenDataset(labels, 24));
  const result = await distill(
    textModel,
    {
      teachers: [tokenModel],
      student: { model: tokenModel },
      alpha: 0.2,
      temperature: 3,
      epochs: 2,
      learningRate: 1e-3,
    },
    context,
  );
  assert.ok(Number.isFinite(result.metrics.loss));
  const { training } = result.record as { training: { curve: { loss: number }[] } };
  assert.ok(training.curve.at(-1)!.loss < training.curve[0]!.loss, 'the loss went down');
});

test('label sets that differ are named', async () => {
  const data = textDataset(3);
  const other = { ...data, labels: ['activate card', 'stolen card', 'top up'] };
  await expectError(
    () => distill(textModel, { teachers: [textModel], epochs: 1 }, testContext(other)),
    'BAD_OPTION',
    /teacher .*tiny-bert: expected the 3 labels of the data but it lacks "stolen card" and the data lacks its "lost card"/,
  );
  await expectError(
    () => distill(textModel, { teachers: [tokenModel], epochs: 1 }, testContext(data)),
    'BAD_OPTION',
    /expected a head for text-classification but found one for token-classification/,
  );
});

test('teachers and layers that do not exist are named', async () => {
  const context = testContext(textDataset(3), { checkpoints: new Map([['finetune', textModel]]) });
  const run = (options: object) => () => distill(textModel, { epochs: 1, ...options } as never, context);
  await expectError(
    run({ teachers: ['finetun'] }),
    'BAD_OPTION',
    /teachers: expected an earlier step \(finetune\) or the folder of a checkpoint but found "finetun"; did you mean "finetune"/,
  );
  await expectError(
    run({ teachers: ['finetune'], student: { layers: [0, 2] } }),
    'BAD_OPTION',
    /student\.layers: expected layers below 2, .* but found 2/,
  );
  await expectError(
    run({ teachers: ['finetune'], student: { layers: [1, 0] } }),
    'BAD_OPTION',
    /expected ascending layers/,
  );
  await expectError(run({ teachers: [] }), 'BAD_OPTION', /expected at least one teacher/);
  await expectError(run({ teachers: ['finetune'], alpha: 1.5 }), 'BAD_OPTION', /alpha: expected a weight of at most 1/);
  await expectError(
    run({ teachers: ['finetune'], temprature: 2 }),
    'BAD_OPTION',
    /unknown key "temprature"; did you mean "temperature"/,
  );
});

test.run();
