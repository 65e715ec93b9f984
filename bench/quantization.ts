/** What int8 costs: cosines of MiniLM-L6's last hidden state, 64 sentences, to float32 with the original weights. */
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { quantize } from '../lib/compress/quantize.js';
import { loadDataset } from '../lib/data/load.js';
import { openCheckpoint } from '../lib/models/checkpoint.js';
import { Engine } from '../lib/models/engine.js';
import type { Benchmark, Row } from './benchmark.js';

const fixture = fileURLToPath(new URL('../test/fixtures/minilm-l6.golden.json', import.meta.url));
/** Texts to calibrate on; the sentences are from the test splits of Banking77 and WNUT-17. */
const sources: Record<string, string[]> = {
  none: [],
  'AG News, SST-2': ['ag_news', 'sst2'],
  'Banking77, AG News, SST-2': ['banking77', 'ag_news', 'sst2'],
};

export const benchmark: Benchmark = {
  summary:
    'cosines of int8 hidden states to float32, by what the weights were calibrated on; [ROWS to calibrate on, 512]',
  async run({ shared, args }) {
    const calibration = Number(args[0] ?? 512);
    const model = join(shared, 'models', 'minilm-l6');
    const batch = goldenBatch();
    const states = async (folder: string, precision: 'float32' | 'int8') => {
      await using engine = disposable(await Engine.load(await openCheckpoint(folder), { precision }));
      return engine.run(batch, { output: 'hidden' });
    };
    const exact = await states(model, 'float32');
    const rows: Row[] = [];
    for (const [name, sets] of Object.entries(sources)) {
      const train = sets.map((set) => join(shared, 'data', set, 'train.jsonl'));
      if (!train.every((file) => existsSync(file))) continue;
      const folder = mkdtempSync(join(tmpdir(), 'whittle-quantization-'));
      try {
        // Every file names all splits: only train is looked at.
        const data =
          sets.length > 0 && (await loadDataset({ train, dev: train, test: train, task: 'text-classification' }));
        const options = { keep: ['embeddings.word'], calibration: data ? calibration : 0 };
        await quantize(model, options, { folder, threads: 0, ...(data && { data }) });
        for (const [what, precision] of [
          ['int8 weights in float32', 'float32'],
          ['int8', 'int8'],
        ] as const) {
          const found = cosines(await states(folder, precision), exact, batch.offsets);
          const mean = found.reduce((sum, one) => sum + one, 0) / found.length;
          const work = `${what}, calibrated on ${data ? `${calibration} rows of ${name}` : 'nothing'}`;
          rows.push({ work, unit: 'smallest cosine', whittle: Number(Math.min(...found).toFixed(6)), peers: {} });
          rows.push({ work, unit: 'mean cosine', whittle: Number(mean.toFixed(6)), peers: {} });
          rows.push({ work, unit: 'of 64 at 0.999', whittle: found.filter((one) => one >= 0.999).length, peers: {} });
        }
      } finally {
        rmSync(folder, { recursive: true });
      }
    }
    return { rows };
  },
};

function disposable(engine: Engine) {
  return {
    run: engine.run.bind(engine) as Engine['run'],
    [Symbol.asyncDispose]: () => engine.dispose(),
  };
}

function goldenBatch() {
  const golden = JSON.parse(readFileSync(fixture, 'utf8')) as { inputIds: string; offsets: string };
  const ints = (text: string) => new Int32Array(new Uint8Array(Buffer.from(text, 'base64')).buffer);
  const inputIds = ints(golden.inputIds);
  return { inputIds, tokenTypeIds: new Int32Array(inputIds.length), offsets: ints(golden.offsets) };
}

/** Of each sequence's states, taken as one vector. */
function cosines(a: Float32Array, b: Float32Array, offsets: Int32Array): number[] {
  const hidden = a.length / offsets.at(-1)!;
  return Array.from({ length: offsets.length - 1 }, (_, sequence) => {
    let [ab, aa, bb] = [0, 0, 0];
    for (let i = offsets[sequence]! * hidden; i < offsets[sequence + 1]! * hidden; i++) {
      ab += a[i]! * b[i]!;
      aa += a[i]! * a[i]!;
      bb += b[i]! * b[i]!;
    }
    return ab / Math.sqrt(aa * bb);
  });
}
