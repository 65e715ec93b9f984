/** The small fixture models with rows to train on, and a step context around them. */
import { join } from 'node:path';
import type { Dataset, Row, Split, Task } from '../../../lib/data/dataset.js';
import type { ProgressEvent, StepContext } from '../../../lib/step.js';
import { root, temporaryFolder } from '../../harness.js';

export const textModel = join(root, 'test', 'fixtures', 'tiny-bert');
export const tokenModel = join(root, 'test', 'fixtures', 'tiny-bert-tokens');

/** The labels of tiny-bert, told by one word each. */
const texts: [string, string][] = [
  ['activate card', 'where is my card'],
  ['lost card', 'my card is lost'],
  ['top up', 'how top up my account'],
];

function split<R extends Row>(name: string, rows: R[]): Split<R> {
  return { name, file: `${name}.jsonl`, rows, lines: rows.map((_, index) => index + 1) };
}

export function textDataset(rowsPerLabel: number): Dataset {
  const rows = (count: number, tail: string) =>
    Array.from({ length: count }, (_, i) =>
      texts.map(([label, text]) => ({ text: `${text}${' the'.repeat(i % 4)}${tail}`, label })),
    ).flat();
  return {
    task: 'text-classification',
    labels: texts.map(([label]) => label),
    train: split('train', rows(rowsPerLabel, '')),
    dev: split('dev', rows(4, ' ?')),
    test: split('test', rows(4, ' .')),
  };
}

/** `labels` are those of the model; every row tags "account" with the second, the rest with the first. */
export function tokenDataset(labels: string[], rowCount: number): Dataset {
  const words = ['my', 'account', 'is', 'lost', 'where', 'accounts', 'the', 'money'];
  const rows = (count: number, shift: number) =>
    Array.from({ length: count }, (_, row) => {
      const tokens = Array.from({ length: 3 + (row % 4) }, (_, i) => words[(row * 3 + i + shift) % words.length]!);
      return { tokens, tags: tokens.map((word) => (word.startsWith('account') ? labels[1]! : labels[0]!)) };
    });
  return {
    task: 'token-classification',
    labels,
    train: split('train', rows(rowCount, 0)),
    dev: split('dev', rows(6, 1)),
    test: split('test', rows(6, 2)),
  };
}

export interface TestContext extends StepContext {
  events: ProgressEvent[];
  records: Record<string, unknown>[];
}

export function testContext(data: Dataset, options: Partial<StepContext> = {}): TestContext {
  const events: ProgressEvent[] = [];
  const records: Record<string, unknown>[] = [];
  const task: Task = data.task;
  return {
    ...{ data, task, seed: 7, folder: join(temporaryFolder(), 'step'), checkpoints: new Map(), threads: 1 },
    ...{ events, records, onProgress: (event) => events.push(event), log: (record) => records.push(record) },
    ...options,
  };
}
