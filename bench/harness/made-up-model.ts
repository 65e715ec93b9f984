/** Checkpoints with made-up weights, for shapes of which no real one is at hand; they cost the same time. */
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { openCheckpoint } from '../../lib/models/checkpoint.js';
import { parameterShapes, type Parameters } from '../../lib/models/parameters.js';
import { writeCheckpoint } from '../../lib/models/write-checkpoint.js';

/** Encoders of the BERT architecture, vocabulary 30,522, 512 positions. */
export const modelShapes = {
  'MiniLM-L6': { layers: 6, hidden: 384, heads: 12, intermediate: 1536 },
  'MiniLM-L12': { layers: 12, hidden: 384, heads: 12, intermediate: 1536 },
  'BERT-base': { layers: 12, hidden: 768, heads: 12, intermediate: 3072 },
  'BERT-large': { layers: 24, hidden: 1024, heads: 16, intermediate: 4096 },
} as const;

export type ModelName = keyof typeof modelShapes;

/** Those of CoNLL-2003; the made-up head favors O, so that most tokens are outside entities, as they are in texts. */
const entityTags = ['O', ...['PER', 'ORG', 'LOC', 'MISC'].flatMap((type) => [`B-${type}`, `I-${type}`])];
const outsideBias = 3;

/**
 * A float32 text classifier of 77 labels, or one of entities, below `folder`, written once: the encoder of models/minilm-l6 with a
 * made-up head for MiniLM-L6, made-up weights throughout for the others. Trained encoders have a few channels that are large for every
 * token, which int8 engines may treat apart; so have these, through the weights of their LayerNorms.
 */
export async function makeUpModel(
  name: ModelName,
  shared: string,
  folder: string,
  task: 'text-classification' | 'token-classification' = 'text-classification',
): Promise<string> {
  const version = createHash('sha256').update(readFileSync(fileURLToPath(import.meta.url)));
  const kind = task === 'token-classification' ? '-entities' : '';
  const target = join(folder, `${name}${kind}-${version.digest('hex').slice(0, 8)}`);
  if (existsSync(target)) return target;
  const source = join(shared, 'models', 'minilm-l6');
  const checkpoint = await openCheckpoint(source);
  const shape = modelShapes[name];
  const description = { ...checkpoint.description, ...shape, headSize: shape.hidden / shape.heads, hasPooler: true };
  const classes = Array.from({ length: 77 }, (_, id) => `class ${id}`);
  const head = { task, labels: task === 'token-classification' ? entityTags : classes };
  const parameters: Parameters = new Map();
  const random = normalNumbers();
  for (const [parameter, dims] of parameterShapes(description, head)) {
    const data = new Float32Array(dims.reduce((product, size) => product * size, 1));
    if (parameter.endsWith('norm.weight')) data.fill(1).forEach((_, i) => (data[i] = i % 190 === 7 ? 6 : 1));
    else if (!parameter.endsWith('bias')) for (let i = 0; i < data.length; i++) data[i] = 0.04 * random();
    parameters.set(parameter, { shape: dims, data });
  }
  if (task === 'token-classification') parameters.get('classifier.bias')!.data[0] = outsideBias;
  if (name === 'MiniLM-L6')
    for (const [key, value] of await checkpoint.readParameters()) if (parameters.has(key)) parameters.set(key, value);
  const config = { ...checkpoint.config };
  delete config.quantization_config;
  await writeCheckpoint(target, {
    ...{ config, description, head, parameters, dtype: 'float32', tokenizerFrom: source },
  });
  return target;
}

/** Numbers of a standard normal distribution, always the same ones: sums of 12 uniform ones (Irwin and Hall), less 6. */
function normalNumbers(): () => number {
  let state = 0x9e3779b9;
  const next = () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
  const table = Float32Array.from({ length: 1 << 16 }, () => {
    let sum = -6;
    for (let i = 0; i < 12; i++) sum += next() / 2 ** 32;
    return sum;
  });
  return () => table[next() >>> 16]!;
}
