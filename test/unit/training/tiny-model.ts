/** A small random BERT and random rows for it. */
import type { Example } from '../../../lib/data/batch.js';
import type { ModelDescription, TaskHead } from '../../../lib/models/description.js';
import { parameterShapes, type Parameters } from '../../../lib/models/parameters.js';
import { generator, normalValues } from '../../../lib/training/random.js';

export const tinyDescription: ModelDescription = {
  architecture: 'bert',
  ...{ layers: 2, hidden: 32, heads: 2, headSize: 16, intermediate: 48 },
  ...{ vocabulary: 60, positions: 24, positionOffset: 0, positionBuckets: 0, tokenTypes: 2 },
  ...{ activation: 'gelu', normPlacement: 'post', normEpsilon: 1e-12, hasPooler: true },
  ...{ poolerActivation: 'tanh', dropsPoolerInput: false, padTokenId: 0 },
  ...{ hiddenDropout: 0.1, attentionDropout: 0.1, headDropout: { sequence: 0.1, token: 0.1 } },
};

export const textHead: TaskHead = { task: 'text-classification', labels: ['a', 'b', 'c'] };
export const tokenHead: TaskHead = { task: 'token-classification', labels: ['O', 'B-X', 'I-X'] };

/** Weights large enough that nothing about them is negligible. */
export function tinyParameters(head: TaskHead, seed: number, description = tinyDescription): Parameters {
  const parameters: Parameters = new Map();
  for (const [index, [name, shape]] of [...parameterShapes(description, head)].entries()) {
    const count = shape.reduce((product, size) => product * size, 1);
    const data = normalValues(
      count,
      name.includes('norm') || name.endsWith('bias') ? 0.1 : 0.2,
      generator(seed, index),
    );
    if (name.endsWith('norm.weight')) data.forEach((value, at) => (data[at] = value + 1));
    parameters.set(name, { shape, data });
  }
  return parameters;
}

/** Rows whose class or tags depend on their words, so that there is something to learn. */
export function tinyExamples(head: TaskHead, count: number, seed: number): Example[] {
  const random = generator(seed);
  const classes = head.labels.length;
  return Array.from({ length: count }, () => {
    const length = 3 + Math.floor(random() * 9);
    const label = Math.floor(random() * classes);
    const words = Array.from({ length }, () => 4 + Math.floor(random() * 50));
    words[0] = 1;
    words[length - 1] = 2;
    if (head.task === 'text-classification') words[1] = 4 + label;
    const example: Example = {
      inputIds: Int32Array.from(words),
      tokenTypeIds: Int32Array.from(words, (_, at) => (at > length / 2 ? 1 : 0)),
    };
    if (head.task === 'text-classification') return { ...example, label };
    const tokenLabels = example.inputIds.map((id, at) => (at === 0 || at === length - 1 ? -100 : id % classes));
    return { ...example, tokenLabels };
  });
}
