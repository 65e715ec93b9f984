/** Where a student starts from. */
import { WhittleError } from '../../bindings/errors.js';
import type { Checkpoint } from '../models/checkpoint.js';
import type { ParameterName } from '../models/description.js';
import type { Parameters } from '../models/parameters.js';

/**
 * A checkpoint with some of another's layers, renumbered from 0, and its embeddings and head. Nothing is written.
 *
 * Sanh et al. 2019, "DistilBERT", section 3, initialize the student so.
 *
 * @param layers ascending, each below the number of layers of `source`.
 * @throws WhittleError BAD_OPTION naming a layer that `source` lacks.
 * @example
 * const student = keepLayers(await openCheckpoint('runs/a/finetune'), [0, 2, 4]);
 * student.description.layers; // 3
 */
export function keepLayers(source: Checkpoint, layers: readonly number[]): Checkpoint {
  checkLayers(layers, source.description.layers, source.folder);
  const newLayer = new Map(layers.map((layer, index) => [layer, index]));
  /** The student's name of a parameter, or undefined if the student lacks its layer. */
  const renamed = (name: ParameterName): ParameterName | undefined => {
    const layer = /^layers\.(\d+)\./.exec(name)?.[1];
    if (layer === undefined) return name;
    const index = newLayer.get(Number(layer));
    return index === undefined ? undefined : name.replace(`layers.${layer}.`, `layers.${index}.`);
  };
  const rename = <T>(map: ReadonlyMap<ParameterName, T>): Map<ParameterName, T> =>
    new Map(
      [...map].flatMap(([name, value]): [ParameterName, T][] => {
        const own = renamed(name);
        return own === undefined ? [] : [[own, value]];
      }),
    );
  const original = new Map([...source.tensors.keys()].map((name) => [renamed(name), name]));
  return {
    ...source,
    description: { ...source.description, layers: layers.length },
    tensors: rename(source.tensors),
    dtypes: rename(source.dtypes),
    readParameters: async (names): Promise<Parameters> => {
      const wanted = [...(names ?? original.keys())].map((name) => original.get(name) ?? String(name));
      return rename(await source.readParameters(wanted));
    },
  };
}

/**
 * @param has the number of layers of the model called `from`.
 * @throws WhittleError BAD_OPTION naming a layer that it lacks.
 */
export function checkLayers(layers: readonly number[], has: number, from: string): void {
  const beyond = layers.find((layer) => layer >= has);
  if (beyond !== undefined)
    throw new WhittleError(
      'BAD_OPTION',
      `distill options: student.layers: expected layers below ${has}, the number that ${from} has, but found ${beyond}`,
    );
}
