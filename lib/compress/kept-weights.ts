/** Which weights a quantize step leaves floating point. */
import { WhittleError } from '../../bindings/errors.js';
import type { ParameterName } from '../models/description.js';
import { matchParameters } from './parameter-patterns.js';

/**
 * The weights that `keep` names. The engine of `dynamic` models computes the products of the layers in int8 whatever the
 * file holds, so that a weight of theirs cannot be kept: it would be rounded as it is loaded.
 *
 * @param candidates all weights that could be made int8.
 * @param what names the option in errors.
 * @throws WhittleError BAD_OPTION for a pattern that matches nothing, or a weight of a layer in a `dynamic` model.
 */
export function matchKept(
  keep: readonly string[],
  method: 'dynamic' | 'weight-only',
  candidates: readonly ParameterName[],
  what: string,
): ParameterName[] {
  if (keep.length === 0) return [];
  const kept = matchParameters(keep, candidates, what);
  const inLayers = kept.find((name) => name.startsWith('layers.'));
  if (method === 'weight-only' || inLayers === undefined) return kept;
  const others = candidates.filter((name) => !name.startsWith('layers.'));
  throw new WhittleError(
    'BAD_OPTION',
    `${what}: expected a weight outside the layers (${others.join(', ')}), since dynamic models compute the products ` +
      `of their layers in int8, but found ${inLayers}; method weight-only keeps it`,
  );
}
