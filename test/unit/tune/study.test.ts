import { appendFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { WhittleError } from '../../../bindings/errors.js';
import { readRecipeFile } from '../../../lib/recipe/source.js';
import { runStudy, type TuneOptions } from '../../../lib/tune/study.js';
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
  await expectError(
    () => studyIn(folder, { signal: controller.signal }, (rate) => rate === 0.2 && controller.abort()),
    'ABORTED',
    /stopped/,
  );
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
    /unknown key "learnngRate" in stage 2; did you mean "learningRate"/,
  );
  change('sampler: grid', 'sampler: gird');
  await expectError(() => studyIn(folder), 'BAD_RECIPE', /recipe\.yaml:14: .*"gird"; did you mean "grid"/);
  change('finetune.score', 'finetune.scores');
  await expectError(() => studyIn(folder, { overwrite: true }), 'BAD_RECIPE', /did you mean "finetune\.score"/);
});

test.run();
