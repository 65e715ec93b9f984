/** AdamW from ordinary TensorFlow.js operations, whose moments stay where the backend keeps its tensors. */
import * as tf from '@tensorflow/tfjs-core';
import type { TrainableModel } from '../model.js';
import type { AdamOptions } from './adamw.js';
import { clipFactor, type Clip } from './clip.js';
import type { Optimizer, OptimizerState, Slot } from './optimizer.js';

interface Moments {
  first: tf.Tensor;
  second: tf.Tensor;
  mask: tf.Tensor | undefined;
  updates: number;
}

export function composedAdamW(
  model: TrainableModel,
  slots: readonly Slot[],
  { betas: [beta1, beta2], epsilon }: AdamOptions,
  clip: Clip,
  from?: OptimizerState,
): Optimizer {
  const states = slots.map(({ name, mask }): Moments => {
    const { shape } = model.parameters.get(name)!;
    const moment = (array: string) => {
      const values = from?.arrays.get(`${array}/${name}`);
      return tf.keep(values ? tf.tensor(values.slice(), shape) : tf.zeros(shape));
    };
    return {
      first: moment('firstMoment'),
      second: moment('secondMoment'),
      mask: mask && tf.keep(tf.tensor(Float32Array.from(mask), shape)),
      updates: from?.updates[name] ?? 0,
    };
  });
  return {
    update(gradients, learningRate) {
      const present = slots.flatMap((slot, index) => {
        const variable = model.parameters.get(slot.name)!;
        const gradient = gradients[variable.name];
        return gradient ? [{ slot, state: states[index]!, variable, gradient }] : [];
      });
      // One value to read back: each costs a wait for the device.
      const squares = tf.tidy(() => tf.addN(present.map(({ gradient }) => tf.sum(tf.square(gradient)))).dataSync()[0]!);
      const norm = Math.sqrt(squares);
      if (!Number.isFinite(norm)) return norm;
      const scale = clipFactor(norm, clip);
      for (const { slot, state, variable, gradient } of present) {
        const rate = learningRate * slot.learningRateFactor;
        const step = ++state.updates;
        const [first, second] = tf.tidy(() => {
          const limited = clip.value === undefined ? gradient : tf.clipByValue(gradient, -clip.value, clip.value);
          const g = tf.mul(limited, scale);
          const m = tf.add(tf.mul(state.first, beta1), tf.mul(g, 1 - beta1));
          const v = tf.add(tf.mul(state.second, beta2), tf.mul(tf.square(g), 1 - beta2));
          const change = tf.div(tf.div(m, 1 - beta1 ** step), tf.add(tf.sqrt(tf.div(v, 1 - beta2 ** step)), epsilon));
          const decayed = tf.mul(variable, 1 - rate * slot.weightDecay);
          const updated = tf.sub(decayed, tf.mul(change, rate));
          variable.assign(state.mask ? tf.mul(updated, state.mask) : updated);
          return [m, v];
        });
        state.first.dispose();
        state.second.dispose();
        state.first = tf.keep(first!);
        state.second = tf.keep(second!);
      }
      return norm;
    },
    state() {
      const arrays = new Map<string, Float32Array>();
      const updates: Record<string, number> = {};
      slots.forEach(({ name }, index) => {
        const { first, second, updates: count } = states[index]!;
        arrays.set(`firstMoment/${name}`, first.dataSync() as Float32Array);
        arrays.set(`secondMoment/${name}`, second.dataSync() as Float32Array);
        updates[name] = count;
      });
      return { arrays, updates };
    },
    dispose() {
      for (const { first, second, mask } of states) tf.dispose([first, second, ...(mask ? [mask] : [])]);
    },
  };
}
