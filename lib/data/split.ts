/** Which rows train, which choose, which test. */
import { parseTag } from './bio.js';
import type { Row } from './dataset.js';
import { seededRandom, shuffle } from './random.js';

/**
 * Deals rows out to parts by `shares` (which sum to 1): stratified by label (for entities: by the types in a row), equal
 * texts in one part, every stratum at least once in the first part. The same seed gives the same split.
 *
 * @returns for each part the indices of its rows, ascending.
 * @example
 * const [train, dev, test] = splitRows(rows, [0.8, 0.1, 0.1], 13);
 */
export function splitRows(rows: readonly Row[], shares: readonly number[], seed: number): number[][] {
  const random = seededRandom(seed);
  const parts: number[][] = shares.map(() => []);
  let dealt = 0;
  for (const groups of strata(rows)) {
    shuffle(groups, random).forEach((group, index) => {
      dealt += group.length;
      // The part that is furthest behind its share; a stratum's first group trains.
      const behind = shares.map((share, part) => (share === 0 ? -Infinity : share * dealt - parts[part]!.length));
      const part = index === 0 ? 0 : behind.indexOf(Math.max(...behind));
      parts[part]!.push(...group);
    });
  }
  return parts.map((part) => part.sort((a, b) => a - b));
}

/**
 * `count` rows, stratified as `splitRows` does and, if they are enough for that, one of each stratum at least.
 * @returns indices of rows, ascending; all of them if there are no more than `count`.
 */
export function sampleRows(rows: readonly Row[], count: number, seed: number): number[] {
  if (count >= rows.length) return rows.map((_, index) => index);
  const random = seededRandom(seed);
  const shuffled = strata(rows).map((stratum) => shuffle(stratum.flat(), random));
  const firsts = shuffled.map(([first]) => first!);
  const others = shuffled.flatMap(([, ...rest]) => rest);
  // Stratum lies beside stratum, so that evenly spaced places take from each by its size.
  const spaced = Math.max(0, count - firsts.length);
  const place = (index: number) => Math.floor((index * spaced) / others.length);
  const chosen = others.filter((_, index) => place(index + 1) > place(index));
  return [...shuffle(firsts, random).slice(0, count), ...chosen].sort((a, b) => a - b);
}

/** What a row's label says it is: its label or labels, or the types of its entities; nothing for a number. */
export function stratumOf(row: Row): string {
  if ('text' in row) {
    // Numbers are no strata.
    if ('labels' in row) return [...row.labels!].sort().join(' ');
    return 'label' in row && typeof row.label === 'string' ? row.label : '';
  }
  const types = new Set((row.tags ?? []).map((tag) => parseTag(tag)?.type ?? ''));
  return [...types].filter(Boolean).sort().join(' ');
}

/** Groups of rows with equal texts, by the stratum of their first row, strata by name. */
function strata(rows: readonly Row[]): number[][][] {
  const groups = new Map<string, number[]>();
  rows.forEach((row, index) => {
    const key = textKey(row);
    const group = groups.get(key);
    if (group) group.push(index);
    else groups.set(key, [index]);
  });
  const byStratum = new Map<string, number[][]>();
  for (const group of groups.values()) {
    const stratum = stratumOf(rows[group[0]!]!);
    const members = byStratum.get(stratum);
    if (members) members.push(group);
    else byStratum.set(stratum, [group]);
  }
  return [...byStratum.keys()].sort().map((stratum) => byStratum.get(stratum)!);
}

function textKey(row: Row): string {
  return JSON.stringify('text' in row ? [row.text, row.textPair ?? null] : row.tokens);
}
