/** A run that is killed again and again, at any moment, ends with the same bits as one that nothing disturbed. */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  truncateSync,
  watch,
  writeFileSync,
  type FSWatcher,
} from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  finetune,
  loadDataset,
  run,
  stepContext,
  type FinetuneOptions,
  type ProgressEvent,
  type RunEvent,
  type RunOptions,
  type WhittleError,
} from '../../../lib/index.js';
import { generator } from '../../../lib/training/random.js';
import { expectError, root, temporaryFolder } from '../../harness.js';

const seed = Number(process.env.SEED ?? Date.now() % 100_000);
const kills = 20;
/** Runs that are killed at the same time. */
const lanes = 2;
const steps = ['finetune', 'prune', 'distill'];

/** Data of two labels, and a recipe with every step that trains. @param checkpoint of the finetune step. */
function recipeFolder(checkpoint: string): string {
  const folder = temporaryFolder();
  mkdirSync(join(folder, 'data'));
  const rows = Array.from({ length: 60 }, (_, index) =>
    JSON.stringify(
      index % 2 ? { text: `lost card ${index}`, label: 'lost' } : { text: `top up ${index}`, label: 'top' },
    ),
  );
  for (const name of ['train', 'dev', 'test'])
    writeFileSync(join(folder, 'data', `${name}.jsonl`), `${rows.join('\n')}\n`);
  writeFileSync(
    join(folder, 'recipe.yaml'),
    `model: ${join(root, 'test', 'fixtures', 'tiny-bert')}
task: text-classification
data: { path: data }
threads: 1
steps:
  - finetune:
      batchSize: 8
      ${checkpoint && `checkpoint: ${checkpoint}`}
      stages:
        - { train: head, epochs: 4, learningRate: 1e-2 }
        - { train: all, epochs: 8, learningRate: 1e-3, earlyStopping: { metric: loss, patience: 3 } }
  - prune: { sparsity: 0.5, recover: { epochs: 6, batchSize: 8, checkpoint: { everySteps: 2, keep: 1 } } }
  - distill:
      { teachers: [finetune], student: { layers: [1] }, epochs: 6, batchSize: 8, checkpoint: { everySteps: 3 } }
`,
  );
  return folder;
}

/**
 * Runs the recipe and kills the process, so many milliseconds after its first sign of training, or in the middle of
 * writing a training checkpoint. True if it was killed before its end.
 */
function runAndKill(folder: string, runFolder: string, moment: number | 'write' | 'never'): Promise<boolean> {
  const args = ['--import', 'tsx', join(root, 'lib', 'cli', 'main.ts'), 'run', join(folder, 'recipe.yaml')];
  const child = spawn(process.execPath, [...args, '--folder', runFolder, '--json'], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const watchers: FSWatcher[] = [];
  let hasStarted = false;
  child.stdout.on('data', (printed: Buffer) => {
    if (hasStarted || !printed.includes('"progress"')) return;
    hasStarted = true;
    if (moment === 'never') return;
    if (moment !== 'write') return void setTimeout(() => child.kill('SIGKILL'), moment);
    const killInWrite = (_: string, name: string | null) => name?.includes('.aside-') && child.kill('SIGKILL');
    for (const step of steps)
      if (existsSync(join(runFolder, `${step}.training`)))
        watchers.push(watch(join(runFolder, `${step}.training`), killInWrite));
    watchers.push(watch(runFolder, killInWrite));
  });
  return new Promise((done) => {
    child.on('close', (_, signal) => {
      for (const watcher of watchers) watcher.close();
      done(signal === 'SIGKILL');
    });
  });
}

/** What a run left that must not depend on whether it was killed. */
function leftBy(runFolder: string) {
  const untimed = (text: string) =>
    JSON.parse(text, (key, value: unknown) => (/seconds|tokensPerSecond|time/i.test(key) ? 0 : value)) as object;
  return {
    files: readdirSync(runFolder).sort(),
    weights: steps.map((step) =>
      createHash('sha256')
        .update(readFileSync(join(runFolder, step, 'model.safetensors')))
        .digest('hex'),
    ),
    records: steps.map((step) => {
      const { record, metrics } = untimed(readFileSync(join(runFolder, step, 'step.json'), 'utf8')) as {
        record: unknown;
        metrics: unknown;
      };
      return { record, metrics };
    }),
    metrics: readFileSync(join(runFolder, 'metrics.jsonl'), 'utf8').trim().split('\n').map(untimed),
  };
}

test(`killed ${kills} times at random moments, a run ends with the same bits (seed ${seed})`, async () => {
  const folder = recipeFolder('{ everySteps: 1 }');
  const undisturbed = await run(join(folder, 'recipe.yaml'), { folder: join(folder, 'undisturbed') });
  const expected = leftBy(undisturbed.folder);
  assert.ok(!expected.files.some((name) => name.endsWith('.training')));

  const counts = { killed: 0, inWrite: 0, resumed: 0 };
  /** Kills runs until there were so many kills, each time letting the last one come to its end. */
  const killRuns = async (lane: number) => {
    const random = generator(seed, 0x4b11, lane);
    let left = kills / lanes;
    for (let runs = 0; left > 0; runs++) {
      const runFolder = join(folder, `killed-${lane}-${runs}`);
      for (;;) {
        const moment = left === 0 ? 'never' : left % 2 ? 'write' : Math.floor(random() * 400);
        if (!(await runAndKill(folder, runFolder, moment))) break;
        left--;
        counts.killed++;
        const trainings = steps.map((step) => join(runFolder, `${step}.training`)).filter((path) => existsSync(path));
        const inside = [runFolder, ...trainings].flatMap((path) => readdirSync(path));
        if (trainings.length) counts.resumed++;
        if (inside.some((name) => name.includes('.aside-'))) counts.inWrite++;
      }
      assert.equal(leftBy(runFolder), expected, `lane ${lane}, run ${runs}`);
    }
  };
  await Promise.all(Array.from({ length: lanes }, (_, lane) => killRuns(lane)));
  const { killed, inWrite, resumed } = counts;
  console.log(`killed ${killed} times, ${inWrite} of them in a write, ${resumed} with a training to go on from`);
  assert.ok(killed >= kills && inWrite > 0 && resumed > 0);
});

/** Runs in this process until `stop` says so of an event. */
async function runUntil(recipe: string, runFolder: string, stop: (event: RunEvent) => boolean): Promise<void> {
  const controller = new AbortController();
  const onProgress = (event: RunEvent) => void (stop(event) && controller.abort());
  await expectError(() => run(recipe, { folder: runFolder, signal: controller.signal, onProgress }), 'ABORTED', /./);
}

test('a run that is asked to stop saves its training first, in a step and in an evaluation', async () => {
  const folder = recipeFolder('');
  const recipe = join(folder, 'recipe.yaml');
  const expected = leftBy((await run(recipe, { folder: join(folder, 'undisturbed') })).folder);
  const stops: [string, string, (event: ProgressEvent) => boolean][] = [
    ['finetune', 'stage-1-step-13', ({ done }) => done === 13],
    // The last step of an epoch, before its evaluation, and after one.
    ['finetune', 'stage-1-step-16', ({ done, loss }) => done === 16 && loss !== undefined],
    ['finetune', 'stage-1-step-24', ({ done, metrics }) => done === 24 && metrics !== undefined],
    ['prune', 'stage-1-step-30', ({ step, done }) => step === 'prune' && done === 30],
  ];
  const runFolder = join(folder, 'stopped');
  for (const [step, saved, stop] of stops) {
    await runUntil(recipe, runFolder, (event) => event.type === 'progress' && stop(event));
    const names = readdirSync(join(runFolder, `${step}.training`));
    assert.ok(names.includes(saved), `${step}: ${names.join(', ')}`);
    const { progress } = JSON.parse(readFileSync(join(runFolder, `${step}.training`, saved, 'state.json'), 'utf8'));
    assert.is(progress.evaluationDue !== undefined, saved === 'stage-1-step-16');
  }
  const notes: string[] = [];
  await run(recipe, { folder: runFolder, onProgress: (event) => event.type === 'note' && notes.push(event.message) });
  assert.equal(notes, ['goes on from the training checkpoint of step "prune" after stage 1, step 30']);
  assert.equal(leftBy(runFolder), expected);
});

test('a damaged training checkpoint is left out for the one before it', async () => {
  const folder = recipeFolder('{ everySteps: 4, keep: 3 }');
  const recipe = join(folder, 'recipe.yaml');
  const expected = leftBy((await run(recipe, { folder: join(folder, 'undisturbed') })).folder);
  const runFolder = join(folder, 'stopped');
  await runUntil(recipe, runFolder, (event) => event.type === 'progress' && event.done === 22);
  const training = join(runFolder, 'finetune.training');
  assert.equal(readdirSync(training).sort(), ['stage-1-step-16', 'stage-1-step-20', 'stage-1-step-22']);
  truncateSync(join(training, 'stage-1-step-22', 'state.safetensors'), 1000);
  writeFileSync(join(training, 'stage-1-step-20', 'state.json'), '{"hash":');
  const notes: string[] = [];
  await run(recipe, { folder: runFolder, onProgress: (event) => event.type === 'note' && notes.push(event.message) });
  assert.is(notes.length, 3);
  assert.match(notes[0]!, /stage-1-step-22 is damaged and left out: .*state\.safetensors/);
  assert.match(notes[1]!, /stage-1-step-20 is damaged and left out/);
  assert.match(notes[2]!, /goes on from the training checkpoint of step "finetune" after stage 1, step 16/);
  assert.equal(leftBy(runFolder), expected);
});

test('going on with a changed recipe says what differs', async () => {
  const folder = recipeFolder('');
  const recipe = join(folder, 'recipe.yaml');
  const text = readFileSync(recipe, 'utf8');
  const runFolder = join(folder, 'run');
  await runUntil(recipe, runFolder, (event) => event.type === 'progress' && event.done === 9);
  const error = async (options: RunOptions, message: RegExp) =>
    expectError(
      () => run(recipe, { folder: runFolder, ...options }),
      options.resume === false ? 'BAD_OPTION' : 'BAD_RECIPE',
      message,
    );
  await error({ resume: false }, /found a training checkpoint of step "finetune" after stage 1, step 9/);
  // What comes later, and what changes no result, may change.
  writeFileSync(recipe, text.replace('sparsity: 0.5', 'sparsity: 0.4').replace('threads: 1', 'threads: 2'));
  await runUntil(recipe, runFolder, (event) => event.type === 'progress' && event.done === 11);
  writeFileSync(recipe, text.replace('learningRate: 1e-3', 'learningRate: 2e-3'));
  await error(
    {},
    /run holds a training checkpoint of step "finetune" after stage 1, step 11, of another recipe, which differs in steps\.0\.finetune\.stages\.1\.learningRate: 0\.001 then, 0\.002 now; undo the change to go on from it, or run with restart/,
  );
  writeFileSync(recipe, text);
  appendFileSync(join(folder, 'data', 'train.jsonl'), '{"text":"top up again","label":"top"}\n');
  await error({}, /differs in the rows of the data;/);
  const notes: string[] = [];
  await run(recipe, {
    folder: runFolder,
    restart: true,
    onProgress: (event) => event.type === 'note' && notes.push(event.message),
  });
  assert.equal(notes, []);
});

test('a training without a recipe goes on too, and starts anew with other options', async () => {
  const folder = recipeFolder('');
  const data = await loadDataset({ path: join(folder, 'data') });
  const model = join(root, 'test', 'fixtures', 'tiny-bert');
  const options: FinetuneOptions = { batchSize: 8, stages: [{ train: 'all', epochs: 3, learningRate: 1e-3 }] };
  const finetuneUntil = async (name: string, stopAt: number, changed = options) => {
    const controller = new AbortController();
    const steps: number[] = [];
    const onProgress = ({ done, loss }: ProgressEvent) => {
      if (loss !== undefined) steps.push(done);
      if (done === stopAt) controller.abort();
    };
    const context = stepContext({ data, folder: join(folder, name), signal: controller.signal, onProgress });
    await finetune(model, changed, context).catch((error: WhittleError) => assert.is(error.code, 'ABORTED'));
    return steps;
  };
  assert.is((await finetuneUntil('whole', 0)).length, 24);
  assert.is((await finetuneUntil('stopped', 10)).at(-1), 10);
  assert.ok(existsSync(join(folder, 'stopped.training')));
  assert.is((await finetuneUntil('stopped', 0))[0], 11);
  assert.not.ok(existsSync(join(folder, 'stopped.training')));
  const weights = (name: string) => readFileSync(join(folder, name, 'model.safetensors'));
  assert.ok(weights('whole').equals(weights('stopped')));
  await finetuneUntil('changed', 10);
  const other = { ...options, stages: [{ train: 'all', epochs: 3, learningRate: 2e-3 }] };
  assert.is((await finetuneUntil('changed', 0, other))[0], 1);
});

test('a training that diverges leaves nothing to go on from', async () => {
  const folder = recipeFolder('');
  const recipe = join(folder, 'recipe.yaml');
  const runFolder = join(folder, 'run');
  await runUntil(recipe, runFolder, (event) => event.type === 'progress' && event.done === 9);
  const training = join(runFolder, 'finetune.training');
  const file = join(training, 'stage-1-step-9', 'state.safetensors');
  const bytes = readFileSync(file);
  writeFileSync(file, bytes.fill(0xff, 8 + Number(bytes.readBigUInt64LE()))); // weights that are NaN
  await expectError(() => run(recipe, { folder: runFolder }), 'DIVERGED', /the loss became NaN at step 10/);
  assert.not.ok(existsSync(training));
  writeFileSync(recipe, readFileSync(recipe, 'utf8').replace('learningRate: 1e-3', 'learningRate: 2e-3'));
  await run(recipe, { folder: runFolder });
});

test.run();
