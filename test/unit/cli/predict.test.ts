import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { parquetMetadata } from 'hyparquet';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { lockFolder } from '../../../lib/recipe/lock.js';
import { root, skip, temporaryFolder } from '../../harness.js';
import { whittle, whittleOnFullDisk, whittleOnTinyDisk, whittleToFullOutput } from './command-line.js';

const model = join(root, 'test', 'fixtures', 'tiny-bert');
const entityModel = join(root, 'test', 'fixtures', 'tiny-bert-tokens');

function write(name: string, content: string | Buffer): string {
  const file = join(temporaryFolder(), name);
  writeFileSync(file, content);
  return file;
}

function folderNamed(name: string): string {
  const folder = join(temporaryFolder(), name);
  mkdirSync(folder);
  return folder;
}

function lines(file: string): string[] {
  return readFileSync(file, 'utf8').trimEnd().split('\n');
}

test('JSONL keeps its fields and sets bad rows aside by file and line', async () => {
  const input = write(
    'in.jsonl',
    '{"id":1,"text":"lost card"}\n{"id":2}\nnot json\n{"id":3,"text":"top up","label":"x"}\n',
  );
  const output = `${input}.out.jsonl`;
  const { code, stdout } = await whittle(['predict', model, input, '-o', output, '--all-scores']);
  assert.is(code, 0);
  assert.match(stdout, /2 predictions in .*\n2 bad rows/);
  const rows = lines(output).map((line) => JSON.parse(line));
  assert.equal(
    rows.map(({ id }) => id),
    [1, 3],
  );
  assert.is(rows[1].inputLabel, 'x');
  const sum = Object.values(rows[0].scores as Record<string, number>).reduce((a, b) => a + b);
  assert.ok(Math.abs(sum - 1) < 1e-6);
  assert.is(rows[0].score, Math.max(...Object.values(rows[0].scores as Record<string, number>)));
  const rejected = lines(`${output}.rejected.jsonl`).map((line) => JSON.parse(line));
  assert.equal(
    rejected.map(({ file, line }) => [file, line]),
    [
      [input, 2],
      [input, 3],
    ],
  );
  assert.match(rejected[0].error, /in\.jsonl:2: expected "text" to be a string/);
  assert.equal(
    readdirSync(join(input, '..')).filter((name) => /partial|progress/.test(name)),
    [],
  );
});

test('CSV keeps its columns, also with quotes and line ends inside', async () => {
  const input = write('in.csv', 'id,message\n1,"lost, ""card"""\n2,"top\nup"\n3\n');
  const output = `${input}.out.csv`;
  const { code } = await whittle([
    'predict',
    model,
    input,
    '--text-column',
    'message',
    '-o',
    output,
    '--threshold',
    '1',
  ]);
  assert.is(code, 0);
  const text = readFileSync(output, 'utf8');
  assert.match(text, /^id,message,label,score\n1,"lost, ""card""",,0\.\d+\n2,"top\nup",,0\.\d+\n$/);
  assert.match(lines(`${output}.rejected.jsonl`)[0]!, /in\.csv:5: expected 2 columns/);
});

test('gzipped and Parquet files go in, with all their columns', async () => {
  const input = write('in.csv.gz', gzipSync('id;message\n7;lost card\n'));
  const output = `${input}.out.csv`;
  const zipped = await whittle(['predict', model, input, '-o', output, '--text-column', 'message']);
  assert.is(zipped.code, 0, zipped.stderr);
  assert.match(readFileSync(output, 'utf8'), /^id,message,label,score\n7,lost card,/);
  const parquet = join(root, 'test', 'fixtures', 'parquet', 'zstd.parquet');
  const rows = await whittle(['predict', model, parquet, '-o', `${output}.jsonl`]);
  assert.is(rows.code, 0, rows.stderr);
  assert.match(rows.stdout, /^25 predictions/m);
  assert.is(JSON.parse(lines(`${output}.jsonl`)[3]!).inputLabel, 'class 0');
});

test('text goes in and out a line each; entities of words too', async () => {
  const input = write('in.txt', 'lost card\ntop up\n');
  const { code } = await whittle(['predict', model, input, '-o', `${input}.out.txt`]);
  assert.is(code, 0);
  assert.is(lines(`${input}.out.txt`).length, 2);
  assert.match(lines(`${input}.out.txt`)[0]!, /^(activate card|lost card|top up)\t0\.\d+$/);
  const words = write('in.jsonl', '{"tokens":["lost","card"]}\n');
  const entities = await whittle(['predict', entityModel, words, '-o', `${words}.out.jsonl`]);
  assert.is(entities.code, 0, entities.stderr);
  const row = JSON.parse(lines(`${words}.out.jsonl`)[0]!);
  assert.is(row.inputTags, undefined);
  assert.is(row.tags.length, 2);
});

test('the input is never overwritten', async () => {
  const input = write('in.txt', 'lost card\ntop up\n');
  const { code, stderr } = await whittle(['predict', model, input, '-o', join(input, '..', '.', 'in.txt')]);
  assert.is(code, 1);
  assert.match(stderr, /--output: expected another file than the input but found .*in\.txt/);
  assert.is(readFileSync(input, 'utf8'), 'lost card\ntop up\n');
});

test('mistakes are one line and exit code 1', async () => {
  const input = write('in.csv', 'id,text\n1,lost\n');
  const output = join(input, '..', 'x.csv');
  const cases: [string[], RegExp][] = [
    [['predict', model, '/nowhere/in.csv', '-o', output], /in\.csv: expected a data file but there is none/],
    [['predict', '/nowhere', input, '-o', output], /\/nowhere.*\.json/],
    [['predict', model, input, '-o', join(input, '..', 'x.doc')], /x\.doc: expected an output whose name ends in/],
    [
      ['predict', model, input, '-o', output, '--text-column', 'msg'],
      /in\.csv:1: expected a header with a column "msg"/,
    ],
    [['predict', model, input, '-o', output, '--threshold', '7'], /Expected a number from 0 to 1/],
    [['predict', model, input, '-o', output, '--treshold', '0.5'], /unknown option.*treshold/],
    [['predict', model, input, '-o', join(input, 'x.csv')], /x\.csv.* could not be written/],
    [['predict', model, input, '-o', join(input, '..')], /expected an output whose name ends in/],
    [
      ['predict', model, input, '-o', `${folderNamed('out.csv')}`],
      /--output: expected the name of a file but found the folder .*out\.csv/,
    ],
    [['predict', model, input, '-o', '/proc/nowhere/deep/out.csv'], /no folder can be made there/],
    [['predict', model, write('in.doc', 'x'), '-o', output], /in\.doc: .* \.gz, or \.txt, but found "\.doc"/],
    [['predict', model, write('twice.csv', 'text,a,a\nx,y,z\n'), '-o', output], /different names but found "a" twice/],
    [['evaluate', model, '/nowhere.doc'], /nowhere\.doc: expected a data file but there is none/],
    [['evaluate', model, '/nowhere.jsonl'], /nowhere\.jsonl: expected a data file/],
    [['predit'], /unknown command 'predit'/],
  ];
  for (const [args, message] of cases) {
    const { code, stdout, stderr } = await whittle(args);
    assert.is(code, 1, args.join(' '));
    assert.match(stderr, message);
    assert.not.match(stderr, /\n\s+at /);
    assert.is(stdout, '');
  }
  assert.equal(readdirSync(join(input, '..')), ['in.csv'], 'nothing is left behind');
});

test('evaluate reads the files of the split that it scores, and no others', async () => {
  const folder = folderNamed('parts');
  const row = (text: string, label: string) => `${JSON.stringify({ text, label })}\n`;
  writeFileSync(join(folder, 'test-00000-of-00002.jsonl'), row('my lost card', 'lost card'));
  writeFileSync(join(folder, 'test-00001-of-00002.jsonl'), row('how to top up', 'top up'));
  writeFileSync(join(folder, 'validation.jsonl'), row('my lost card', 'lst card'));
  const score = (...args: string[]) => whittle(['evaluate', model, folder, '--json', ...args]);
  const { code, stdout, stderr } = await score();
  assert.is(code, 0, stderr);
  const result = JSON.parse(stdout);
  assert.equal([result.on, result.rows], ['test', 2]);
  const bad = await score('--on', 'dev');
  assert.match(bad.stderr, /^whittle: .*validation\.jsonl:1: .*"lst card"/);
  const none = await score('--on', 'train');
  assert.match(none.stderr, /parts: expected a file called train\.jsonl.* but found none in the folder\n$/);
  rmSync(join(folder, 'test-00000-of-00002.jsonl'));
  rmSync(join(folder, 'test-00001-of-00002.jsonl'));
  const without = await score();
  assert.match(
    without.stderr,
    /parts: expected a file called test\.jsonl, .*, or train files .* but found none in the folder\n$/,
  );
});

test('input that is damaged in the middle is an error that tells where the predictions before it are', async () => {
  const bytes = readFileSync(join(root, 'test', 'fixtures', 'parquet', 'snappy.parquet'));
  const { buffer, byteOffset, byteLength } = bytes;
  const { row_groups } = parquetMetadata(buffer.slice(byteOffset, byteOffset + byteLength) as ArrayBuffer);
  const start = Number(row_groups[2]!.columns[0]!.meta_data!.data_page_offset);
  bytes.fill(0xff, start, start + 20);
  const input = join(folderNamed('cut'), 'in.parquet');
  writeFileSync(input, bytes);
  const { code, stderr } = await whittle(['predict', model, input, '-o', join(input, '..', 'out.jsonl')]);
  assert.is(code, 1);
  assert.match(
    stderr,
    /in\.parquet: rows 21 to 25: .*; what was predicted before it, 20 rows, is in .*out\.jsonl\.partial\n$/,
  );
  assert.is(lines(join(input, '..', 'out.jsonl.partial')).length, 20);
});

test('--json gives errors to programs, --verbose the stack', async () => {
  const { code, stdout, stderr } = await whittle(['run', '/nowhere.yaml', '--json', '--verbose']);
  assert.is(code, 1);
  assert.equal(JSON.parse(stdout).code, 'BAD_RECIPE');
  assert.match(stderr, /\n\s+at /);
});

test('a bad quote costs its row alone', async () => {
  const input = write('in.csv', 'id,text\n1,"a"b\n2,c\n3,d "x"\n4,"e\n5,"f, g"\n');
  const { code, stdout } = await whittle(['predict', model, input, '-o', `${input}.out.csv`]);
  assert.is(code, 0);
  assert.match(stdout, /2 predictions .*\n3 bad rows/);
  assert.match(readFileSync(`${input}.out.csv`, 'utf8'), /^id,text,label,score\n2,c,.*\n5,"f, g",.*\n$/);
  assert.equal(
    lines(`${input}.out.csv.rejected.jsonl`).map((line) => JSON.parse(line).line),
    [2, 4, 5],
  );
});

test('without rows a table still has its header', async () => {
  const header = write('in.csv', 'id,text\n');
  const one = await whittle(['predict', model, header, '-o', `${header}.out.csv`]);
  assert.match(one.stdout, /^0 predictions/m);
  assert.is(readFileSync(`${header}.out.csv`, 'utf8'), 'id,text,label,score\n');
  const nothing = write('in.jsonl', '');
  assert.is((await whittle(['predict', model, nothing, '-o', `${nothing}.out.tsv`])).code, 0);
  assert.is(readFileSync(`${nothing}.out.tsv`, 'utf8'), 'text\tlabel\tscore\n');
  const single = write('in.txt', 'lost card\n');
  assert.match((await whittle(['predict', model, single, '-o', `${single}.out.txt`])).stdout, /^1 prediction in/m);
});

test('an output that another process writes is refused', async () => {
  const input = write('in.txt', 'lost card\n');
  const unlock = await lockFolder(`${input}.out.txt.lock`);
  const { code, stderr } = await whittle(['predict', model, input, '-o', `${input}.out.txt`]);
  assert.is(code, 1);
  assert.match(stderr, /in\.txt\.out\.txt is in use by process \d+.* delete .*\.lock/);
  await unlock();
  assert.is((await whittle(['predict', model, input, '-o', `${input}.out.txt`])).code, 0);
});

test('a full disk is one sentence, and the output does not appear', async () => {
  const input = write('in.txt', 'lost card and top up\n'.repeat(3000));
  const output = `${input}.out.jsonl`;
  const { code, stderr } = await whittleOnFullDisk(64, ['predict', model, input, '-o', output]);
  assert.is(code, 1);
  assert.match(stderr, /could not be written: it would be larger than this system allows/);
  assert.not.ok(existsSync(output));
  const again = await whittle(['predict', model, input, '-o', output]);
  assert.is(again.code, 0, again.stderr);
  assert.is(lines(output).length, 3000);
});

test('Ctrl-C stops cleanly, and the same command goes on where it was', async () => {
  const texts = Array.from({ length: 60_000 }, (_, index) =>
    index % 1000 === 7 ? '' : `lost card ${index % 97} top up`,
  );
  const input = write('in.txt', texts.join('\n') + '\n');
  const args = (output: string) => ['predict', model, input, '-o', output, '--json'];
  const output = join(input, '..', 'out.txt');
  let isKilled = false;
  const first = await whittle(args(output), (printed, child) => {
    if (!printed.includes('"progress"') || isKilled) return;
    isKilled = true;
    child.kill('SIGINT');
  });
  assert.is(first.code, 130, first.stderr);
  assert.match(first.stderr, /^whittle: stopped after [\d,]+ rows; the same command goes on from there\n$/);
  assert.not.ok(existsSync(output));
  const other = await whittle([...args(output), '--threshold', '0.5']);
  assert.is(other.code, 1);
  assert.match(
    other.stderr,
    /out\.txt\.partial: .* stopped after \d+ rows: --threshold not given then, 0\.5 now; --overwrite begins anew/,
  );
  const second = await whittle(args(output));
  assert.is(second.code, 0, second.stderr);
  const whole = join(input, '..', 'whole.txt');
  assert.is((await whittle(args(whole))).code, 0);
  assert.ok(readFileSync(output).equals(readFileSync(whole)));
  assert.ok(readFileSync(`${output}.rejected.jsonl`).equals(readFileSync(`${whole}.rejected.jsonl`)));
  assert.is(lines(`${whole}.rejected.jsonl`).length, 60);
  assert.equal(readdirSync(join(input, '..')).sort(), [
    'in.txt',
    'out.txt',
    'out.txt.rejected.jsonl',
    'whole.txt',
    'whole.txt.rejected.jsonl',
  ]);
});

test('an output that cannot be written in full leaves nothing that nobody can go on with', async () => {
  const input = write('in.txt', 'lost card and top up\n'.repeat(3000));
  const folder = temporaryFolder();
  const output = join(folder, 'out.jsonl');
  const runs = await whittleOnTinyDisk(24, folder, ['predict', model, input, '-o', output]);
  if (!runs) return skip('no file system can be mounted here');
  assert.is(runs.full.code, 1);
  assert.match(runs.full.stderr, /out\.jsonl.* could not be written: the disk is full/);
  assert.equal(runs.files, []);
  assert.is(runs.roomy.code, 0, runs.roomy.stderr);
});

test('standard output that takes nothing is one sentence', async () => {
  if (!existsSync('/dev/full')) return skip('no /dev/full');
  const { code, stderr } = await whittleToFullOutput(['doctor', '--json']);
  assert.is(code, 1);
  assert.is(stderr, 'whittle: standard output could not be written: the disk is full\n');
});

test.run();
