import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { resolveRecipe, writtenRecipe } from '../../../lib/recipe/schema.js';
import { parseRecipeText, readRecipeFile, recipeFromObject } from '../../../lib/recipe/source.js';
import { expectError } from '../../harness.js';
import { fakeParts, recipeFolder, simpleRecipe } from './fake-parts.js';

const { parts } = fakeParts();

/** The error of a recipe whose text is `simpleRecipe` with `from` replaced by `to`. */
async function errorOf(from: string, to: string, message: RegExp): Promise<void> {
  assert.ok(simpleRecipe.includes(from));
  const folder = recipeFolder(simpleRecipe.replace(from, to));
  const file = join(folder, 'recipe.yaml');
  await expectError(async () => resolveRecipe(await readRecipeFile(file), parts), 'BAD_RECIPE', message);
}

test('defaults are filled in, paths are beside the recipe, steps have names', async () => {
  const folder = recipeFolder(simpleRecipe + '  - evaluate: { on: dev }\n');
  const recipe = resolveRecipe(await readRecipeFile(join(folder, 'recipe.yaml')), parts);
  assert.is(recipe.model, join(folder, 'model'));
  assert.equal(recipe.data, { path: join(folder, 'data') });
  assert.is(recipe.seed, 13);
  assert.equal(
    recipe.steps.map(({ name, kind }) => [name, kind]),
    [
      ['finetune', 'finetune'],
      ['evaluate', 'evaluate'],
      ['evaluate-2', 'evaluate'],
    ],
  );
  const again = resolveRecipe({ ...recipeFromObject(writtenRecipe(recipe)), folder: '/' }, parts);
  assert.equal(again, recipe);
});

test('a run without a name is called after its recipe', async () => {
  const folder = recipeFolder(simpleRecipe.replace('name: trial', ''));
  const recipe = resolveRecipe(await readRecipeFile(join(folder, 'recipe.yaml')), parts);
  assert.match(recipe.name, /^whittle-test-/);
});

test('a misspelt key names line, place and the right key', async () => {
  await errorOf(
    '- { train: all, learningRate: 1e-4 }',
    '- { train: all, learningrate: 1e-4 }',
    /recipe\.yaml:10: unknown key "learningrate" in stage 2; did you mean "learningRate"\?$/,
  );
  await errorOf('task:', 'tsak:', /recipe\.yaml:(2|4): /);
  await errorOf(
    '- evaluate',
    '- evaluate: { onn: dev }',
    /recipe\.yaml:11: unknown key "onn" in step 2 \(evaluate\); did you mean "on"\?/,
  );
  await errorOf(
    '- evaluate',
    '- evalate: {}',
    /recipe\.yaml:11: unknown key "evalate" in step 2; did you mean "evaluate"\?/,
  );
});

test('wrong values name line, key and what was expected', async () => {
  await errorOf(
    'learningRate: 1e-3',
    'learningRate: -1',
    /recipe\.yaml:9: learningRate in stage 1: expected above 0 but found -1$/,
  );
  await errorOf('learningRate: 1e-3', 'learningRate: .nan', /recipe\.yaml:9: learningRate in stage 1: .*NaN/);
  await errorOf(
    'task: text-classification',
    'task: poetry',
    /recipe\.yaml:4: task: expected text-classification, .* or [a-z-]+ but found "poetry"$/,
  );
  await errorOf(
    '- evaluate',
    '- evaluate: { on: tset }',
    /recipe\.yaml:11: on in step 2 \(evaluate\): expected dev or test but found "tset"; did you mean "test"\?$/,
  );
  await errorOf(
    'name: trial',
    'threads: 5000',
    /recipe\.yaml:2: threads: expected a whole number of threads, at most 1024, but found 5000$/,
  );
  await errorOf(
    '- evaluate',
    '- { evaluate: {}, distill: { teachers: [finetune] } }',
    /:11: .*exactly one of .* found evaluate and distill|:11: .*exactly one of .* found distill and evaluate/,
  );
  await errorOf(
    'model: model',
    'model: nowhere',
    /recipe\.yaml:3: model: expected the folder of a checkpoint but found nothing at .*nowhere/,
  );
});

test('an empty recipe, or one that is no map, says what a recipe has', async () => {
  for (const [text, found] of [
    ['', 'it is empty'],
    ['# nothing', 'it is empty'],
    ['[1]', 'found a list'],
    ['hello', 'found "hello"'],
  ] as const)
    await expectError(
      () => resolveRecipe(parseRecipeText(text, 'recipe.yaml'), parts),
      'BAD_RECIPE',
      new RegExp(`^recipe\\.yaml(:1)?: expected a recipe, with the keys model, task, data and steps, but ${found}$`),
    );
});

test('text that is not YAML names the line', async () => {
  await errorOf('steps:', 'steps: [', /recipe\.yaml:\d+: expected YAML or JSON/);
  await expectError(() => parseRecipeText('a: 1\na: 2\n', 'recipe.yaml'), 'BAD_RECIPE', /recipe\.yaml:2: .*unique/);
  await expectError(
    () => parseRecipeText('a: 1\nb: *c\n', 'recipe.yaml'),
    'BAD_RECIPE',
    /recipe\.yaml:2: unresolved alias/,
  );
});

test('a model that is a file or no name is named with its line', async () => {
  await errorOf('model: model', 'model: recipe.yaml', /recipe\.yaml:\d: model: .* but found a file at .*recipe\.yaml$/);
  await errorOf(
    'model: model',
    'model: ""',
    /recipe\.yaml:\d: model: expected the folder of a checkpoint but found ""$/,
  );
});

test('a missing file and a folder are named', async () => {
  await expectError(
    () => readRecipeFile('/nowhere/recipe.yaml'),
    'BAD_RECIPE',
    /recipe\.yaml: expected a recipe but there is no file/,
  );
  await expectError(() => readRecipeFile('/tmp'), 'BAD_RECIPE', /found a folder/);
});

test('teachers are earlier steps or folders', async () => {
  const folder = recipeFolder(simpleRecipe + '  - distill: { teachers: [finetune, model] }\n');
  const recipe = resolveRecipe(await readRecipeFile(join(folder, 'recipe.yaml')), parts);
  assert.equal((recipe.steps[2]!.options as { teachers: string[] }).teachers, ['finetune', join(folder, 'model')]);
  await errorOf(
    '- evaluate',
    '- distill: { teachers: [finetun] }',
    /recipe\.yaml:11: teachers\[0\] in step 2 \(distill\): .*"finetun"; did you mean "finetune"\?/,
  );
});

test('two steps of one name are refused', async () => {
  await errorOf(
    '- evaluate',
    '- { name: a, evaluate: {} }\n  - { name: a, evaluate: {} }',
    /recipe\.yaml:12: .*"a" comes twice/,
  );
});

test('the study is checked too', async () => {
  await errorOf(
    'steps:',
    'study: { space: { seed: { logUniform: [1, 0] } } }\nsteps:',
    /recipe\.yaml:6: .*lower bound first/,
  );
  await errorOf(
    'steps:',
    'study: { space: { seed: { loguniform: [1, 2] } } }\nsteps:',
    /recipe\.yaml:6: .*did you mean "logUniform"/,
  );
});

test('an object has no line numbers but the same sentences', async () => {
  await expectError(
    () =>
      resolveRecipe(
        recipeFromObject({
          model: '/',
          task: 'text-classification',
          data: { path: '/' },
          steps: [{ finetune: { stages: [{ trian: 'head' }] } }],
        }),
        parts,
      ),
    'BAD_RECIPE',
    /^recipe: /,
  );
});

test.run();
