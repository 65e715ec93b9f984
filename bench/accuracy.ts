/** What int8 costs: the task's metric of float32 and int8 on Banking77 and CoNLL-2003, the same fine-tuned MiniLM-L6. */
import { join } from 'node:path';
import { loadDataset } from '../lib/data/load.js';
import { evaluate } from '../lib/evaluate/evaluate.js';
import { round, type Benchmark, type Row } from './benchmark.js';
import { trainedModel } from './harness/trained-models.js';

const threads = 2;

export const benchmark: Benchmark = {
  summary: 'accuracy on Banking77 and entity F1 on CoNLL-2003: int8 beside float32',
  async run(options) {
    const rows: Row[] = [];
    for (const [name, data, metric] of [
      ['Banking77, accuracy', 'banking77', 'accuracy'],
      ['CoNLL-2003, entity F1', 'conll2003', 'f1'],
    ] as const) {
      const { float32, int8 } = await trainedModel(data, options);
      const dataset = await loadDataset({ path: join(options.shared, 'data', data) });
      const score = async (checkpoint: string) =>
        round(100 * (await evaluate(checkpoint, dataset, { on: 'test', threads })).metrics[metric]!);
      const peers = { 'whittle float32': await score(float32) };
      rows.push({ work: `MiniLM-L6 ${name} on test`, unit: '%', whittle: await score(int8), peers });
    }
    const losses = Object.fromEntries(
      rows.map(({ work, whittle, peers }) => [work, round(peers['whittle float32']! - whittle)]),
    );
    return { rows, notes: { lossInPoints: losses } };
  },
};
