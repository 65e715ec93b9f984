/** Texts to labels or entities at real lengths, tokenization included: `npm run bench -- texts [DATA SET...]`. */
import type { Benchmark } from './benchmark.js';
import { compareAll, type Comparison } from './harness/compare.js';
import type { ContestantName } from './harness/contestants.js';
import { benchmarkModel, sampleTexts } from './harness/models.js';
import { trainedModel, type TrainedName } from './harness/trained-models.js';

const peers: ContestantName[] = ['onnxruntime-node int8', 'ONNX Runtime int8', 'OpenVINO int8', 'OpenVINO float'];
const dataSets: { name: string; data: string; model: TrainedName }[] = [
  { name: 'Banking77', data: 'banking77', model: 'banking77' },
  { name: 'AG News', data: 'ag_news', model: 'banking77' },
  { name: 'CoNLL-2003', data: 'conll2003', model: 'conll2003' },
];
const count = 1024;

export const benchmark: Benchmark = {
  summary: 'texts/s from texts to labels at real lengths, MiniLM-L6, int8 [DATA SET...]',
  async run(options) {
    const comparisons: Comparison[] = [];
    for (const { name, data, model } of dataSets) {
      if (options.args.some((arg) => dataSets.some((one) => one.data === arg)) && !options.args.includes(data))
        continue;
      const { float32, int8 } = await trainedModel(model, options);
      const texts = sampleTexts(options.shared, data, count);
      comparisons.push({
        ...{ work: `MiniLM-L6 ${name}, ${count} texts`, unit: 'texts/s', peers, turns: 7 },
        model: await benchmarkModel(options, float32, int8),
        does: { texts, tokenizer: float32, maxLength: 512 },
      });
    }
    return compareAll(comparisons, options);
  },
};
