/** `whittle predict MODEL INPUT -o OUTPUT` */
import { stat } from 'node:fs/promises';
import { extname, join, resolve } from 'node:path';
import { Option, type Command as CommanderCommand } from 'commander';
import { WhittleError } from '../../bindings/errors.js';
import { tasks, type Task } from '../data/dataset.js';
import { readBlocks } from '../data/lines.js';
import { countParquetRows } from '../data/parquet.js';
import { Predictor } from '../predict/predictor.js';
import { formatCount, formatSeconds } from '../report/format.js';
import { abortOnInterrupt } from './interrupt.js';
import { numberBetween } from './numbers.js';
import { outputFormat, type AnyPrediction } from './prediction-output.js';
import { partialName, rejectedName, ResumableOutput, type Command } from './resumable-output.js';
import { RowSource } from './row-source.js';
import { Terminal } from './terminal.js';

interface PredictFlags {
  output: string;
  textColumn?: string;
  textPairColumn?: string;
  task?: Task;
  threshold?: number;
  allScores?: boolean;
  longTexts?: 'truncate' | 'windows';
  stride?: number;
  precision: 'auto' | 'float32' | 'bfloat16' | 'int8';
  device?: string;
  threads: number;
  maxLength?: number;
  overwrite?: boolean;
  json?: boolean;
}

export function addPredict(program: CommanderCommand): CommanderCommand {
  return program
    .command('predict')
    .description('predict on every row of a file; stopped, the same command goes on where it was')
    .argument('<model>', 'folder of a checkpoint')
    .argument('<input>', 'JSONL, CSV, TSV, CoNLL or TXT, gzipped or not, or Parquet')
    .requiredOption('-o, --output <file>', 'JSONL, CSV, TSV or TXT')
    .option('--text-column <name>', 'column of the text (default: text)')
    .option('--text-pair-column <name>', 'column of the second text (default: textPair)')
    .addOption(
      new Option('--task <task>', "what the model must do; 'embedding' for an encoder without a head").choices(tasks),
    )
    .option(
      '--threshold <p>',
      'hold back labels and entities less probable than this (default: 0, or the thresholds of a model of several labels)',
      numberBetween(0, 1),
    )
    .option('--all-scores', "write every class's probability")
    .addOption(new Option('--precision <precision>').choices(['auto', 'float32', 'bfloat16', 'int8']).default('auto'))
    .option('--device <device>', 'cpu, cuda, cuda:N, cuda:0,cuda:1 or auto (default: WHITTLE_DEVICE, or cpu)')
    .option('--threads <n>', 'threads of native work, 0 for all', numberBetween(0, 1024, true), 0)
    .option('--max-length <tokens>', 'longer texts are cut, or read in windows', numberBetween(3, 1e6, true))
    .addOption(
      new Option(
        '--long-texts <what>',
        'cut them, or read them in windows (default: as the model was trained)',
      ).choices(['truncate', 'windows']),
    )
    .option('--stride <tokens>', 'tokens that neighboring windows share', numberBetween(0, 1e6, true))
    .option('--overwrite', 'begin anew, whatever a stopped command left')
    .option('--json', 'progress and result as JSON lines on standard output')
    .action(async (model: string, input: string, flags: PredictFlags) => {
      const terminal = new Terminal({ json: flags.json });
      const { signal, release } = abortOnInterrupt();
      try {
        await predictFile(model, input, flags, terminal, signal);
      } finally {
        terminal.close();
        release();
      }
    });
}

async function predictFile(
  model: string,
  input: string,
  flags: PredictFlags,
  terminal: Terminal,
  signal: AbortSignal,
): Promise<void> {
  const { threads, precision, device, maxLength, threshold, longTexts, stride } = flags;
  const { textColumn, textPairColumn, allScores = false } = flags;
  outputFormat(flags.output, 'text-classification', []); // a wrong extension is told before the model is loaded
  await checkOutput(input, flags.output);
  const lines = await countLines(input);
  const options = {
    ...{ threads, precision, device, maxLength, threshold, longTexts, stride, signal },
    emptyText: 'abstain' as const,
  };
  await using predictor = await Predictor.load(model, { task: flags.task ?? 'any', ...options });
  const { task, labels } = predictor;
  const format = outputFormat(flags.output, task, allScores ? labels : []);
  const output = await ResumableOutput.open(flags.output, await commandOf(model, input, flags), !!flags.overwrite);
  const { progress } = output;
  const isResumed = progress.rows > 0;
  if (isResumed) terminal.line(`Going on after ${formatCount(progress.rows)} rows`);

  const source = new RowSource(input, { task, textColumn, textPairColumn }, progress.rows);
  const show = meter(terminal, input, lines);
  let hasHeader = false;
  const writeHeader = async () => {
    hasHeader = true;
    const header = format.header(source.first ?? { [textColumn ?? 'text']: '' });
    if (!isResumed) await output.write(header, 0);
  };
  try {
    const predictions = predictor.predictStream(source.inputs(), { allScores, signal });
    for await (const prediction of predictions as AsyncIterable<AnyPrediction>) {
      const row = source.next();
      if (!hasHeader) await writeHeader();
      await output.write(format.row(row.fields, prediction), 1);
      for (const bad of source.takeBad(progress.rows)) output.reject(bad);
      await output.saveNowAndThen();
      show(row.line, false);
    }
    if (!hasHeader) await writeHeader();
    for (const bad of source.takeBad()) output.reject(bad);
    await output.finish();
  } catch (error) {
    throw await stopped(output, error);
  }
  const seconds = show(lines, true);
  tellResult(terminal, flags.output, output, predictor.truncatedTexts, seconds);
}

/** @throws WhittleError BAD_OPTION if the output is a folder, or would take the place of the input. */
async function checkOutput(input: string, output: string): Promise<void> {
  const [from, to] = await Promise.all([input, output].map((file) => stat(file).catch(() => undefined)));
  if (to?.isDirectory()) {
    throw new WhittleError('BAD_OPTION', `--output: expected the name of a file but found the folder ${output}`);
  }
  if (!from || !to || from.dev !== to.dev || from.ino !== to.ino) return;
  throw new WhittleError('BAD_OPTION', `--output: expected another file than the input but found ${output}`);
}

/** Keeps what is written so far, so that the same command goes on from there, and closes the files. */
async function stopped(output: ResumableOutput, error: unknown): Promise<unknown> {
  const saved = await output.save().then(
    () => true,
    () => false,
  );
  await output.close().catch(() => undefined);
  const rows = output.progress.rows;
  if (!saved || !(error instanceof WhittleError) || (error.code !== 'ABORTED' && rows === 0)) return error;
  const message =
    error.code === 'ABORTED'
      ? `stopped after ${formatCount(rows)} rows; the same command goes on from there`
      : `${error.message}; what was predicted before it, ${rows === 1 ? '1 row' : `${formatCount(rows)} rows`}, is in ${partialName(output.file)}`;
  return new WhittleError(error.code, message, { cause: error });
}

/** Shows progress through the file's lines; returns the seconds gone by. */
function meter(terminal: Terminal, input: string, lines: number): (line: number, isLast: boolean) => number {
  const started = performance.now();
  let texts = 0;
  let firstLine: number | undefined;
  let lastRecord = -Infinity;
  return (line, isLast) => {
    const now = performance.now();
    const seconds = (now - started) / 1000;
    if (!isLast) texts++;
    firstLine ??= line - 1;
    const textsPerSecond = texts / seconds;
    const left = ((lines - line) * seconds) / Math.max(1, line - firstLine);
    const notes = [{ text: `${formatCount(textsPerSecond)} texts/s`, rank: 1 }];
    if (!isLast) notes.push({ text: `${formatSeconds(left)} left`, rank: 0 });
    terminal.bar({ title: `predict: ${input}`, done: line, total: lines, notes });
    if (now - lastRecord >= 1000) {
      terminal.record({ type: 'progress', line, lines, texts, textsPerSecond });
      lastRecord = now;
    }
    return seconds;
  };
}

function tellResult(
  terminal: Terminal,
  file: string,
  { progress: { rows, rejected } }: ResumableOutput,
  truncated: number,
  seconds: number,
): void {
  const parts = [
    `${formatCount(rows)} ${rows === 1 ? 'prediction' : 'predictions'} in ${file} (${formatSeconds(seconds)})`,
  ];
  if (truncated > 0)
    parts.push(
      `${formatCount(truncated)} ${truncated === 1 ? 'text was' : 'texts were'} cut to the longest that the model takes`,
    );
  if (rejected > 0)
    parts.push(
      `${formatCount(rejected)} bad ${rejected === 1 ? 'row' : 'rows'}, with file and line, in ${rejectedName(file)}`,
    );
  terminal.result(parts.join('\n'), { type: 'result', output: file, rows, rejected, truncated, seconds });
}

/** What the output depends on: model, input and every option that changes it. */
async function commandOf(model: string, input: string, flags: PredictFlags): Promise<Command> {
  const { textColumn, textPairColumn, threshold, allScores, precision, maxLength } = flags;
  return {
    model: await identityOf(model, join(model, 'config.json')),
    input: await identityOf(input, input),
    '--text-column': textColumn,
    '--text-pair-column': textPairColumn,
    '--threshold': threshold,
    '--all-scores': allScores,
    '--precision': precision,
    '--max-length': maxLength,
    '--task': flags.task,
    '--long-texts': flags.longTexts,
    '--stride': flags.stride,
  };
}

async function identityOf(path: string, file: string): Promise<string> {
  const { size, mtimeMs } = await stat(file);
  return `${resolve(path)}\n${size} ${mtimeMs}`;
}

/** @throws WhittleError `BAD_DATA` if there is no such file. */
async function countLines(file: string): Promise<number> {
  let count = 1;
  if (extname(file).toLowerCase() === '.parquet') return countParquetRows(file);
  for await (const bytes of readBlocks(file)) {
    for (let at = bytes.indexOf(0x0a); at >= 0; at = bytes.indexOf(0x0a, at + 1)) count++;
  }
  return count;
}
