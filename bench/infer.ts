/**
 * Token ids to logits: fixed lengths, and BERT-large at lengths like SQuAD's.
 *
 *     npm run bench -- infer [MODEL...] [SHAPE...]     for example: infer MiniLM-L6 BERT-base 32x128 8x512
 */
import type { Benchmark, BenchmarkOptions } from './benchmark.js';
import { compareAll, type Comparison } from './harness/compare.js';
import type { ContestantName } from './harness/contestants.js';
import { makeUpModel, modelShapes, type ModelName } from './harness/made-up-model.js';
import { benchmarkModel, modelFolder } from './harness/models.js';
import { operationsOf } from './harness/peak.js';
import { fixedLengths, squadLengths } from './harness/work.js';

const peers: ContestantName[] = [
  'onnxruntime-node int8',
  'onnxruntime-node float32',
  'ONNX Runtime int8',
  'OpenVINO int8',
  'OpenVINO float',
  'PyTorch bfloat16',
];

const works = {
  '32x128': { does: fixedLengths(32, 128), turns: 7 },
  '1x128': { does: fixedLengths(1, 128), turns: 9 },
  '1x16': { does: fixedLengths(1, 16), turns: 9 },
  '8x512': { does: fixedLengths(8, 512), turns: 5 },
  SQuAD: { does: squadLengths(48), turns: 3 },
};

export const benchmark: Benchmark = {
  summary: 'sequences/s from token ids to logits, int8 [MODEL...] [SHAPE...]',
  async run(options) {
    const comparisons: Comparison[] = [];
    for (const name of named(Object.keys(modelShapes) as ModelName[], options)) {
      const float32 = await makeUpModel(name, options.shared, modelFolder);
      const model = await benchmarkModel(options, float32);
      const usual = Object.keys(works).filter((work) => (work === 'SQuAD') === (name === 'BERT-large'));
      for (const work of named(usual, options)) {
        const { does, turns } = works[work as keyof typeof works];
        comparisons.push({
          ...{ work: `${name} ${work}`, unit: 'sequences/s', model, does, turns },
          // Exporting and calibrating BERT-large takes the peers more time and memory than it tells.
          peers: name === 'BERT-large' ? ['ONNX Runtime int8'] : peers,
          operations: operationsOf(name, does.lengths),
        });
      }
    }
    return compareAll(comparisons, options);
  },
};

/** Those that the arguments name, or all. */
function named<T extends string>(all: readonly T[], { args }: BenchmarkOptions): readonly T[] {
  const chosen = all.filter((name) => args.includes(name));
  return chosen.length > 0 ? chosen : all;
}
