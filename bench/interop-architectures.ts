/**
 * Every architecture of whittle's table: small random models with a head, written by whittle in float32 and int8, in
 * Transformers with compressed-tensors: the same logits?
 *
 *   npm run bench -- interop-architectures
 */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { quantize } from '../lib/compress/quantize.js';
import type { Example } from '../lib/data/batch.js';
import { architectures } from '../lib/models/architectures.js';
import { openCheckpoint } from '../lib/models/checkpoint.js';
import { writeCheckpoint } from '../lib/models/write-checkpoint.js';
import type { Benchmark } from './benchmark.js';
import { compareInTransformers, runCase, type Case } from './interop.js';

const fixtures = join(dirname(fileURLToPath(import.meta.url)), '..', 'test', 'fixtures');

interface Golden {
  lengths: number[];
  inputIds: number[];
  tokenTypeIds: number[];
}

export const benchmark: Benchmark = {
  summary: 'every architecture as whittle writes it, loaded in Transformers: differences of the logits',
  async run({ python }) {
    if (!python) throw new Error('interop-architectures needs a Python with transformers and compressed-tensors');
    const folder = mkdtempSync(join(tmpdir(), 'whittle-interop-'));
    try {
      const cases: Case[] = [];
      for (const name of architectures.keys())
        for (const part of ['sequence', 'token']) cases.push(...(await casesOf(name, part, join(folder, name, part))));
      const compared = compareInTransformers(python, cases, folder);
      const rows = compared.map(({ name, largestDifference }) => ({
        work: `${name}: largest difference of the logits`,
        unit: 'logits',
        whittle: Number(largestDifference.toExponential(2)),
        peers: {},
      }));
      return { rows, notes: { compared } };
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
};

/** The model as whittle writes it: float32, and int8 weights that both sides compute with in float32. */
async function casesOf(name: string, part: string, folder: string): Promise<Case[]> {
  const source = join(fixtures, 'architectures', name, part);
  const [float32, weightOnly] = [join(folder, 'float32'), join(folder, 'weight-only')];
  const checkpoint = await openCheckpoint(source);
  const parameters = await checkpoint.readParameters();
  const tokenizerFrom = join(fixtures, 'tiny-bert');
  await writeCheckpoint(float32, { ...checkpoint, parameters, dtype: 'float32', tokenizerFrom });
  await quantize(float32, { method: 'weight-only' }, { folder: weightOnly, threads: 0 });
  const examples = examplesOf(name);
  return [
    await runCase(`${name}, ${part} head, float32`, float32, examples),
    await runCase(`${name}, ${part} head, int8 weights`, weightOnly, examples),
  ];
}

function examplesOf(name: string): Example[] {
  const file = join(fixtures, 'architectures', name, 'golden.json');
  const { lengths, inputIds, tokenTypeIds } = JSON.parse(readFileSync(file, 'utf8')) as Golden;
  let start = 0;
  return lengths.map((length) => {
    const [from, to] = [start, (start += length)];
    return {
      inputIds: Int32Array.from(inputIds.slice(from, to)),
      tokenTypeIds: Int32Array.from(tokenTypeIds.slice(from, to)),
    };
  });
}
