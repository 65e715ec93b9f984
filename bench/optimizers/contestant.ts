/** whittle's side of bench/optimizers.ts: `contestant.ts WORK.json`; a turn is as many updates as fill 0.3 s. */
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import * as tf from '@tensorflow/tfjs-core';
import { native } from '../../bindings/load.js';
import { useWhittleBackend } from '../../lib/backend/register.js';
import { floatArrays } from '../../lib/training/float-arrays.js';
import type { TrainableModel } from '../../lib/training/model.js';
import { optimizerOptions, ruleOf } from '../../lib/training/optimizers/options.js';
import type { ParameterUpdate } from '../../lib/training/optimizers/rule.js';
import { generator, normalValues } from '../../lib/training/random.js';
import { WeightAverage } from '../../lib/training/weight-average.js';
import type { Work } from '../optimizers.js';

const leastSeconds = 0.3;
const { kind, shapes } = JSON.parse(readFileSync(process.argv[2]!, 'utf8')) as Work;
const once = work();

/** In memory such as the backend's. */
function array(length: number, scale: number, stream: number): Float32Array {
  const values = native.allocateFloats(length);
  values.set(normalValues(length, scale, generator(1, 7, stream)));
  return values;
}

function work(): () => void {
  const sizes = shapes.map((shape) => shape.reduce((product, length) => product * length, 1));
  if (kind === 'clip-by-value') {
    const gradients = sizes.map((size, index) => ({ gradient: array(size, 1e-3, index) }));
    return () => native.clipByValue(gradients, 1e-3);
  }
  if (kind === 'ema') {
    useWhittleBackend();
    const parameters = new Map(
      shapes.map((shape, index) => [`${index}`, tf.variable(tf.tensor(array(sizes[index]!, 0.02, index), shape))]),
    );
    // As much of a model as an average sees.
    const average = new WeightAverage({ parameters } as unknown as TrainableModel, parameters.keys(), 0.999);
    return () => average.update();
  }
  const rule = ruleOf(optimizerOptions(kind));
  const lengths = shapes.map((shape) => rule.arrays(shape));
  const memory = floatArrays(lengths.flatMap((arrays) => Object.values(arrays)));
  const updates = shapes.map((shape, index): ParameterUpdate => {
    const state = Object.keys(lengths[index]!).map((name) => [name, memory.shift()!.fill(0)] as const);
    return {
      ...{ shape, parameter: array(sizes[index]!, 0.02, index), gradient: array(sizes[index]!, 1e-3, 1000 + index) },
      ...{ state: Object.fromEntries(state), learningRate: 1e-5, weightDecay: 0.01, step: 0, columns: shape.at(-1)! },
      ...{ mask: undefined, gradientRows: undefined, packed: undefined },
    };
  });
  return () => {
    for (const update of updates) update.step++;
    rule.apply(updates, 0.9);
  };
}

function turn(): { units: number; seconds: number } {
  const started = performance.now();
  let [units, seconds] = [0, 0];
  for (; seconds < leastSeconds; units++) {
    once();
    seconds = (performance.now() - started) / 1000;
  }
  return { units, seconds };
}

turn();
console.log('ready');
const turns = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
while (!(await turns.next()).done) console.log(JSON.stringify(turn()));
