/**
 * The layers' weights as bf16 products read them. The optimizer writes them as it updates the weights, so that a step
 * need not pack: at 600 tokens that is a twentieth of its time.
 */
import type * as tf from '@tensorflow/tfjs-core';
import { native } from '../../bindings/load.js';
import { blockWeightNames, type TrainingPrecision } from '../../bindings/native.js';
import type { ModelDescription, ParameterName } from '../models/description.js';

interface Packed {
  values: Float32Array;
  /** The memory of the variable that was packed; a variable that was assigned to has another. */
  of: object | undefined;
}

export class PackedWeights {
  /** Of all weights together, 256 MB: larger models take so long for a step that packing is nothing to it. */
  static readonly mostFloats = 2 ** 26;
  readonly #precision: TrainingPrecision;
  readonly #packed = new Map<ParameterName, Packed>();

  private constructor(precision: TrainingPrecision) {
    this.#precision = precision;
  }

  /** Undefined where the products read the weights as they are, or where the packed ones would be too large. */
  static for(
    { layers, hidden, intermediate }: ModelDescription,
    precision: TrainingPrecision,
  ): PackedWeights | undefined {
    const floats = (rows: number, columns: number) => native.packedWeightFloats(rows, columns, precision);
    const layer = 4 * floats(hidden, hidden) + floats(intermediate, hidden) + floats(hidden, intermediate);
    return layer === 0 || layers * layer > PackedWeights.mostFloats ? undefined : new PackedWeights(precision);
  }

  /** Those of a layer that are what the weights are, in the order of blockWeightNames. */
  ofLayer(layer: number, variable: (name: ParameterName) => tf.Tensor): (Float32Array | null)[] {
    return layerWeights(layer).map((name) => {
      const packed = this.#packed.get(name);
      return packed && packed.of === variable(name).dataId ? packed.values : null;
    });
  }

  /** The array to pack a weight into while it is updated in place; undefined for what no layer multiplies with. */
  forUpdate(name: ParameterName, variable: tf.Variable): Float32Array | undefined {
    const [rows, columns] = variable.shape;
    if (!isLayerWeight(name) || rows === undefined || columns === undefined) return undefined;
    let packed = this.#packed.get(name);
    if (!packed) {
      const length = native.packedWeightFloats(rows, columns, this.#precision);
      packed = { values: native.allocateFloats(length), of: undefined };
      this.#packed.set(name, packed);
    }
    packed.of = variable.dataId;
    return packed.values;
  }

  /** A weight is updated in place and not packed. */
  forget(name: ParameterName): void {
    this.#packed.delete(name);
  }
}

const names: ParameterName[][] = [];

function layerWeights(layer: number): ParameterName[] {
  return (names[layer] ??= blockWeightNames.map((name) => `layers.${layer}.${name}`));
}

const layerWeight = new RegExp(`^layers\\.\\d+\\.(${blockWeightNames.join('|').replaceAll('.', '\\.')})$`);

function isLayerWeight(name: ParameterName): boolean {
  return layerWeight.test(name);
}
