/** Updates a model's trained parameters from gradients: clipping, the rule of the chosen optimizer, masks. */
import * as tf from '@tensorflow/tfjs-core';
import { native } from '../../../bindings/load.js';
import { backendName } from '../../backend/whittle-backend.js';
import type { ParameterName } from '../../models/description.js';
import { floatArrays } from '../float-arrays.js';
import type { TrainableModel } from '../model.js';
import type { PackedWeights } from '../packed-weights.js';
import { assignValues, nonzeroRows, valuesOf } from '../parameter-values.js';
import { clipFactor, type Clip } from './clip.js';
import { composedAdamW } from './composed-adamw.js';
import { ruleOf, type OptimizerOptions } from './options.js';
import type { ParameterUpdate, UpdateRule } from './rule.js';

export interface Optimizer {
  /**
   * One update from gradients by variable name. Parameters without a gradient stay as they are. The gradients are of no
   * use afterwards: clipping by value may have changed them.
   * @returns the global norm of the gradients before clipping; if it is not finite, nothing was updated.
   */
  update(gradients: tf.NamedTensorMap, learningRate: number): number;
  /** What it has learned so far; the arrays are its own. */
  state(): OptimizerState;
  dispose(): void;
}

export interface OptimizerState {
  /** Updates of each parameter so far. */
  updates: Record<ParameterName, number>;
  /** By `ARRAY/PARAMETER`. */
  arrays: Map<string, Float32Array>;
}

/** What the optimizer knows of one parameter. */
export interface Slot {
  name: ParameterName;
  /** On the learning rate of the step. */
  learningRateFactor: number;
  weightDecay: number;
  /** As large as the parameter: where it is 0, the parameter is held at 0. */
  mask: Uint8Array | undefined;
}

/** @param from a state that an optimizer of the same kind and slots was in. */
export function createOptimizer(
  model: TrainableModel,
  slots: readonly Slot[],
  options: OptimizerOptions,
  clip: Clip,
  from?: OptimizerState,
): Optimizer {
  const optimizer =
    options.kind === 'adamw' && tf.getBackend() !== backendName
      ? composedAdamW(model, slots, options, clip, from)
      : ruleOptimizer(model, slots, ruleOf(options), clip, from);
  const words = slots.find((slot) => slot.name === 'embeddings.word');
  return {
    ...optimizer,
    update(gradients, learningRate) {
      const norm = optimizer.update(gradients, learningRate);
      const areTrained = words && gradients[model.parameters.get(words.name)!.name] !== undefined;
      if (areTrained && Number.isFinite(norm))
        model.words?.decayOthers(1 - learningRate * words.learningRateFactor * words.weightDecay);
      return norm;
    },
  };
}

interface Present extends ParameterUpdate {
  name: ParameterName;
  variable: tf.Variable;
}

/** Has the rule pack the weight, or sees to it that what was packed before is not used any more. */
function pack(update: Present, packed: PackedWeights, rule: UpdateRule): void {
  if (rule.packs) update.packed = packed.forUpdate(update.name, update.variable);
  else packed.forget(update.name);
}

/**
 * An optimizer around a rule over plain arrays. On the backend `whittle` it updates the variables' memory in place:
 * nobody else shares it between steps.
 */
function ruleOptimizer(
  model: TrainableModel,
  slots: readonly Slot[],
  rule: UpdateRule,
  clip: Clip,
  from?: OptimizerState,
): Optimizer {
  const lengths = slots.map(({ name }) => rule.arrays(model.parameters.get(name)!.shape));
  const memory = floatArrays(lengths.flatMap((arrays) => Object.values(arrays)));
  const states = slots.map(({ name }, index) =>
    Object.fromEntries(
      Object.keys(lengths[index]!).map((array) => {
        const values = memory.shift()!;
        const earlier = from?.arrays.get(`${array}/${name}`);
        // Written here, not at the first update: reading memory that was never written, and writing it after, costs two
        // page faults a page, the second of which interrupts every thread.
        if (earlier) values.set(earlier);
        else values.fill(0);
        return [array, values];
      }),
    ),
  );
  const updates: Record<ParameterName, number> = Object.fromEntries(
    slots.map(({ name }) => [name, from?.updates[name] ?? 0]),
  );
  const inPlace = tf.getBackend() === backendName;
  return {
    update(gradients, learningRate) {
      const present: Present[] = [];
      slots.forEach((slot, index) => {
        const variable = model.parameters.get(slot.name)!;
        const gradient = gradients[variable.name];
        if (!gradient) return;
        present.push({
          name: slot.name,
          variable,
          shape: variable.shape,
          columns: variable.shape.at(-1) ?? 1,
          parameter: valuesOf(variable),
          gradient: valuesOf(gradient),
          gradientRows: inPlace ? nonzeroRows(gradient) : undefined,
          state: states[index]!,
          learningRate: learningRate * slot.learningRateFactor,
          weightDecay: slot.weightDecay,
          step: updates[slot.name]! + 1,
          mask: slot.mask,
          packed: undefined,
        });
      });
      const norm = native.gradientNorm(present);
      if (!Number.isFinite(norm)) return norm;
      if (clip.value !== undefined) native.clipByValue(present, clip.value);
      if (model.packed) for (const update of present) pack(update, model.packed, rule);
      rule.apply(present, clipFactor(norm, clip));
      for (const { name, variable, parameter } of present) {
        updates[name]!++;
        if (!inPlace) assignValues(variable, parameter);
      }
      return norm;
    },
    state() {
      const arrays = new Map<string, Float32Array>();
      slots.forEach(({ name }, index) => {
        for (const [array, values] of Object.entries(states[index]!)) arrays.set(`${array}/${name}`, values);
      });
      return { arrays, updates: { ...updates } };
    },
    dispose() {},
  };
}
