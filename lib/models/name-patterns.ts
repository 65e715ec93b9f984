/** Patterns over parameter names, where `*` stands for any run of characters. */
import { nearest } from '../options.js';
import type { ParameterName } from './description.js';

/**
 * What a pattern matches, as a whole.
 *
 * @example
 * patternExpression('layers.*.bias').test('layers.0.attention.key.bias'); // true
 */
export function patternExpression(pattern: string): RegExp {
  const escaped = pattern.split('*').map((text) => text.replace(/[.+?^${}()|[\]\\]/g, '\\$&'));
  return new RegExp(`^${escaped.join('.*')}$`);
}

/** The pattern over these names that is nearest to one that matches none, if one is near enough to be a slip. */
export function nearestPattern(pattern: string, names: Iterable<ParameterName>): string | undefined {
  const candidates = new Set<string>();
  for (const name of names) {
    const parts = name.split('.');
    candidates.add(name);
    const general = parts.map((part) => (/^\d+$/.test(part) ? '*' : part));
    for (let length = 1; length <= general.length; length++) {
      const start = general.slice(0, length).join('.');
      candidates.add(length < general.length ? `${start}.*` : start);
      candidates.add([...parts.slice(0, length), ...(length < parts.length ? ['*'] : [])].join('.'));
      candidates.add(`*.${general.slice(-length).join('.')}`);
    }
  }
  return nearest(pattern, [...candidates]);
}
