/**
 * onnxruntime-node as a contestant, with two threads: `node onnxruntime.mjs MODEL.onnx WORK.json` (harness/work.ts).
 * Texts are sorted by length and padded to the longest of their batch; the batch size that is fastest is chosen at first.
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { PreTrainedTokenizer } from '@huggingface/transformers';
import ort from 'onnxruntime-node';
import { competeInBatches } from './contestant.mjs';

const [model, file] = process.argv.slice(2);
const work = JSON.parse(readFileSync(file, 'utf8'));
const session = await ort.InferenceSession.create(model, {
  intraOpNumThreads: 2,
  interOpNumThreads: 1,
  executionProviders: ['cpu'],
  graphOptimizationLevel: 'all',
});
const { version } = createRequire(import.meta.url)('onnxruntime-node/package.json');

const encode = work.texts ? textEncoder(work) : madeUpRows(work);

await competeInBatches(`onnxruntime-node ${version}`, (work.texts ?? work.lengths).length, async (batchSize) => {
  const rows = encode();
  const order = rows.map((_, index) => index).sort((a, b) => rows[a].length - rows[b].length);
  const classes = new Array(rows.length);
  for (let start = 0; start < order.length; start += batchSize) {
    const batch = order.slice(start, start + batchSize);
    const { data, dims } = await run(batch.map((index) => rows[index]));
    const [size, width] = [data.length / batch.length, dims.at(-1)];
    batch.forEach((index, row) => (classes[index] = argmaxes(data.subarray(row * size, (row + 1) * size), width)));
  }
});

function textEncoder({ texts, tokenizer: folder, maxLength }) {
  const read = (name) => JSON.parse(readFileSync(join(folder, name), 'utf8'));
  const tokenizer = new PreTrainedTokenizer(read('tokenizer.json'), read('tokenizer_config.json'));
  return () => texts.map((text) => tokenizer.encode(text).slice(0, maxLength));
}

function madeUpRows({ lengths }) {
  const rows = lengths.map((length, row) =>
    Array.from({ length }, (_, column) => 1000 + ((row * 131 + column * 31) % 20000)),
  );
  return () => rows;
}

/** Logits of sequences of token ids, padded to the longest: `[batch, labels]` or `[batch, longest, labels]`. */
async function run(rows) {
  const length = Math.max(...rows.map((row) => row.length));
  const shape = [rows.length, length];
  const [ids, mask, types] = [0, 0, 0].map(() => new BigInt64Array(rows.length * length));
  rows.forEach((row, index) =>
    row.forEach((id, column) => {
      ids[index * length + column] = BigInt(id);
      mask[index * length + column] = 1n;
    }),
  );
  const tensor = (values) => new ort.Tensor('int64', values, shape);
  const { logits } = await session.run({
    input_ids: tensor(ids),
    attention_mask: tensor(mask),
    token_type_ids: tensor(types),
  });
  return logits;
}

/** Class ids of `[rows, width]` values. */
function argmaxes(values, width) {
  return Array.from({ length: values.length / width }, (_, row) => {
    let best = row * width;
    for (let at = best + 1; at < (row + 1) * width; at++) if (values[at] > values[best]) best = at;
    return best - row * width;
  });
}
