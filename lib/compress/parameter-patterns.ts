/** Patterns over parameter names, by which prune and quantize choose tensors. */
import { z } from 'zod';
import { WhittleError } from '../../bindings/errors.js';
import { didYouMean } from '../options.js';
import type { ParameterName } from '../models/description.js';
import { patternExpression } from '../models/name-patterns.js';

/** `layers.*.intermediate.weight`: whittle's parameter names, with `*` for any run of characters. */
export const patternsSchema = z.array(
  z.string('expected a parameter name, which may hold *').min(1, 'expected a parameter name, which may hold *'),
);

/**
 * The names that at least one of the patterns matches whole, in the order of `names`.
 *
 * @param what names the option in errors: `prune options: tensors`.
 * @throws WhittleError BAD_OPTION naming a pattern that matches nothing.
 * @example
 * matchParameters(['layers.*.weight'], ['layers.0.output.weight', 'classifier.weight'], 'tensors');
 * // ['layers.0.output.weight']
 */
export function matchParameters(
  patterns: readonly string[],
  names: readonly ParameterName[],
  what: string,
): ParameterName[] {
  const expressions = patterns.map((pattern) => {
    const expression = patternExpression(pattern);
    if (!names.some((name) => expression.test(name)))
      throw new WhittleError(
        'BAD_OPTION',
        `${what}: expected a pattern that matches a weight of the model, such as "layers.*.weight", but ` +
          `"${pattern}" matches none${didYouMean(pattern, names)}`,
      );
    return expression;
  });
  return names.filter((name) => expressions.some((expression) => expression.test(name)));
}
