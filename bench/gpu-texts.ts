/**
 * Texts to labels through the Predictor on a GPU, as a share of the engine's rate of the same token ids.
 *
 *     npm run bench -- gpu-texts [device=cuda] [texts=7600] [repeat=4] [MODEL...]
 *     npm run bench -- gpu-texts pretended      without a GPU: whether engines of some rates would be kept busy
 */
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { round, type Benchmark, type Row } from './benchmark.js';
import { measurePretended, measureTexts } from './gpu/texts.js';
import { modelShapes, type ModelName } from './harness/made-up-model.js';
import { modelFolder, sampleTexts } from './harness/models.js';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const usual: ModelName[] = ['BERT-base', 'MiniLM-L6'];

export const benchmark: Benchmark = {
  summary: 'texts/s of AG News through the Predictor on a GPU, beside the engine alone [device=cuda] [texts=7600]',
  async run({ args, shared }) {
    const named = (Object.keys(modelShapes) as ModelName[]).filter((name) => args.includes(name));
    const option = (name: string) => args.find((arg) => arg.startsWith(`${name}=`))?.slice(name.length + 1);
    const chosen = {
      texts: Array.from({ length: Number(option('repeat') ?? 4) }, () =>
        sampleTexts(shared, 'ag_news', Number(option('texts') ?? 7600)),
      ).flat(),
      models: named.length > 0 ? named : usual,
      ...{ source: root, folder: modelFolder, seconds: 1.5 },
    };
    if (args.includes('pretended')) return { rows: await pretend({ ...chosen, models: ['MiniLM-L6'] }) };
    const rows: Row[] = [];
    const notes: Record<string, unknown> = {};
    const figures = measureTexts({ device: option('device') ?? 'cuda', ...chosen });
    for await (const { work, unit, value, engine, ...more } of figures) {
      rows.push({ work, unit, whittle: value, peers: { 'the engine alone': engine }, ratio: round(value / engine) });
      notes[work] = more;
    }
    return { rows, notes };
  },
};

/** Tokens/s of BERT-base and MiniLM-L6 on a GPU, or so; the last says what everything around the engine could serve. */
const pretendedRates = [2e6, 4e6, 8e6, 16e6, Infinity];

async function pretend(options: Parameters<typeof measurePretended>[0]): Promise<Row[]> {
  const rows: Row[] = [];
  for await (const { rate, value, engine } of measurePretended(options, pretendedRates)) {
    const isLimited = Number.isFinite(rate);
    const kind = isLimited ? `an engine of ${rate / 1e6} million tokens/s` : 'an engine that answers at once';
    const row = { work: `AG News, ${kind}, pretended`, unit: 'texts/s', whittle: value };
    rows.push(
      isLimited
        ? { ...row, peers: { 'the engine alone': engine }, ratio: round(value / engine) }
        : { ...row, peers: {} },
    );
  }
  return rows;
}
