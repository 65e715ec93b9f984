/** Which parameters of a model a stage trains, in which order, with which rates. */
import { WhittleError } from '../../bindings/errors.js';
import type { ParameterName } from '../models/description.js';
import { depthOf, selectParameters, type NamedModel } from './parameter-groups.js';
import { isDecayed, learningRateFactor, stageTitle, type Stage } from './stages.js';

export interface StageParameters {
  /** What trains, growing from one to the next; one alone unless the stage unfreezes. */
  waves: ReadonlySet<ParameterName>[];
  rates: ReadonlyMap<ParameterName, ParameterRates>;
}

export interface ParameterRates {
  /** On the stage's learning rate. */
  learningRateFactor: number;
  weightDecay: number;
}

/** Something that a stage asks of a model that lacks it. */
export class StageError extends WhittleError {
  /** Of the option within the stage: `['train', 1]`. */
  readonly path: (string | number)[];
  /** The message without the place. */
  readonly problem: string;

  constructor(title: string, path: (string | number)[], problem: string) {
    super('BAD_OPTION', `${title}: ${path[0]}: ${problem}`);
    this.path = path;
    this.problem = problem;
  }
}

/**
 * Finds the parameters of a stage.
 *
 * @param index 0-based.
 * @throws StageError for layers that the model lacks, for a name or pattern that names no parameter of it, for a group
 *   that changes nothing, and for groups that leave nothing to train.
 * @example
 * const { waves, rates } = stageParameters(stageSchema.parse({ train: 'head', ... }), 0, { names, layers: 6 });
 */
export function stageParameters(stage: Stage, index: number, model: NamedModel): StageParameters {
  const title = stageTitle(stage, index);
  const select = (groups: string | readonly string[], path: (string | number)[]): Set<ParameterName> => {
    const names = new Set<ParameterName>();
    for (const [at, group] of [groups].flat().entries())
      try {
        for (const name of selectParameters(group, model)) names.add(name);
      } catch (error) {
        if (!(error instanceof WhittleError)) throw error;
        throw new StageError(title, typeof groups === 'string' ? path : [...path, at], error.message);
      }
    return names;
  };

  const trained = select(stage.train, ['train']);
  const rates = new Map<ParameterName, ParameterRates>();
  for (const name of trained)
    rates.set(name, {
      learningRateFactor: learningRateFactor(name, model.layers, stage.layerDecay),
      weightDecay: isDecayed(name) ? stage.weightDecay : 0,
    });
  const grouped = new Set<ParameterName>();
  stage.groups?.forEach(({ parameters, learningRate, weightDecay }, at) => {
    const path = ['groups', at, 'parameters'];
    const names = [...select(parameters, path)].filter((name) => trained.has(name));
    if (names.length === 0)
      throw new StageError(title, path, `"${[parameters].flat().join(', ')}" names no parameter that the stage trains`);
    const undecayed =
      weightDecay !== undefined && weightDecay > 0 && learningRate === undefined && !names.some(isDecayed);
    if (undecayed)
      throw new StageError(
        title,
        path,
        'expected a parameter that weight decay applies to but found biases and LayerNorm alone',
      );
    for (const name of names) {
      if (grouped.has(name)) continue;
      grouped.add(name);
      const rate = rates.get(name)!;
      if (learningRate !== undefined) rate.learningRateFactor *= learningRate / stage.learningRate;
      if (weightDecay !== undefined && isDecayed(name)) rate.weightDecay = weightDecay;
    }
  });
  if ([...rates.values()].every(({ learningRateFactor }) => learningRateFactor === 0))
    throw new StageError(
      title,
      ['groups'],
      'expected a learning rate above 0 for some of what the stage trains but found none',
    );
  return { waves: stage.unfreeze ? wavesOf(trained, model.layers, stage.unfreeze.from) : [trained], rates };
}

/** The topmost (or lowest) layer alone, then that and the next, and so on. */
function wavesOf(trained: ReadonlySet<ParameterName>, layers: number, from: 'top' | 'bottom'): Set<ParameterName>[] {
  const depths = [...new Set([...trained].map((name) => depthOf(name, layers)))].sort((a, b) => a - b);
  if (from === 'top') depths.reverse();
  return depths.map((_, wave) => {
    const joined = new Set(depths.slice(0, wave + 1));
    return new Set([...trained].filter((name) => joined.has(depthOf(name, layers))));
  });
}
