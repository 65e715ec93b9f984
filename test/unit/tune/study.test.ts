import { appendFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { WhittleError } from '../../../bindings/errors.js';
import { readRecipeFile } from '../../../lib/recipe/source.js';
import { runStudy, type TuneEvent, type TuneOptions } from '../../../lib/tune/study.js';
import { trialTable } from '../../../lib/tune/table.js';
import { expectError } from '../../harness.js';
import { fakeParts, recipeFolder, simpleRecipe, type Call } from '../recipe/fake-parts.js';

const studyRecipe = `${simpleRecipe}
study:
  sampler: grid
  metric: finetune.score
  space:
    steps.finetune.stages.1.learningRate: [0.1, 0.2, 0.3]
`;

/** A study whose score is highest at a learning rate of 0.2. */
async function studyIn(folder: string, options: TuneOptions = {}, onTrain: (rate: number) => void = () => undefined) {
  const { parts, calls } = fakeParts((call: Call) => onTrain(rateOf(call)));
  const { finetune } = parts.steps;
  const scored = {
    ...finetune!,
    run: async (...args: Parameters<NonNullable<typeof finetune>['run']>) => {
      const result = await finetune!.run(...args);
      return { ...result, metrics: { score: 1 - Math.abs(rateOf({ options: args[1] }) - 0.2), loss: 1 } };
    },
  };
  const source = await readRecipeFile(join(folder, 'recipe.yaml'));
  const result = await runStudy(
    source,
    { ...parts, steps: { ...parts.steps, finetune: scored } },
    { folder: join(folder, 'study'), ...options },
  );
  return { result, rates: calls.filter(({ step }) => step === 'finetune').map(rateOf) };
}

function rateOf({ options }: Pick<Call, 'options'>): number {
  return (options as { stages: { learningRate: number }[] }).stages[1]!.learningRate;
}

test('the best trial is found and every trial is a run folder', async () => {
  const folder = recipeFolder(studyRecipe);
  const { result, rates } = await studyIn(folder);
  assert.equal(rates, [0.1, 0.2, 0.3]);
  assert.is(result.best.trial, 1);
  assert.is(result.best.value, 1);
  assert.equal(result.best.parameters, { 'steps.finetune.stages.1.learningRate': 0.2 });
  assert.ok(existsSync(join(result.best.folder, 'report.json')));
  assert.match(readFileSync(join(result.best.folder, 'recipe.yaml'), 'utf8'), /learningRate: 0\.2/);
  assert.match(trialTable(result), /trial .*finetune\.score .*finetune\.stages\.1\.learningRate[^]*2 \*/);
});

test('a study goes on after a crash, whose last line is cut off', async () => {
  const folder = recipeFolder(studyRecipe);
  const controller = new AbortController();
  const stop = (rate: number) => {
    if (rate !== 0.2) return;
    controller.abort();
    throw new WhittleError('ABORTED', 'stopped');
  };
  await expectError(() => studyIn(folder, { signal: controller.signal }, stop), 'ABORTED', /stopped/);
  appendFileSync(join(folder, 'study', 'journal.jsonl'), '{"trial":1,"parame');
  const { result, rates } = await studyIn(folder);
  assert.equal(rates, [0.2, 0.3]);
  assert.is(result.trials.length, 3);
  const lines = readFileSync(join(folder, 'study', 'journal.jsonl'), 'utf8')
    .trim()
    .split('\n');
  assert.equal(
    lines.slice(1).map((line) => JSON.parse(line).trial),
    [0, 1, 2],
  );
  const again = await studyIn(folder);
  assert.equal(again.rates, []);
  assert.equal(again.result.best, result.best);
});

test('a spoiled last line is dropped with a note, one before it is named with advice', async () => {
  const folder = recipeFolder(studyRecipe);
  await studyIn(folder);
  const file = join(folder, 'study', 'journal.jsonl');
  const [heading, first, second, third] = readFileSync(file, 'utf8').split('\n');
  for (const spoiled of ['{"trial":2,"parame', '{"trial":2,"parame\n', '{"trial":2}\n', '\0\0\0\0\n', '\n']) {
    writeFileSync(file, [heading, first, second, spoiled].join('\n'));
    const notes: string[] = [];
    const { rates, result } = await studyIn(folder, {
      onProgress: (event) => event.type === 'note' && notes.push(event.message),
    });
    assert.equal(rates, [0.3]);
    assert.is(result.trials.length, 3);
    assert.equal(notes.length, 1, JSON.stringify(spoiled));
    assert.match(notes[0]!, /journal\.jsonl:4: the last line is damaged/);
    assert.is(readFileSync(file, 'utf8').trim().split('\n').length, 4);
  }
  writeFileSync(file, [heading, 'not json', second, third, ''].join('\n'));
  await expectError(
    () => studyIn(folder),
    'BAD_DATA',
    /journal\.jsonl:2: expected a trial as a JSON object but found "not json"; delete the line to run that trial again/,
  );
  writeFileSync(file, ['{"study"', first, ''].join('\n'));
  await expectError(() => studyIn(folder), 'BAD_DATA', /journal\.jsonl:1: expected the study .*overwrite/);
});

test('only the best trial keeps its checkpoints, unless all are wanted', async () => {
  const folder = recipeFolder(studyRecipe);
  const weights = (trial: string) =>
    existsSync(join(folder, 'study', 'trials', trial, 'finetune', 'model.safetensors'));
  const kept: boolean[][] = [];
  const seen = (event: TuneEvent) => {
    if (event.type === 'trialEnd') kept.push(['001', '002', '003'].map(weights));
  };
  await studyIn(folder, { onProgress: seen });
  assert.equal(kept, [
    [true, false, false],
    [false, true, false],
    [false, true, false],
  ]);
  assert.ok(existsSync(join(folder, 'study', 'trials', '001', 'report.html')));
  assert.ok(existsSync(join(folder, 'study', 'trials', '001', 'finetune', 'step.json')));
  writeFileSync(join(folder, 'recipe.yaml'), studyRecipe.replace('study:', 'study:\n  keepCheckpoints: all'));
  assert.equal((await studyIn(folder)).rates, []);
  assert.equal(['001', '002', '003'].map(weights), [false, true, false]);
  await studyIn(folder, { overwrite: true });
  assert.equal(['001', '002', '003'].map(weights), [true, true, true]);
  writeFileSync(join(folder, 'recipe.yaml'), studyRecipe);
  await studyIn(folder);
  assert.equal(['001', '002', '003'].map(weights), [false, true, false]);
});

test('a crash between a trial and the removal of the one that it beats loses nothing', async () => {
  const folder = recipeFolder(studyRecipe);
  const weights = (trial: string) =>
    existsSync(join(folder, 'study', 'trials', trial, 'finetune', 'model.safetensors'));
  let isFirst = true;
  await expectError(
    () =>
      studyIn(folder, {}, (rate) => {
        assert.ok(rate === 0.1 || weights('001'), 'the best so far is kept while the next one trains');
        if (rate === 0.2 && isFirst) {
          isFirst = false;
          throw new WhittleError('IO', 'crash');
        }
      }),
    'IO',
    /crash/,
  );
  assert.ok(weights('001'));
  await studyIn(folder);
  assert.equal(['001', '002', '003'].map(weights), [false, true, false]);
});

test('a trial that diverges is set down and the study goes on', async () => {
  const folder = recipeFolder(studyRecipe);
  const { result } = await studyIn(folder, {}, (rate) => {
    if (rate === 0.2) throw new WhittleError('DIVERGED', 'the loss is NaN');
  });
  assert.equal(
    result.trials.map(({ state }) => state),
    ['finished', 'failed', 'finished'],
  );
  assert.is(result.trials[1]!.error, 'the loss is NaN');
});

test('other studies, spaces without fields and unknown samplers and metrics are refused', async () => {
  const folder = recipeFolder(studyRecipe);
  const change = (from: string, to: string) =>
    writeFileSync(join(folder, 'recipe.yaml'), studyRecipe.replace(from, to));
  await studyIn(folder);
  change('[0.1, 0.2, 0.3]', '[0.1, 0.4]');
  await expectError(() => studyIn(folder), 'BAD_RECIPE', /holds another study, which differs in .*0\.2 then, 0\.4 now/);
  await studyIn(folder, { overwrite: true });
  change('stages.1.learningRate:', 'stages.1.learnngRate:');
  await expectError(
    () => studyIn(folder),
    'BAD_RECIPE',
    /recipe\.yaml:17: unknown key "learnngRate" in stage 2; did you mean "learningRate"/,
  );
  change('finetune.stages.1.', 'finetune.stages.7.');
  await expectError(
    () => studyIn(folder),
    'BAD_RECIPE',
    /recipe\.yaml:17: steps\.finetune\.stages\.7\.learningRate in study\.space: expected a field of the recipe, but steps\.finetune\.stages has 2 entries, counted from 0, and no 7/,
  );
  change('[0.1, 0.2, 0.3]', '[fast]');
  await expectError(
    () => studyIn(folder),
    'BAD_RECIPE',
    /recipe\.yaml:17: learningRate in stage 2: expected a number but found "fast"/,
  );
  change('[0.1, 0.2, 0.3]', '{ uniform: [0.1, 0.2] }');
  await expectError(
    () => studyIn(folder),
    'BAD_RECIPE',
    /recipe\.yaml:17: expected a list of values for steps\.finetune\.stages\.1\.learningRate in a grid but found uniform/,
  );
  change('finetune.score', 'finetun.score');
  await expectError(
    () => studyIn(folder),
    'BAD_RECIPE',
    /recipe\.yaml:15: study\.metric: .*finetune, evaluate but found "finetun\.score"; did you mean "finetune"/,
  );
  change('sampler: grid', 'sampler: gird');
  await expectError(() => studyIn(folder), 'BAD_RECIPE', /recipe\.yaml:14: .*"gird"; did you mean "grid"/);
  change('finetune.score', 'finetune.scores');
  await expectError(() => studyIn(folder, { overwrite: true }), 'BAD_RECIPE', /did you mean "finetune\.score"/);
});

test.run();
