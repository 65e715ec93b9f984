/** Models that whittle wrote, in Transformers with compressed-tensors: the same hidden states and predictions? */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { quantize } from '../lib/compress/quantize.js';
import { raggedBatch, type Example } from '../lib/data/batch.js';
import { encodeTextRows } from '../lib/data/encode.js';
import { loadTokenizer } from '../lib/data/tokenizer/tokenizer.js';
import { openCheckpoint } from '../lib/models/checkpoint.js';
import { Engine } from '../lib/models/engine.js';
import type { Benchmark, Row } from './benchmark.js';
import { makeUpModel } from './harness/made-up-model.js';
import { modelFolder, sampleTexts } from './harness/models.js';

const here = dirname(fileURLToPath(import.meta.url));

/** What interop.py says of a case. */
export interface Compared {
  name: string;
  output: 'logits' | 'hidden';
  sequences: number;
  smallestCosine: number;
  largestDifference: number;
  samePredictions: number | null;
}

export const benchmark: Benchmark = {
  summary:
    'models that whittle wrote, loaded in Transformers: cosines and equal predictions [CHECKPOINT [ANY OTHER...]]',
  async run(options) {
    if (!options.python) throw new Error('interop needs a Python with transformers and compressed-tensors (--python)');
    const folder = mkdtempSync(join(tmpdir(), 'whittle-interop-'));
    try {
      const float32 = options.args[0] ?? (await makeUpModel('MiniLM-L6', options.shared, modelFolder));
      const int8 = join(folder, 'int8');
      await quantize(float32, { method: 'dynamic' }, { folder: int8, threads: 0 });
      const weightOnly = join(folder, 'weight-only');
      await quantize(float32, { method: 'weight-only' }, { folder: weightOnly, threads: 0 });
      const texts = sampleTexts(options.shared, 'banking77', 512);
      const cases = [
        await makeCase('models/minilm-l6 (weight-only int8)', join(here, '..', 'models', 'minilm-l6'), texts),
        await makeCase('fine-tuned, float32', float32, texts),
        await makeCase('fine-tuned, int8 weight-only', weightOnly, texts),
        await makeCase('fine-tuned, int8 dynamic', int8, texts),
      ];
      for (const other of options.args.slice(1)) {
        const { head } = await openCheckpoint(other);
        cases.push(await makeCase(`${head?.task ?? 'encoder'} in ${basename(other)}`, other, texts));
      }
      const compared = compareInTransformers(options.python, cases, folder);
      return { rows: compared.flatMap(rowsOf), notes: { compared } };
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
};

/** What whittle computes with a checkpoint, in the form that interop.py reads. */
export interface Case {
  name: string;
  folder: string;
  output: 'logits' | 'hidden';
  ids: number[][];
  types: number[][];
  values: number[][];
}

/** @param folder for a file that interop.py reads. */
export function compareInTransformers(python: string, cases: readonly Case[], folder: string): Compared[] {
  const file = join(folder, 'cases.json');
  writeFileSync(file, JSON.stringify(cases));
  const result = spawnSync(python, [join(here, 'interop.py'), file], { encoding: 'utf8' });
  if (result.status !== 0) throw new Error(result.stderr);
  return result.stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Compared);
}

async function makeCase(name: string, folder: string, texts: string[]): Promise<Case> {
  const tokenizer = await loadTokenizer(folder);
  const { examples } = encodeTextRows(
    texts.map((text) => ({ text })),
    { tokenizer, maxLength: 128 },
  );
  return runCase(name, folder, examples);
}

/** What the engine gives for each example. */
export async function runCase(name: string, folder: string, examples: readonly Example[]): Promise<Case> {
  const checkpoint = await openCheckpoint(folder);
  const output = checkpoint.head ? ('logits' as const) : ('hidden' as const);
  const values: number[][] = [];
  await using engine = await Engine.load(checkpoint);
  for (const example of examples) values.push([...(await engine.run(raggedBatch([example]), { output }))]);
  const ids = examples.map(({ inputIds }) => [...inputIds]);
  const types = examples.map(({ tokenTypeIds }) => [...tokenTypeIds]);
  return { name, folder, output, ids, types, values };
}

function rowsOf({ name, output, sequences, smallestCosine, samePredictions }: Compared): Row[] {
  const work = `${name}, ${sequences} texts`;
  const rows: Row[] = [
    { work: `${work}: smallest cosine of ${output}`, unit: 'cosine', whittle: smallestCosine, peers: {} },
  ];
  if (samePredictions !== null)
    rows.push({ work: `${work}: same label`, unit: 'share of texts', whittle: samePredictions, peers: {} });
  return rows;
}
