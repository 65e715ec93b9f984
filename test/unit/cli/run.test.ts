import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { finetune, loadDataset, Predictor, quantize, run, stepContext } from '../../../lib/index.js';
import { expectError, root, skip, temporaryFolder } from '../../harness.js';
import { columnsOf } from '../../../lib/cli/columns.js';
import { formatBar, runDisplay, Terminal } from '../../../lib/cli/terminal.js';
import { whittle, whittleOnFullDisk, whittleOnTinyDisk } from './command-line.js';

const model = join(root, 'test', 'fixtures', 'tiny-bert');

/** A folder with data of two labels and a recipe. */
function recipeFolder(steps: string): string {
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
    `model: ${model}\ntask: text-classification\ndata: { path: data }\nsteps:\n${steps}`,
  );
  return folder;
}

const short = `  - finetune: { batchSize: 10, stages: [{ train: all, epochs: 4, learningRate: 1e-2 }] }
  - quantize
  - evaluate
`;

test('a recipe runs from the command line to a model that predicts', async () => {
  const folder = recipeFolder(short);
  const args = ['run', join(folder, 'recipe.yaml'), '--folder', join(folder, 'run')];
  const { code, stdout, stderr } = await whittle(args);
  assert.is(code, 0, stderr);
  assert.match(stdout, /model +precision +on +accuracy.*\n.*\nquantize +int8 +test +\d+\.\d+ %/);
  assert.match(stderr, /finetune: done in .*, accuracy/);
  await using predictor = await Predictor.load(join(folder, 'run', 'quantize'));
  assert.is((await predictor.predict('lost card 3')).label, 'lost');
  const report = JSON.parse(readFileSync(join(folder, 'run', 'report.json'), 'utf8'));
  assert.ok(report.models[0].textsPerSecond > 0);
  assert.ok(report.models[0].accuracy > 0.9);
  const html = readFileSync(join(folder, 'run', 'report.html'), 'utf8');
  assert.match(html, /Learning curves of finetune/);
  assert.match(html, /Confusion matrix/);
  const again = await whittle([...args, '--json']);
  const events = again.stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  assert.equal(
    events.filter(({ type }) => type === 'stepEnd').map(({ reused }) => reused),
    [true, true, true],
  );
  assert.is(events.at(-1).type, 'report');
});

test('the same recipe gives the same weights, as an object too', async () => {
  const folder = recipeFolder(short);
  const weights = (name: string) => readFileSync(join(folder, name, 'finetune', 'model.safetensors'));
  await run(join(folder, 'recipe.yaml'), { folder: join(folder, 'a') });
  await run(
    {
      model,
      task: 'text-classification',
      data: { path: join(folder, 'data') },
      steps: [{ finetune: { batchSize: 10, stages: [{ train: 'all', epochs: 4, learningRate: 1e-2 }] } }],
    },
    { folder: join(folder, 'b') },
  );
  assert.ok(weights('a').equals(weights('b')));
});

test('steps are functions too', async () => {
  const folder = recipeFolder(short);
  const data = await loadDataset({ path: join(folder, 'data') });
  const options = { batchSize: 10, stages: [{ train: 'all', epochs: 4, learningRate: 1e-2 }] };
  const { checkpoint, metrics } = await finetune(model, options, stepContext({ data, folder: join(folder, 'a') }));
  assert.ok(metrics.accuracy! > 0.9);
  const small = await quantize(checkpoint, {}, stepContext({ folder: join(folder, 'b') }));
  await using predictor = await Predictor.load(small.checkpoint);
  assert.is((await predictor.predict('lost card 3')).label, 'lost');
  await expectError(
    () => finetune(model, options, stepContext({ folder: join(folder, 'c') })),
    'BAD_OPTION',
    /expected "data"/,
  );
});

test('mistakes in a recipe are one line', async () => {
  const folder = recipeFolder(short.replace('learningRate', 'learningrate'));
  const { code, stderr } = await whittle(['run', join(folder, 'recipe.yaml')]);
  assert.is(code, 1);
  assert.match(
    stderr,
    /^whittle: .*recipe\.yaml:5: unknown key "learningrate" in stage 1; did you mean "learningRate"\?\n$/,
  );
});

test('Ctrl-C in the middle of training saves it, leaves nothing half-written, and the same command goes on', async () => {
  const folder = recipeFolder(short.replace('epochs: 4', 'epochs: 10000'));
  const args = ['run', join(folder, 'recipe.yaml'), '--folder', join(folder, 'run'), '--json'];
  const runAndStop = () => {
    let isKilled = false;
    return whittle(args, (printed, child) => {
      if (!printed.includes('"loss"') || isKilled) return;
      isKilled = true;
      child.kill('SIGINT');
    });
  };
  const { code, stderr } = await runAndStop();
  assert.is(code, 130, stderr);
  const stopped =
    /^whittle: stopped in step "finetune" after stage 1, step (\d+); the same command goes on from there\n$/.exec(
      stderr,
    );
  assert.ok(stopped, stderr);
  assert.equal(readdirSync(join(folder, 'run')).sort(), [
    '.inputs.json',
    'finetune.training',
    'metrics.jsonl',
    'recipe.yaml',
    'split.json',
  ]);
  const again = await runAndStop();
  assert.match(
    again.stdout,
    new RegExp(`"goes on from the training checkpoint of step \\\\"finetune\\\\" after stage 1, step ${stopped[1]}"`),
  );
});

test('a reader that goes away stops the run as Ctrl-C does', async () => {
  const folder = recipeFolder(short.replace('epochs: 4', 'epochs: 10000'));
  const args = ['run', join(folder, 'recipe.yaml'), '--folder', join(folder, 'run'), '--json'];
  const { code, stderr } = await whittle(args, (printed, child) => {
    if (printed.includes('"loss"')) child.stdout!.destroy();
  });
  assert.is(code, 141, stderr);
  assert.match(stderr, /^whittle: stopped in step "finetune" after stage 1, step \d+; [^\n]*\n$/);
  assert.equal(readdirSync(join(folder, 'run', 'finetune.training')).length, 1);
});

test('SIGTERM stops a run as Ctrl-C does, with its own exit code', async () => {
  const folder = recipeFolder(short.replace('epochs: 4', 'epochs: 10000'));
  const args = ['run', join(folder, 'recipe.yaml'), '--folder', join(folder, 'run'), '--json'];
  let isKilled = false;
  const { code, stderr } = await whittle(args, (printed, child) => {
    if (!printed.includes('"loss"') || isKilled) return;
    isKilled = true;
    child.kill('SIGTERM');
  });
  assert.is(code, 143, stderr);
  assert.match(stderr, /^whittle: stopped in step "finetune" after stage 1, step \d+; [^\n]*\n$/);
});

test('bars fit the terminal: cells go first, then the title is shorter, then whole notes go', () => {
  const notes = [
    { text: 'loss 0.5', rank: 1 },
    { text: 'rate 1.0e-4', rank: 2 },
    { text: '12 s left', rank: 0 },
  ];
  const state = { title: 'finetune: stage 2 of 3 (all)', done: 1, total: 4, notes };
  const rest = '   25 %  loss 0.5  rate 1.0e-4  12 s left';
  assert.is(formatBar(state, 120, true), `finetune: stage 2 of 3 (all)  ${'█'.repeat(5)}${'░'.repeat(15)}${rest}`);
  assert.is(formatBar(state, 79, true), `finetune: stage 2 of 3 (all)  ██░░░░░░${rest}`);
  assert.is(formatBar(state, 70, true), `finetune: stage 2 of 3 (all)${rest}`);
  assert.is(formatBar(state, 60, true), `finetune: stage 2 …${rest}`);
  const short = { ...state, shortTitle: 'finetune 2/3' };
  assert.is(formatBar(short, 64, true), `finetune 2/3  ██░░░░░░░${rest}`);
  assert.is(formatBar(short, 50, true), `finetune 2/3  ██░░░░░░   25 %  loss 0.5  12 s left`);
  assert.is(formatBar(short, 40, true), `finetune 2/3   25 %  loss 0.5  12 s left`);
  assert.is(formatBar(short, 39, true), `finetune 2/3  ██░░░░░   25 %  12 s left`);
  assert.is(formatBar(short, 10, true), 'finetune …');
  assert.is(formatBar(state, Infinity, false), `finetune: stage 2 of 3 (all)${rest}`);
});

test('bars count the columns of wide characters', () => {
  const state = { title: 'predict: 数据/评论.csv', done: 1, total: 2, notes: [] };
  assert.is(formatBar(state, 40, true), `predict: 数据/评论.csv  ${'█'.repeat(5)}${'░'.repeat(4)}   50 %`);
  assert.is(formatBar(state, 22, true), 'predict: 数据/…   50 %');
  assert.is(columnsOf('e\u0301 \u{1f600} 한'), 7);
});

test('a bar shows the loss beside the scores of an evaluation, and ends whole on a terminal of any width', () => {
  const shown: string[] = [];
  const write = (text: string) => shown.push(text);
  for (const columns of [40, 80, 200, 0]) {
    shown.length = 0;
    const terminal = new Terminal({ stream: { isTTY: true, columns, write } as unknown as NodeJS.WriteStream });
    const show = runDisplay(terminal);
    const event = {
      type: 'progress',
      step: 'finetune',
      phase: 'stage 2 of 3 (layers.4-5, head)',
      total: 10,
      unit: 'step',
      tokensPerSecond: 13_413,
    } as const;
    show({ ...event, done: 5, loss: 2.505, learningRate: 1.1e-5, secondsLeft: 725 });
    show({ ...event, done: 10, metrics: { accuracy: 0.5 } });
    terminal.close();
    // eslint-disable-next-line no-control-regex
    const lines = shown.join('').split(/\r\x1b\[2K|\n/);
    for (const line of lines) assert.ok(columnsOf(line) < (columns || 80), line);
    assert.match(
      lines[1]!,
      columns === 40 ? /^finetune 2\/3 .* 50 % {2}12 min 05 s left$/ : /loss 2\.505 .*tokens\/s .*left$/,
    );
    if (columns === 200) assert.match(lines[1]!, /█ *░* .*rate 1\.1e-5/);
    assert.match(
      lines[2]!,
      columns === 40 ? /100 % {2}loss 2\.505$/ : /100 % {2}loss 2\.505 {2}accuracy 50\.00 % {2}13,413/,
    );
    assert.is(shown.at(-1), '\n');
  }
});

test('a full disk is one sentence, and no step is left half-written', async () => {
  const folder = recipeFolder(short);
  const args = ['run', join(folder, 'recipe.yaml'), '--folder', join(folder, 'run')];
  const { code, stderr } = await whittleOnFullDisk(64, args);
  assert.is(code, 1);
  assert.match(stderr.trimEnd().split('\n').at(-1)!, /^whittle: .*could not be written: .*large/i);
  assert.not.ok(existsSync(join(folder, 'run', 'finetune')));
  assert.is((await whittle(args)).code, 0);
});

test('a disk that fills up is one sentence, leaves nothing partial, and the same command goes on', async () => {
  const folder = recipeFolder(short);
  const disk = join(folder, 'disk');
  mkdirSync(disk);
  const args = ['run', join(folder, 'recipe.yaml'), '--folder', join(disk, 'run')];
  // The tiny model's checkpoint takes 120 KB, its int8 form 50.
  for (const [kilobytes, step] of [
    [28, 'finetune'],
    [184, 'quantize'],
  ] as const) {
    const outcome = await whittleOnTinyDisk(kilobytes, disk, args);
    if (!outcome) return skip('no file system can be mounted here (unshare -m, mount -t tmpfs)');
    const { full, files, roomy } = outcome;
    assert.is(full.code, 1, full.stderr);
    assert.match(
      full.stderr.trimEnd().split('\n').at(-1)!,
      new RegExp(`^whittle: ${join(disk, 'run', step)}(/[\\w.]+)? could not be written: the disk is full$`),
    );
    assert.not.ok(
      files.some((file) => /aside|\.lock|\/\.(?!inputs\.json$)/.test(file.slice(1))),
      files.join(' '),
    );
    for (const file of files.filter((name) => name.endsWith('model.safetensors')))
      assert.ok(files.includes(file.replace('model.safetensors', 'config.json')), files.join(' '));
    assert.is(roomy.code, 0, roomy.stderr);
  }
});

test('tuning ends with a table and goes on from its journal', async () => {
  const folder = recipeFolder(
    `${short}study:\n  sampler: grid\n  space: { "steps.finetune.stages.0.learningRate": [1e-6, 1e-2] }\n`,
  );
  const args = ['tune', join(folder, 'recipe.yaml'), '--folder', join(folder, 'study')];
  const { code, stdout, stderr } = await whittle(args);
  assert.is(code, 0, stderr);
  assert.match(stdout, /trial +finetune\.accuracy +finetune\.stages\.0\.learningRate +took\n.*\n2 \*/);
  assert.match(stdout, /Best: trial 2, finetune\.accuracy/);
  const again = await whittle(args);
  assert.match(again.stderr, /2 of 2 trials are in the journal already/);
});

test('evaluate scores a file and a folder', async () => {
  const folder = recipeFolder(
    '  - finetune: { batchSize: 10, stages: [{ train: all, epochs: 4, learningRate: 1e-2 }] }\n',
  );
  const { checkpoint } = await run(join(folder, 'recipe.yaml'), { folder: join(folder, 'run') });
  const file = await whittle(['evaluate', checkpoint, join(folder, 'data', 'test.jsonl')]);
  assert.is(file.code, 0, file.stderr);
  assert.match(file.stdout, /precision +recall +f1-score +support\n\n +lost .*\n +top .*/);
  const whole = await whittle(['evaluate', checkpoint, join(folder, 'data'), '--on', 'dev', '--json']);
  assert.is(JSON.parse(whole.stdout).metrics.accuracy >= 0.9, true);
});

test('doctor tells ISA, threads and the binary', async () => {
  const { code, stdout } = await whittle(['doctor']);
  assert.is(code, 0);
  for (const word of ['whittle', 'ISA', 'threads', 'GPU', 'binary']) assert.match(stdout, new RegExp(`^${word} `, 'm'));
  assert.match(stdout, /whittle\.node \(built in this checkout\)/);
  assert.ok(JSON.parse((await whittle(['doctor', '--json'])).stdout).machine.threads >= 1);
});

test('doctor under a WHITTLE_ISA that the machine lacks tells all but that, and the error', async () => {
  const { code, stdout, stderr } = await whittle(['doctor'], undefined, { WHITTLE_ISA: 'sse9' });
  assert.is(code, 1);
  for (const word of ['whittle', 'CPU', 'ISA', 'usable ISAs', 'threads', 'GPU', 'binary'])
    assert.match(stdout, new RegExp(`^${word} `, 'm'));
  assert.match(stdout, /\d physical core/);
  assert.match(stderr, /^whittle: Expected WHITTLE_ISA to be one of ref.* but it is "sse9"/);
});

test.run();
