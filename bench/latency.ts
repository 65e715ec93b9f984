/** Milliseconds of one call: a sequence of token ids to logits, a text to its label. */
import type { Benchmark } from './benchmark.js';
import { compareAll, type Comparison } from './harness/compare.js';
import type { ContestantName } from './harness/contestants.js';
import { makeUpModel, type ModelName } from './harness/made-up-model.js';
import { benchmarkModel, modelFolder, sampleTexts } from './harness/models.js';
import { fixedLengths, type Work } from './harness/work.js';

const models: ModelName[] = ['MiniLM-L6', 'MiniLM-L12', 'BERT-base'];
const lengths = [16, 128];
const peers: ContestantName[] = ['onnxruntime-node int8', 'ONNX Runtime int8', 'OpenVINO int8', 'OpenVINO float'];

export const benchmark: Benchmark = {
  summary: 'milliseconds of one call: a sequence of 16 or 128 tokens, a Banking77 text; int8',
  async run(options) {
    const common = { unit: 'ms', peers, turns: 7 } as const;
    const comparisons: Comparison[] = [];
    for (const name of models) {
      const float32 = await makeUpModel(name, options.shared, modelFolder);
      const model = await benchmarkModel(options, float32);
      for (const length of lengths)
        comparisons.push({ ...common, work: `${name} 1x${length}, a call`, model, does: fixedLengths(1, length) });
      if (name !== 'MiniLM-L6') continue;
      const texts = sampleTexts(options.shared, 'banking77', 100).slice(50, 51);
      const does: Work = { texts, tokenizer: float32, maxLength: 512 };
      comparisons.push({ ...common, work: `${name}, one Banking77 text to its label`, model, does });
    }
    return compareAll(comparisons, options);
  },
};
