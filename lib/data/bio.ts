/** BIO tags: what is valid, from IOB1 to IOB2 (Ramshaw and Marcus 1995; Tjong Kim Sang and Veenstra 1999), and the entities in them. */

/** `B-PER` is `{ prefix: 'B', type: 'PER' }`, `O` has no type; undefined for what is no BIO tag. */
export function parseTag(tag: string): { prefix: 'B' | 'I' | 'O'; type: string } | undefined {
  if (tag === 'O') return { prefix: 'O', type: '' };
  const prefix = tag[0];
  if ((prefix !== 'B' && prefix !== 'I') || tag[1] !== '-' || tag.length < 3) return undefined;
  return { prefix, type: tag.slice(2) };
}

/**
 * A tag of IOBES or BILOU in IOB: `S-` and `U-` (an entity of one word) as `B-`, `E-` and `L-` (an entity's last word)
 * as `I-`.
 */
export function withoutEnds(tag: string): string {
  if (tag[1] !== '-') return tag;
  if (tag[0] === 'S' || tag[0] === 'U') return `B${tag.slice(1)}`;
  return tag[0] === 'E' || tag[0] === 'L' ? `I${tag.slice(1)}` : tag;
}

/**
 * The index of the first tag that IOB2 does not allow, -1 if there is none: not `O`, `B-TYPE` or `I-TYPE`, or an `I-`
 * that goes on with no entity of its type.
 */
export function firstInvalidTag(tags: readonly string[]): number {
  let open = '';
  for (let index = 0; index < tags.length; index++) {
    const tag = parseTag(tags[index]!);
    if (tag === undefined || (tag.prefix === 'I' && tag.type !== open)) return index;
    open = tag.type;
  }
  return -1;
}

/**
 * IOB1 tags as IOB2: an `I-` that follows no entity of its type begins one and becomes `B-`. IOB2 tags stay as they are,
 * so files of both kinds can go through it.
 *
 * @example
 * toIob2(['I-PER', 'I-PER', 'B-PER', 'O']); // ['B-PER', 'I-PER', 'B-PER', 'O']
 */
export function toIob2(tags: readonly string[]): string[] {
  let open = '';
  return tags.map((text) => {
    const tag = parseTag(text);
    const begins = tag?.prefix === 'I' && tag.type !== open;
    open = tag?.type ?? '';
    return begins ? `B-${tag.type}` : text;
  });
}

/** An entity: words `start` up to and without `end`. */
export interface EntitySpan {
  type: string;
  start: number;
  end: number;
}

/**
 * The entities of a sequence of tags, as seqeval finds them in its default mode (that of the conlleval script): an `I-`
 * that continues no entity of its type begins one. `B`, `I`, `E`, `S` prefixes are known; a tag without a type has
 * type `_`.
 *
 * @example
 * findEntities(['O', 'I-PER', 'I-PER', 'B-PER', 'I-LOC']);
 * // [{ type: 'PER', start: 1, end: 3 }, { type: 'PER', start: 3, end: 4 }, { type: 'LOC', start: 4, end: 5 }]
 */
export function findEntities(tags: readonly string[]): EntitySpan[] {
  const entities: EntitySpan[] = [];
  let [previous, previousType, start] = ['O', '', 0];
  for (let index = 0; index <= tags.length; index++) {
    const tag = tags[index] ?? 'O';
    const prefix = tag[0] ?? 'O';
    const type = tag.slice(tag[1] === '-' ? 2 : 1) || '_';
    if (endsEntity(previous, prefix, previousType, type)) entities.push({ type: previousType, start, end: index });
    if (startsEntity(previous, prefix, previousType, type)) start = index;
    [previous, previousType] = [prefix, type];
  }
  return entities;
}

function endsEntity(previous: string, prefix: string, previousType: string, type: string): boolean {
  if (previous === 'E' || previous === 'S') return true;
  if ((previous === 'B' || previous === 'I') && (prefix === 'B' || prefix === 'S' || prefix === 'O')) return true;
  return previous !== 'O' && previous !== '.' && previousType !== type;
}

function startsEntity(previous: string, prefix: string, previousType: string, type: string): boolean {
  if (prefix === 'B' || prefix === 'S') return true;
  const afterEnd = previous === 'E' || previous === 'S' || previous === 'O';
  if (afterEnd && (prefix === 'E' || prefix === 'I')) return true;
  return prefix !== 'O' && prefix !== '.' && previousType !== type;
}

/** Class names of token classification for entity types: `O`, then `B-X`, `I-X` by type. */
export function tagLabels(types: Iterable<string>): string[] {
  return ['O', ...[...types].sort(byCodeUnit).flatMap((type) => [`B-${type}`, `I-${type}`])];
}

function byCodeUnit(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
