/** `whittle evaluate MODEL DATA` */
import { statSync } from 'node:fs';
import { Option, type Command } from 'commander';
import { WhittleError } from '../../bindings/errors.js';
import type { Dataset, Split } from '../data/dataset.js';
import { describeFiles } from '../data/files.js';
import { loadDataset, splitFiles } from '../data/load.js';
import { dataExtensions, formatOf } from '../data/formats.js';
import { readRows } from '../data/read-rows.js';
import { evaluate } from '../evaluate/evaluate.js';
import { openCheckpoint } from '../models/checkpoint.js';
import { formatBytes, formatCount } from '../report/format.js';
import { abortOnInterrupt } from './interrupt.js';
import { numberBetween } from './numbers.js';
import { Terminal } from './terminal.js';

interface EvaluateFlags {
  on: 'train' | 'dev' | 'test';
  textColumn?: string;
  textPairColumn?: string;
  labelColumn?: string;
  precision: 'auto' | 'float32' | 'bfloat16' | 'int8';
  threads: number;
  json?: boolean;
}

export function addEvaluate(program: Command): Command {
  return program
    .command('evaluate')
    .description('score a model on labelled data')
    .argument('<model>', 'folder of a checkpoint')
    .argument('<data>', 'a file (JSONL, CSV, TSV, CoNLL, Parquet), or a folder with train, dev and test files')
    .addOption(new Option('--on <split>', 'split of a folder').choices(['train', 'dev', 'test']).default('test'))
    .option('--text-column <name>', 'column of the text (default: text)')
    .option('--text-pair-column <name>', 'column of the second text (default: textPair)')
    .option('--label-column <name>', 'column of the label (default: label)')
    .addOption(new Option('--precision <precision>').choices(['auto', 'float32', 'bfloat16', 'int8']).default('auto'))
    .option('--threads <n>', 'threads of native work, 0 for all', numberBetween(0, 1024, true), 0)
    .option('--json', 'the result as a JSON line on standard output')
    .action(async (model: string, data: string, flags: EvaluateFlags) => {
      const terminal = new Terminal({ json: flags.json });
      const { signal, release } = abortOnInterrupt();
      try {
        const dataset = await openData(model, data, flags);
        const on = isFolder(data) ? flags.on : 'test';
        const title = `evaluate: ${data}`;
        const result = await evaluate(model, dataset, {
          on,
          precision: flags.precision,
          threads: flags.threads,
          signal,
          onProgress: (done, total) => terminal.bar({ title, done, total, notes: [] }),
        });
        const speed = `${formatCount(result.textsPerSecond)} texts/s (${result.precision}, ${result.isa})`;
        terminal.result(`${result.report}\n${formatBytes(result.bytes)} on disk, ${speed}`, {
          type: 'result',
          ...result,
        });
      } finally {
        terminal.close();
        release();
      }
    });
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
}

/** The one split that is scored: a file, a folder's files of that split, or what is taken out of its train files. */
async function openData(
  model: string,
  data: string,
  { on, textColumn, textPairColumn, labelColumn }: EvaluateFlags,
): Promise<Dataset> {
  const { head } = await openCheckpoint(model);
  if (!head) {
    throw new WhittleError('UNSUPPORTED', `${model}: expected a fine-tuned model but found an encoder without a head`);
  }
  const { task, labels } = head;
  if (!isFolder(data)) formatOf(data);
  const columns = {
    ...(textColumn && { textColumn }),
    ...(textPairColumn && { textPairColumn }),
    ...(labelColumn && { labelColumn }),
  };
  const files = isFolder(data) ? splitFiles(data, on) : [data];
  if (files.length === 0) {
    if (on !== 'train' && splitFiles(data, 'train').length === 0)
      throw new WhittleError(
        'BAD_DATA',
        `${data}: expected a file called ${dataExtensions.map((extension) => on + extension).join(', ')}, or train files ` +
          'to take it out of, but found none in the folder',
      );
    return loadDataset({ path: data, task, ...columns });
  }
  const name = isFolder(data) ? on : 'test';
  const scored: Split = { name, file: describeFiles(files), rows: [], lines: [], files: { names: files, of: [] } };
  for (const [index, file] of files.entries()) {
    for await (const { row, line } of readRows(file, task, { labelled: true, ...columns })) {
      scored.rows.push(row);
      scored.lines.push(line);
      scored.files!.of.push(index);
    }
  }
  const empty = (name: string): Split => ({ name, file: data, rows: [], lines: [] });
  return { task, labels, train: empty('train'), dev: empty('dev'), test: empty('test'), [name]: scored };
}
