/**
 * onnxruntime-node as a contestant, with two threads:
 *
 *     node onnxruntime.mjs MODEL.onnx ids SEQUENCES LENGTH           one batch of so many sequences of equal length
 *     node onnxruntime.mjs MODEL.onnx texts FILE.json CHECKPOINT     texts to class ids, tokenization included
 *
 * FILE.json holds an array of texts. Batches of 32 are sorted by length and padded to their longest.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { performance } from 'node:perf_hooks';
import { createInterface } from 'node:readline';
import { PreTrainedTokenizer } from '@huggingface/transformers';
import ort from 'onnxruntime-node';

const batchSize = 32;
const [model, mode, ...args] = process.argv.slice(2);
const session = await ort.InferenceSession.create(model, {
  intraOpNumThreads: 2,
  interOpNumThreads: 1,
  executionProviders: ['cpu'],
});
const work = mode === 'ids' ? idsWork(...args.map(Number)) : textsWork(...args);
for (let warmUp = 0; warmUp < 2; warmUp++) await work();
console.log('ready');
const turns = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
while (!(await turns.next()).done) {
  const started = performance.now();
  const units = await work();
  console.log(JSON.stringify({ units, seconds: (performance.now() - started) / 1000 }));
}

function idsWork(sequences, length) {
  const rows = Array.from({ length: sequences }, (_, row) =>
    Array.from({ length }, (_, column) => 1000 + ((row * 131 + column * 31) % 20000)),
  );
  return async () => {
    await run(rows);
    return sequences;
  };
}

function textsWork(file, checkpoint) {
  const texts = JSON.parse(readFileSync(file, 'utf8'));
  const read = (name) => JSON.parse(readFileSync(join(checkpoint, name), 'utf8'));
  const tokenizer = new PreTrainedTokenizer(read('tokenizer.json'), read('tokenizer_config.json'));
  return async () => {
    const rows = texts.map((text) => tokenizer.encode(text).slice(0, 512));
    const order = rows.map((_, index) => index).sort((a, b) => rows[a].length - rows[b].length);
    const classes = new Int32Array(texts.length);
    for (let start = 0; start < order.length; start += batchSize) {
      const batch = order.slice(start, start + batchSize);
      const { data, dims } = await run(batch.map((index) => rows[index]));
      batch.forEach((index, row) => {
        classes[index] = argmax(data.subarray(row * dims[1], (row + 1) * dims[1]));
      });
    }
    return texts.length;
  };
}

/** Logits of sequences of token ids, padded to the longest. */
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

function argmax(values) {
  return values.reduce((best, value, index) => (value > values[best] ? index : best), 0);
}
