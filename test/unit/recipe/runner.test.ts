import { existsSync, readFileSync, readdirSync, rmSync, truncateSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { WhittleError } from '../../../bindings/errors.js';
import { lockFolder } from '../../../lib/recipe/lock.js';
import { runRecipe, type RunEvent, type RunOptions } from '../../../lib/recipe/runner.js';
import { resolveRecipe } from '../../../lib/recipe/schema.js';
import { readRecipeFile } from '../../../lib/recipe/source.js';
import { expectError } from '../../harness.js';
import { fakeParts, recipeFolder, simpleRecipe, type Call } from './fake-parts.js';

async function runIn(folder: string, options: RunOptions = {}, onTrain?: (call: Call) => unknown) {
  const { parts, calls } = fakeParts(onTrain);
  const recipe = resolveRecipe(await readRecipeFile(join(folder, 'recipe.yaml')), parts);
  const result = await runRecipe(recipe, parts, { folder: join(folder, 'run'), ...options });
  return { result, calls };
}

function change(folder: string, from: string, to: string): void {
  const file = join(folder, 'recipe.yaml');
  writeFileSync(file, readFileSync(file, 'utf8').replace(from, to));
}

test('a run leaves recipe, steps, metrics and reports', async () => {
  const folder = recipeFolder(simpleRecipe);
  const events: RunEvent[] = [];
  const { result, calls } = await runIn(folder, { onProgress: (event) => events.push(event) });
  assert.equal(readdirSync(result.folder).sort(), [
    '.inputs.json',
    'evaluate',
    'finetune',
    'metrics.jsonl',
    'recipe.yaml',
    'report.html',
    'report.json',
    'split.json',
  ]);
  assert.is(result.checkpoint, join(folder, 'run', 'finetune'));
  assert.equal(result.metrics.evaluate, { accuracy: 0.8, macroF1: 0.7, textsPerSecond: 100 });
  assert.is(readFileSync(join(result.checkpoint, 'model.safetensors'), 'utf8'), 'model>finetune');
  assert.equal(
    calls.map(({ step }) => step),
    ['finetune', 'evaluate'],
  );
  const report = JSON.parse(readFileSync(join(result.folder, 'report.json'), 'utf8'));
  assert.is(report.models.length, 1);
  assert.is(report.models[0].name, 'finetune');
  assert.is(report.models[0].precision, 'float32');
  assert.is(report.models[0].accuracy, 0.8);
  assert.ok(report.models[0].bytes > 0 && report.seconds >= 0 && report.machine);
  assert.equal(
    events.map(({ type }) => type),
    ['run', 'step', 'progress', 'stepEnd', 'step', 'stepEnd', 'end'],
  );
  const metrics = readFileSync(join(result.folder, 'metrics.jsonl'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  assert.is(metrics[0].step, 'finetune');
  assert.is(metrics[0].loss, 0.5);
  const html = readFileSync(result.reportFile, 'utf8');
  assert.match(html, /What each step cost and bought/);
  assert.not.match(html, /https?:\/\//);
});

test('finished steps are not run again', async () => {
  const folder = recipeFolder(simpleRecipe);
  await runIn(folder);
  const { calls, result } = await runIn(folder);
  assert.is(calls.length, 0);
  assert.is(result.metrics.finetune!.accuracy, 0.9);
  await expectError(() => runIn(folder, { resume: false }), 'BAD_OPTION', /finished step "finetune"/);
});

test('a finished step whose checkpoint is damaged or gone runs again, and says why', async () => {
  const folder = recipeFolder(simpleRecipe);
  const { result } = await runIn(folder);
  const weights = join(result.checkpoint, 'model.safetensors');
  const cases: [() => void, RegExp][] = [
    [() => truncateSync(weights, 3), /finetune\/model\.safetensors has 3 bytes in place of 14$/],
    [() => writeFileSync(weights, 'other weights!'), /finetune\/model\.safetensors has changed since$/],
    [() => rmSync(weights), /finetune\/model\.safetensors is missing$/],
    [() => rmSync(join(result.checkpoint, 'config.json')), /finetune\/config\.json is missing$/],
    [() => writeFileSync(join(result.checkpoint, 'step.json'), '{"name":'), /finetune\/step\.json is damaged$/],
    [() => writeFileSync(join(result.checkpoint, 'step.json'), '{"checkpoint":"."}'), /step\.json is damaged$/],
  ];
  for (const [damage, why] of cases) {
    damage();
    const notes: string[] = [];
    const { calls } = await runIn(folder, {
      onProgress: (event) => event.type === 'note' && notes.push(event.message),
    });
    assert.equal(
      calls.map(({ step }) => step),
      ['finetune', 'evaluate'],
    );
    assert.is(notes.length, 1);
    assert.match(notes[0]!, why);
    assert.match(notes[0]!, /^step "finetune" was finished and runs again/);
  }
  utimesSync(weights, 1, 1); // as in a copy of the folder
  assert.is((await runIn(folder)).calls.length, 0);
});

test('a run folder whose recipe.yaml is damaged still refuses another recipe', async () => {
  const folder = recipeFolder(simpleRecipe);
  const { result } = await runIn(folder);
  writeFileSync(join(result.folder, 'recipe.yaml'), '[');
  assert.is((await runIn(folder)).calls.length, 0);
  writeFileSync(join(result.folder, 'recipe.yaml'), '[');
  writeFileSync(join(folder, 'recipe.yaml'), `${simpleRecipe}\nseed: 5\n`);
  await expectError(() => runIn(folder), 'BAD_RECIPE', /finished step "finetune" of another recipe/);
});

test('a failed run goes on at the step that failed, with its metrics dropped', async () => {
  const folder = recipeFolder(simpleRecipe + '  - distill: { teachers: [finetune] }\n');
  const failing = (call: Call) => {
    if (call.step === 'distill') throw new WhittleError('DIVERGED', 'loss is NaN');
  };
  await expectError(() => runIn(folder, {}, failing), 'DIVERGED', /NaN/);
  assert.not.ok(existsSync(join(folder, 'run', 'report.json')));
  assert.not.ok(existsSync(join(folder, 'run', '.lock')));
  const { calls } = await runIn(folder);
  assert.equal(
    calls.map(({ step }) => step),
    ['distill'],
  );
  assert.is(calls[0]!.context.checkpoints.get('finetune'), join(folder, 'run', 'finetune'));
  const lines = readFileSync(join(folder, 'run', 'metrics.jsonl'), 'utf8')
    .trim()
    .split('\n');
  assert.equal(
    lines.map((line) => JSON.parse(line).step),
    ['finetune', 'distill'],
  );
});

test('a changed recipe says what differs', async () => {
  const folder = recipeFolder(simpleRecipe);
  await runIn(folder);
  change(folder, 'learningRate: 1e-4', 'learningRate: 2e-4');
  await expectError(
    () => runIn(folder),
    'BAD_RECIPE',
    /finished step "finetune" of another recipe.*steps\.0\.finetune\.stages\.1\.learningRate: 0\.0001 then, 0\.0002 now/,
  );
  const { calls } = await runIn(folder, { overwrite: true });
  assert.is(calls.length, 2);
});

test('a change after the finished steps keeps them', async () => {
  const folder = recipeFolder(simpleRecipe);
  await runIn(folder);
  change(folder, '- evaluate', '- evaluate\n  - distill: { teachers: [finetune] }');
  const { calls } = await runIn(folder);
  assert.equal(
    calls.map(({ step }) => step),
    ['distill'],
  );
});

test('a changed model is noticed', async () => {
  const folder = recipeFolder(simpleRecipe);
  await runIn(folder);
  writeFileSync(join(folder, 'model', 'model.safetensors'), 'another');
  await expectError(() => runIn(folder), 'BAD_RECIPE', /the files of the model/);
});

test('threads may change', async () => {
  const folder = recipeFolder(simpleRecipe);
  await runIn(folder);
  change(folder, 'name: trial', 'name: trial\nthreads: 2');
  const { calls } = await runIn(folder);
  assert.is(calls.length, 0);
});

test('a signal stops the run with nothing half-written', async () => {
  const folder = recipeFolder(simpleRecipe);
  const controller = new AbortController();
  const stop = () => {
    controller.abort();
    throw new WhittleError('ABORTED', 'stopped');
  };
  await expectError(
    () => runIn(folder, { signal: controller.signal }, stop),
    'ABORTED',
    /stopped in step "finetune"; the same command goes on from this step/,
  );
  assert.not.ok(existsSync(join(folder, 'run', 'finetune', 'step.json')));
  assert.not.ok(existsSync(join(folder, 'run', 'evaluate')));
  const { calls } = await runIn(folder);
  assert.is(calls.length, 2);
});

test('a step that ends in spite of the signal is kept', async () => {
  const folder = recipeFolder(simpleRecipe);
  const controller = new AbortController();
  await expectError(
    () => runIn(folder, { signal: controller.signal }, () => controller.abort()),
    'ABORTED',
    /stopped before step "evaluate"; the same command goes on from there/,
  );
  assert.ok(existsSync(join(folder, 'run', 'finetune', 'step.json')));
  const { calls } = await runIn(folder);
  assert.equal(
    calls.map(({ step }) => step),
    ['evaluate'],
  );
});

test('a folder in use is refused', async () => {
  const folder = recipeFolder(simpleRecipe);
  const unlock = await lockFolder(join(folder, 'run'));
  await expectError(() => runIn(folder), 'IO', new RegExp(`in use by process ${process.pid}`));
  await unlock();
  await runIn(folder);
});

test('the lock of a process that is gone is taken over', async () => {
  const folder = recipeFolder(simpleRecipe);
  await (
    await lockFolder(join(folder, 'run'))
  )();
  writeFileSync(
    join(folder, 'run', '.lock'),
    JSON.stringify({ pid: process.pid, host: (await import('node:os')).hostname(), started: '1' }),
  );
  await runIn(folder);
  writeFileSync(join(folder, 'run', '.lock'), '{"pid');
  await runIn(folder);
});

test('a folder that is a file, or lies below one, is named', async () => {
  const folder = recipeFolder(simpleRecipe);
  const file = join(folder, 'recipe.yaml');
  await expectError(
    () => runIn(folder, { folder: file }),
    'IO',
    /recipe\.yaml: expected a folder to write to but found a file$/,
  );
  await expectError(
    () => runIn(folder, { folder: join(file, 'run') }),
    'IO',
    /recipe\.yaml\/run could not be written: a part of the path is a file$/,
  );
});

test('a folder with something else in it is left alone', async () => {
  const folder = recipeFolder(simpleRecipe);
  await expectError(
    () => runIn(folder, { folder: join(folder, 'model'), overwrite: true }),
    'IO',
    /expected a run folder/,
  );
  assert.ok(existsSync(join(folder, 'model', 'config.json')));
});

test.run();
