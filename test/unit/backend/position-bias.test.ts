/** The fused block with a relative position bias against the same block from ordinary operations. */
import * as tf from '@tensorflow/tfjs-core';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { blockParameterNames, type BlockSpec } from '../../../bindings/native.js';
import { transformerBlock } from '../../../lib/backend/fused-kernels.js';
import { gelu, layerNorm } from '../../../lib/backend/operations.js';
import { useWhittleBackend } from '../../../lib/backend/register.js';
import { generator, normalValues } from '../../../lib/training/random.js';
import { expectError } from '../../harness.js';

const [hidden, heads, intermediate, buckets, maxDistance] = [24, 3, 40, 8, 12];
const size = hidden / heads;
const seed = 41;
const lengths = [7, 1, 12, 5];
const offsets = Int32Array.from([0, ...lengths.map((_, at) => lengths.slice(0, at + 1).reduce((a, b) => a + b, 0))]);
const spec: BlockSpec = {
  ...{ hidden, heads, intermediate, normEpsilon: 1e-5, hiddenDropout: 0, attentionDropout: 0 },
  ...{ seed, step: 0, layer: 0, precision: 'float32' },
};

const shapes: Record<string, number[]> = {
  'intermediate.weight': [intermediate, hidden],
  'intermediate.bias': [intermediate],
  'output.weight': [hidden, intermediate],
};
const shapeOf = (name: string) => shapes[name] ?? (/norm|bias$/.test(name) ? [hidden] : [hidden, hidden]);

/** x, the bucket table and the block's parameters. */
function inputs(): tf.Tensor[] {
  const all = [[offsets.at(-1)!, hidden], [buckets, heads], ...blockParameterNames.map(shapeOf)];
  return all.map((shape, stream) => {
    const count = shape.reduce((product, length) => product * length, 1);
    return tf.tensor(normalValues(count, stream < 2 ? 1 : 0.3, generator(seed, stream)), shape);
  });
}

/** The bucket of a distance j - i: any function does here. */
const bucketOf = (distance: number) => (distance < 0 ? 4 : 0) + Math.min(3, Math.abs(distance));
const distances = Int32Array.from({ length: 2 * maxDistance - 1 }, (_, at) => bucketOf(at - maxDistance + 1));

/** The parameters' gradients go to `taken`. */
function fused([x, table, ...values]: tf.Tensor[], taken: tf.Tensor[]): tf.Tensor {
  const bias = tf.transpose(tf.gather(table!, tf.tensor1d(distances, 'int32'))) as tf.Tensor2D;
  const wanted = { input: true, parameters: values.map(() => true), positionBias: true };
  const take = (index: number, gradient: tf.Tensor) => (taken[index] = gradient);
  const parameters = { values, anchor: tf.scalar(0), take };
  return transformerBlock(x as tf.Tensor2D, parameters, offsets, spec, wanted, bias);
}

function composite([x, table, ...parameters]: tf.Tensor[]): tf.Tensor {
  const of = (name: (typeof blockParameterNames)[number]) => parameters[blockParameterNames.indexOf(name)]!;
  const linear = (input: tf.Tensor, name: string) =>
    tf.add(tf.matMul(input, of(`${name}.weight` as never), false, true), of(`${name}.bias` as never));
  const norm = (input: tf.Tensor, name: string) => {
    const [gamma, beta] = [of(`${name}.weight` as never), of(`${name}.bias` as never)] as tf.Tensor1D[];
    return layerNorm(input, gamma!, beta!, spec.normEpsilon);
  };
  const [query, key, value] = ['query', 'key', 'value'].map((part) => linear(x!, `attention.${part}`));
  const attended = lengths.map((length, sequence) => {
    const split = (rows: tf.Tensor) =>
      tf.transpose(
        tf.reshape(tf.slice(rows, [offsets[sequence]!, 0], [length, hidden]), [length, heads, size]),
        [1, 0, 2],
      );
    const ids = Int32Array.from({ length: length * length }, (_, at) =>
      bucketOf((at % length) - Math.floor(at / length)),
    );
    const bias = tf.transpose(
      tf.reshape(tf.gather(table!, tf.tensor1d(ids, 'int32')), [length, length, heads]),
      [2, 0, 1],
    );
    const scores = tf.add(tf.mul(tf.matMul(split(query!), split(key!), false, true), 1 / Math.sqrt(size)), bias);
    const merged = tf.transpose(tf.matMul(tf.softmax(scores), split(value!)), [1, 0, 2]);
    const place = tf.oneHot(tf.range(offsets[sequence]!, offsets[sequence + 1]!, 1, 'int32'), offsets.at(-1)!);
    return tf.matMul(tf.cast(place, 'float32'), tf.reshape(merged, [length, hidden]), true, false);
  });
  const middle = norm(
    tf.add(
      linear(
        attended.reduce((sum, part) => tf.add(sum, part)),
        'attention.output',
      ),
      x!,
    ),
    'attention.norm',
  );
  return norm(tf.add(linear(gelu(linear(middle, 'intermediate')), 'output'), middle), 'output.norm');
}

test('output and every gradient agree with the composite form', () => {
  useWhittleBackend();
  const given = inputs();
  const dy = tf.tensor(normalValues(given[0]!.size, 1, generator(seed, 99)), given[0]!.shape);
  const results = [fused, composite].map((form) => {
    const taken: tf.Tensor[] = [];
    const onTape = form === fused ? given.slice(0, 2) : given;
    const loss = (...all: tf.Tensor[]) => tf.sum(tf.mul(form([...all, ...given.slice(all.length)], taken), dy));
    const { value, grads } = tf.valueAndGrads(loss)(onTape);
    return { value: value.dataSync()[0]!, grads: [...grads, ...taken].map((grad) => [...grad.dataSync()]) };
  });
  const [actual, expected] = results as [(typeof results)[0], (typeof results)[0]];
  assert.ok(Math.abs(actual.value - expected.value) <= 1e-4 * Math.abs(expected.value), `seed ${seed}`);
  const norm = (values: number[]) => Math.hypot(...values);
  const names = ['x', 'table', ...blockParameterNames];
  expected.grads.forEach((wanted, index) => {
    const difference = norm(wanted.map((value, at) => value - actual.grads[index]![at]!));
    // The keys' bias has no gradient but rounding errors: softmax does not see it.
    const scale = Math.max(norm(wanted), names[index] === 'attention.key.bias' ? 1 : 1e-3);
    assert.ok(difference <= 1e-4 * scale, `seed ${seed}, ${names[index]}: relative error ${difference / scale}`);
  });
});

test('a sequence longer than the bias reaches is refused', async () => {
  useWhittleBackend();
  const [x, , ...values] = inputs();
  const wanted = { input: false, parameters: values.map(() => false) };
  const parameters = { values, anchor: tf.scalar(0) };
  const short = tf.zeros([heads, 2 * 11 - 1]) as tf.Tensor2D;
  await expectError(
    () => transformerBlock(x as tf.Tensor2D, parameters, offsets, spec, wanted, short),
    'BAD_OPTION',
    /at least 23 distances for positionBias/,
  );
});

test.run();
