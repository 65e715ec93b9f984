/**
 * Texts to labels through the Predictor on a GPU, as a share of the engine's rate of the same token ids.
 *
 *     npm run bench -- gpu-texts [device=cuda] [texts=7600] [repeat=4] [MODEL...]
 */
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { round, type Benchmark, type Row } from './benchmark.js';
import { measureTexts } from './gpu/texts.js';
import { modelShapes, type ModelName } from './harness/made-up-model.js';
import { modelFolder, sampleTexts } from './harness/models.js';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const usual: ModelName[] = ['BERT-base', 'MiniLM-L6'];

export const benchmark: Benchmark = {
  summary: 'texts/s of AG News through the Predictor on a GPU, beside the engine alone [device=cuda] [texts=7600]',
  async run({ args, shared }) {
    const named = (Object.keys(modelShapes) as ModelName[]).filter((name) => args.includes(name));
    const option = (name: string) => args.find((arg) => arg.startsWith(`${name}=`))?.slice(name.length + 1);
    const rows: Row[] = [];
    const notes: Record<string, unknown> = {};
    for await (const { work, unit, value, engine, ...more } of measureTexts({
      device: option('device') ?? 'cuda',
      texts: Array.from({ length: Number(option('repeat') ?? 4) }, () =>
        sampleTexts(shared, 'ag_news', Number(option('texts') ?? 7600)),
      ).flat(),
      models: named.length > 0 ? named : usual,
      ...{ source: root, folder: modelFolder, seconds: 1.5 },
    })) {
      rows.push({ work, unit, whittle: value, peers: { 'the engine alone': engine }, ratio: round(value / engine) });
      notes[work] = more;
    }
    return { rows, notes };
  },
};
