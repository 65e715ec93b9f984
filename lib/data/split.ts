/** Which rows train, which choose, which test. */
import { parseTag } from './bio.js';
import type { Row } from './dataset.js';
import { seededRandom, shuffle } from './random.js';

export interface SplitRowsOptions {
  /** Whether every part gets its share of every label (of entities: of the types in a row, together). Default true. */
  stratified?: boolean | undefined;
  /** What keeps rows together, one value a row; rows with the value undefined are on their own. */
  groups?: readonly unknown[] | undefined;
}

/**
 * Deals rows out to parts by `shares` (which sum to 1). Rows of a group go to one part, and so do rows of equal texts
 * but for case and white space; every label is at least once in the first part. The same seed gives the same split.
 *
 * @returns for each part the indices of its rows, ascending.
 * @example
 * const [train, dev, test] = splitRows(rows, [0.8, 0.1, 0.1], 13, { groups: rows.map(({ user }) => user) });
 */
export function splitRows(
  rows: readonly Row[],
  shares: readonly number[],
  seed: number,
  { stratified = true, groups }: SplitRowsOptions = {},
): number[][] {
  const random = seededRandom(seed);
  const parts: number[][] = shares.map(() => []);
  const seen = new Set<string>();
  let dealt = 0;
  for (const members of strata(rows, stratified, groups)) {
    for (const group of shuffle(members, random)) {
      dealt += group.length;
      // The part that is furthest behind its share; what has a label that no part has yet trains.
      const behind = shares.map((share, part) => (share === 0 ? -Infinity : share * dealt - parts[part]!.length));
      const labels = group.flatMap((row) => labelsOf(rows[row]!));
      const isNew = labels.some((label) => !seen.has(label)) || dealt === group.length;
      for (const label of labels) seen.add(label);
      parts[isNew ? 0 : behind.indexOf(Math.max(...behind))]!.push(...group);
    }
  }
  return parts.map((part) => part.sort((a, b) => a - b));
}

/**
 * `count` rows, stratified by label and, if they are enough for that, one of each stratum at least.
 * @returns indices of rows, ascending; all of them if there are no more than `count`.
 */
export function sampleRows(rows: readonly Row[], count: number, seed: number): number[] {
  if (count >= rows.length) return rows.map((_, index) => index);
  const random = seededRandom(seed);
  const shuffled = strata(rows, true).map((stratum) => shuffle(stratum.flat(), random));
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
  return [...new Set(labelsOf(row))].sort().join(' ');
}

/** A row's label or labels, or the types of its entities. Numbers are none. */
export function labelsOf(row: Row): string[] {
  if ('labels' in row) return row.labels!;
  if ('text' in row) return 'label' in row && typeof row.label === 'string' ? [row.label] : [];
  return (row.tags ?? []).flatMap((tag) => parseTag(tag)?.type || []);
}

/** What rows of equal texts have in common, whatever their case and white space. */
export function textKey(row: Row): string {
  const texts = 'text' in row ? [row.text, row.textPair ?? ''] : row.tokens;
  return texts.map((text) => text.trim().replace(/\s+/g, ' ').toLowerCase()).join('\u0000');
}

/** Rows that stay together, by the stratum of their first row, strata by name. */
function strata(rows: readonly Row[], stratified: boolean, groups?: readonly unknown[]): number[][][] {
  const byStratum = new Map<string, number[][]>();
  for (const together of keptTogether(rows, groups)) {
    const stratum = stratified ? stratumOf(rows[together[0]!]!) : '';
    const members = byStratum.get(stratum);
    if (members) members.push(together);
    else byStratum.set(stratum, [together]);
  }
  return [...byStratum.keys()].sort().map((stratum) => byStratum.get(stratum)!);
}

/** Rows joined by equal texts, or by their groups, or by a chain of both. */
function keptTogether(rows: readonly Row[], groups: readonly unknown[] | undefined): number[][] {
  const parent = Int32Array.from(rows, (_, row) => row);
  const rootOf = (row: number) => {
    let root = row;
    while (parent[root] !== root) root = parent[root]!;
    while (parent[row] !== root) [row, parent[row]] = [parent[row]!, root];
    return root;
  };
  const join = (firsts: Map<unknown, number>, key: unknown, row: number) => {
    const first = firsts.get(key);
    if (first === undefined) firsts.set(key, row);
    else {
      const [a, b] = [rootOf(first), rootOf(row)];
      parent[Math.max(a, b)] = Math.min(a, b);
    }
  };
  const [byText, byGroup] = [new Map<unknown, number>(), new Map<unknown, number>()];
  rows.forEach((row, index) => {
    join(byText, textKey(row), index);
    const group = groups?.[index];
    if (group !== undefined && group !== '') join(byGroup, group, index);
  });
  const members = new Map<number, number[]>();
  rows.forEach((_, row) => {
    const root = rootOf(row);
    const group = members.get(root);
    if (group) group.push(row);
    else members.set(root, [row]);
  });
  return [...members.values()];
}
