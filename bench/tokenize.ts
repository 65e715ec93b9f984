/**
 * Texts to tokens on one thread: whittle's WordPiece beside Hugging Face's Rust library and its JavaScript one, and
 * whether ids, token types, word indices and offsets are the Rust library's on every text there is.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { row, round, type Benchmark, type BenchmarkOptions, type Row } from './benchmark.js';
import { contest, type Contestant } from './harness/contest.js';
import { compareAll } from './tokenize/parity.js';
import { readRows } from './tokenize/texts.js';

const here = join(dirname(fileURLToPath(import.meta.url)), 'tokenize');

export const benchmark: Benchmark = {
  summary: 'WordPiece tokens/s beside Hugging Face, and equality of all tokens [speed | parity [WORD]]',
  async run(options) {
    const [only, word = ''] = options.args;
    const rows = only === 'parity' ? [] : await speeds(options);
    if (only === 'speed') return { rows };
    if (!options.python) {
      console.log('SKIPPED: equality with the Rust library, since there is no Python with tokenizers (--python)');
      return { rows };
    }
    const found = compareAll(options.shared, options.python, word, ({ name, inputs, differences, different }) => {
      console.log(
        `${differences ? 'DIFFERENT' : 'equal'}: ${name}: ${inputs} inputs, ${differences} of them different`,
      );
      for (const input of different) console.log(`    ${JSON.stringify(input).slice(0, 300)}`);
    });
    const total = (key: 'inputs' | 'tokens' | 'differences') => found.reduce((sum, one) => sum + one[key], 0);
    const counted = (what: string, whittle: number): Row => ({
      work: `beside the Rust library: ${what}`,
      unit: 'inputs',
      whittle,
      peers: {},
    });
    rows.push(counted('inputs compared', total('inputs')), counted('inputs with other tokens', total('differences')));
    if (total('differences') > 0) process.exitCode = 1;
    return { rows, notes: { tokensCompared: total('tokens') } };
  },
};

async function speeds({ shared, python, cpus }: BenchmarkOptions): Promise<Row[]> {
  const folder = mkdtempSync(join(tmpdir(), 'whittle-tokenize-'));
  const model = join(shared, 'models', 'minilm-l6');
  const rows: Row[] = [];
  try {
    for (const [dataset, name] of [
      ['ag_news', 'AG News'],
      ['banking77', 'Banking77'],
      ['conll2003', 'CoNLL-2003 (words)'],
      ['chnsenticorp', 'ChnSentiCorp'],
    ] as const) {
      const inputs = readRows(join(shared, 'data', dataset, 'train.jsonl')).map(({ text, tokens }) => text ?? tokens!);
      const file = join(folder, `${dataset}.json`);
      writeFileSync(file, JSON.stringify(inputs));
      const node = (name: string, who: string): Contestant => ({
        name,
        command: process.execPath,
        args: ['--import', 'tsx', join(here, 'contestant.ts'), who, model, file],
      });
      const contestants = [
        node('whittle', 'whittle'),
        node('whittle, with offsets and words', 'whittle-places'),
        node('@huggingface/tokenizers', 'library'),
      ];
      if (python) {
        const args = [join(here, 'contestant.py'), join(model, 'tokenizer.json'), file];
        contestants.push({ name: 'tokenizers (Rust)', command: python, args });
      }
      const { whittle, ...peers } = await contest(contestants, { cpus: cpus.slice(0, 1), turns: 7 });
      const { 'whittle, with offsets and words': places, ...others } = peers;
      const rounded = Object.fromEntries(Object.entries(others).map(([peer, speed]) => [peer, round(speed)]));
      rows.push(row({ work: `${name}, ids`, unit: 'tokens/s', whittle: round(whittle!), peers: rounded }));
      rows.push(row({ work: `${name}, ids, offsets and words`, unit: 'tokens/s', whittle: round(places!), peers: {} }));
    }
    return rows;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
