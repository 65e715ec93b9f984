/** BIO tags: what is valid, and from IOB1 to IOB2 (Ramshaw and Marcus 1995; Tjong Kim Sang and Veenstra 1999). */

/** `B-PER` is `{ prefix: 'B', type: 'PER' }`, `O` has no type; undefined for what is no BIO tag. */
export function parseTag(tag: string): { prefix: 'B' | 'I' | 'O'; type: string } | undefined {
  if (tag === 'O') return { prefix: 'O', type: '' };
  const prefix = tag[0];
  if ((prefix !== 'B' && prefix !== 'I') || tag[1] !== '-' || tag.length < 3) return undefined;
  return { prefix, type: tag.slice(2) };
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

/** Class names of token classification for entity types: `O`, then `B-X`, `I-X` by type. */
export function tagLabels(types: Iterable<string>): string[] {
  return ['O', ...[...types].sort(byCodeUnit).flatMap((type) => [`B-${type}`, `I-${type}`])];
}

function byCodeUnit(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
