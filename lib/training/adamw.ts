/** AdamW (Loshchilov and Hutter 2019) over a model's trained parameters, with clipping by the global norm. */
import * as tf from '@tensorflow/tfjs-core';
import { native } from '../../bindings/load.js';
import { backendName, type WhittleBackend } from '../backend/whittle-backend.js';
import type { ParameterName } from '../models/description.js';
import type { TrainableModel } from './model.js';
import { isDecayed, learningRateFactor, type Stage } from './stages.js';

const beta1 = 0.9;
const beta2 = 0.999;
const epsilon = 1e-8;

export interface AdamW {
  /**
   * One update from gradients by variable name. Parameters without a gradient stay as they are.
   * @returns the global norm of the gradients before clipping; if it is not finite, nothing was updated.
   */
  update(gradients: tf.NamedTensorMap, learningRate: number): number;
  dispose(): void;
}

/** What the optimizer knows of one parameter. */
interface Slot {
  name: ParameterName;
  learningRateFactor: number;
  weightDecay: number;
  mask: Uint8Array | undefined;
}

/** @param masks by parameter: where one is 0, the parameter is held at 0. */
export function createAdamW(
  model: TrainableModel,
  trained: Iterable<ParameterName>,
  stage: Pick<Stage, 'layerDecay' | 'weightDecay' | 'gradientClip'>,
  masks: ReadonlyMap<ParameterName, Uint8Array>,
): AdamW {
  const slots = [...trained].map((name): Slot => {
    const mask = masks.get(name);
    return {
      name,
      learningRateFactor: learningRateFactor(name, model.description.layers, stage.layerDecay),
      weightDecay: isDecayed(name) ? stage.weightDecay : 0,
      mask: mask && name === 'embeddings.word' && model.words ? model.words.select(mask) : mask,
    };
  });
  const optimizer = tf.getBackend() === backendName ? nativeAdamW : composedAdamW;
  const { update, dispose } = optimizer(model, slots, stage.gradientClip);
  const words = slots.find((slot) => slot.name === 'embeddings.word');
  return {
    update(gradients, learningRate) {
      const norm = update(gradients, learningRate);
      if (words && Number.isFinite(norm))
        model.words?.decayOthers(1 - learningRate * words.learningRateFactor * words.weightDecay);
      return norm;
    },
    dispose,
  };
}

/** The factor that clips gradients of this norm, as torch's clip_grad_norm_ has it. */
function clipFactor(norm: number, clip: number): number {
  return clip > 0 ? Math.min(1, clip / (norm + 1e-6)) : 1;
}

/** Updates the variables' memory in place: on the backend `whittle` nobody else shares it between steps. */
function nativeAdamW(model: TrainableModel, slots: Slot[], clip: number): AdamW {
  const backend = tf.backend() as unknown as WhittleBackend;
  const moments = slots.map(({ name }) => {
    const { size } = model.parameters.get(name)!;
    return { firstMoment: new Float32Array(size), secondMoment: new Float32Array(size) };
  });
  let step = 0;
  return {
    update(gradients, learningRate) {
      const tensors = slots.flatMap((slot, index) => {
        const variable = model.parameters.get(slot.name)!;
        const gradient = gradients[variable.name];
        if (!gradient) return [];
        return {
          parameter: backend.valuesOf(variable),
          gradient: backend.valuesOf(gradient),
          ...moments[index]!,
          learningRate: learningRate * slot.learningRateFactor,
          weightDecay: slot.weightDecay,
          step: step + 1,
          ...(slot.mask && { mask: slot.mask }),
        };
      });
      const norm = native.gradientNorm(tensors);
      if (!Number.isFinite(norm)) return norm;
      step++;
      native.adamw(tensors, { beta1, beta2, epsilon, gradientScale: clipFactor(norm, clip) });
      return norm;
    },
    dispose() {},
  };
}

/** The same from ordinary operations, for any other backend. */
function composedAdamW(model: TrainableModel, slots: Slot[], clip: number): AdamW {
  const states = slots.map(({ name, mask }) => {
    const { shape } = model.parameters.get(name)!;
    return {
      first: tf.keep(tf.zeros(shape)),
      second: tf.keep(tf.zeros(shape)),
      mask: mask && tf.keep(tf.tensor(Float32Array.from(mask), shape)),
    };
  });
  let step = 0;
  return {
    update(gradients, learningRate) {
      const present = slots.flatMap((slot, index) => {
        const variable = model.parameters.get(slot.name)!;
        const gradient = gradients[variable.name];
        return gradient ? [{ slot, state: states[index]!, variable, gradient }] : [];
      });
      const norm = Math.sqrt(
        present.reduce((sum, { gradient }) => sum + tf.tidy(() => tf.sum(tf.square(gradient)).dataSync()[0]!), 0),
      );
      if (!Number.isFinite(norm)) return norm;
      step++;
      const scale = clipFactor(norm, clip);
      for (const { slot, state, variable, gradient } of present) {
        const rate = learningRate * slot.learningRateFactor;
        const [first, second] = tf.tidy(() => {
          const g = tf.mul(gradient, scale);
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
    dispose() {
      for (const { first, second, mask } of states) tf.dispose([first, second, ...(mask ? [mask] : [])]);
    },
  };
}
