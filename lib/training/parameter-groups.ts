/** How stages name parameters: regions of the model, or patterns over names. */
import { z } from 'zod';
import { WhittleError } from '../../bindings/errors.js';
import { didYouMean } from '../options.js';
import type { ParameterName } from '../models/description.js';
import { nearestPattern, patternExpression } from '../models/name-patterns.js';

const region = /^(head|embeddings|all|layers\.\d+(-\d+)?)$/;
const wanted =
  'expected head, embeddings, all, layers.N, layers.N-M or a pattern over parameter names such as layers.*.attention.*';

/** `head`, `layers.4-5`, `*.bias` */
export const groupSchema = z.string(wanted).refine((name) => region.test(name) || /[.*]/.test(name), {
  error: ({ input }) =>
    `${wanted} but found "${String(input)}"${didYouMean(String(input), ['head', 'embeddings', 'all'])}`,
});

/** One group, or a list of them. */
export const groupsSchema = z.union([
  groupSchema,
  z.array(groupSchema).min(1, 'expected at least one parameter group'),
]);

/** What a stage needs to know of a model. */
export interface NamedModel {
  names: readonly ParameterName[];
  layers: number;
}

/** Where a parameter sits: -1 embeddings, 0 .. layers - 1, layers for the head. */
export function depthOf(name: ParameterName, layers: number): number {
  if (name.startsWith('embeddings.')) return -1;
  const layer = /^layers\.(\d+)\./.exec(name);
  return layer ? Number(layer[1]) : layers;
}

/**
 * The parameters that a group names, in the order of the model's.
 *
 * @throws WhittleError BAD_OPTION for layers that the model lacks, and for a group that names no parameter.
 * @example
 * selectParameters('layers.*.bias', { names, layers: 6 });
 */
export function selectParameters(group: string, model: NamedModel): ParameterName[] {
  const { names, layers } = model;
  const expression = patternExpression(group);
  const isMatch = regionMatcher(group, layers) ?? ((name: ParameterName) => expression.test(name));
  const selected = names.filter(isMatch);
  if (selected.length > 0) return selected;
  const near = region.test(group) ? undefined : nearestPattern(group, names);
  const help = near === undefined ? `, which has ${outline(names)}` : `; did you mean "${near}"?`;
  throw new WhittleError('BAD_OPTION', `"${group}" names no parameter of the model${help}`);
}

function regionMatcher(group: string, layers: number): ((name: ParameterName) => boolean) | undefined {
  if (!region.test(group)) return undefined;
  if (group === 'all') return () => true;
  if (group === 'head') return (name) => depthOf(name, layers) === layers;
  if (group === 'embeddings') return (name) => depthOf(name, layers) === -1;
  const [low, high = low] = group.slice('layers.'.length).split('-').map(Number) as [number, number?];
  if (high < low)
    throw new WhittleError('BAD_OPTION', `expected the lower layer of "${group}" first, but ${low} > ${high}`);
  if (high >= layers) {
    const has = layers === 1 ? 'one layer, layers.0' : `${layers} layers, layers.0-${layers - 1}`;
    throw new WhittleError('BAD_OPTION', `"${group}" names a layer that the model lacks; it has ${has}`);
  }
  return (name) => depthOf(name, layers) >= low && depthOf(name, layers) <= high;
}

/** `embeddings.*, layers.0-5.*, pooler.*` */
function outline(names: readonly ParameterName[]): string {
  const layers = Math.max(-1, ...names.map((name) => Number(/^layers\.(\d+)\./.exec(name)?.[1] ?? -1)));
  const starts = names.map((name) => (name.startsWith('layers.') ? `layers.0-${layers}` : name.split('.')[0]!));
  return [...new Set(starts)].map((start) => `${start}.*`).join(', ');
}
