/** CoNLL-2003 test sentences to entities, beside transformers.js with its quantized models. */
import type { Benchmark } from './benchmark.js';
import { compareAll } from './harness/compare.js';
import { benchmarkModel, sampleTexts } from './harness/models.js';
import { trainedModel } from './harness/trained-models.js';

const sentences = 1024;

export const benchmark: Benchmark = {
  summary: 'CoNLL-2003 sentences/s to entities, MiniLM-L6, int8, beside transformers.js',
  async run(options) {
    const { float32, int8 } = await trainedModel('conll2003', options);
    const texts = sampleTexts(options.shared, 'conll2003', sentences);
    return compareAll(
      [
        {
          ...{ work: `MiniLM-L6 CoNLL-2003 to entities, ${sentences} sentences`, unit: 'texts/s', turns: 5 },
          model: await benchmarkModel(options, float32, int8),
          does: { texts, tokenizer: float32, maxLength: 512 },
          peers: ['transformers.js q8', 'transformers.js q8, one by one'],
        },
      ],
      options,
    );
  },
};
