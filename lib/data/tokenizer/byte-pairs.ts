/** Byte-pair encoding over the bytes of UTF-8 (Sennrich et al. 2016; Radford et al. 2019, section 2.2). */
import type { WordPieces } from './token-buffer.js';

export interface BytePairModel {
  /** Ids by token, each byte written as the printable character that stands for it. */
  vocabulary: ReadonlyMap<string, number>;
  /** The pairs that become one token, the most urgent first. */
  merges: readonly (readonly [string, string])[];
}

/** The printable character that stands for each byte in vocabularies: itself where it is one, else one from U+0100 up. */
export const byteCharacters: readonly string[] = (() => {
  let substitute = 0x100;
  return Array.from({ length: 256 }, (_, byte) => {
    const printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xff && byte !== 0xad);
    return String.fromCodePoint(printable ? byte : substitute++);
  });
})();

interface Merge {
  rank: number;
  id: number;
}

export class BytePairEncoder {
  /** Of each byte; -1 for those that the vocabulary lacks, which vanish. */
  private readonly byteIds: Int32Array;
  /** By left id * span + right id. */
  private readonly merges = new Map<number, Merge>();
  private readonly span: number;

  /** @throws Error naming a merge whose parts or result the vocabulary lacks. */
  constructor({ vocabulary, merges }: BytePairModel) {
    this.byteIds = Int32Array.from(byteCharacters, (character) => vocabulary.get(character) ?? -1);
    let highest = 0;
    for (const id of vocabulary.values()) highest = Math.max(highest, id);
    this.span = highest + 1;
    merges.forEach(([left, right], rank) => {
      const [a, b, id] = [left, right, left + right].map((token) => vocabulary.get(token));
      if (a === undefined || b === undefined || id === undefined)
        throw new Error(`expected parts and whole of the merge "${left}" and "${right}" in the vocabulary`);
      const pair = a * this.span + b;
      if (!this.merges.has(pair)) this.merges.set(pair, { rank, id });
    });
  }

  /** The pieces of a word. A piece that has some bytes of a character spans all of it. */
  pieces(word: string): WordPieces {
    const ids: number[] = [];
    const starts: number[] = [];
    const ends: number[] = [];
    const bytes = new Uint8Array(4);
    const encoder = new TextEncoder();
    for (let at = 0; at < word.length;) {
      const codePoint = word.codePointAt(at)!;
      const next = at + (codePoint > 0xffff ? 2 : 1);
      const { written } = encoder.encodeInto(word.slice(at, next), bytes);
      for (let index = 0; index < written; index++) {
        const id = this.byteIds[bytes[index]!]!;
        if (id < 0) continue;
        ids.push(id);
        starts.push(at);
        ends.push(next);
      }
      at = next;
    }
    return this.merge(ids, starts, ends);
  }

  /** Merges neighbors in order of urgency, and from the left where it is the same, until no pair is left to merge. */
  private merge(ids: number[], starts: number[], ends: number[]): WordPieces {
    const count = ids.length;
    const next = Int32Array.from({ length: count }, (_, at) => at + 1);
    const previous = Int32Array.from({ length: count }, (_, at) => at - 1);
    const queue = new MergeQueue();
    const offer = (left: number) => {
      if (left < 0 || next[left]! >= count) return;
      const merge = this.merges.get(ids[left]! * this.span + ids[next[left]!]!);
      if (merge) queue.push(merge.rank, left);
    };
    for (let at = 0; at + 1 < count; at++) offer(at);
    for (let left = queue.pop(); left >= 0; left = queue.pop()) {
      const right = next[left]!;
      if (ids[left]! < 0 || right >= count) continue;
      const merge = this.merges.get(ids[left]! * this.span + ids[right]!);
      // An entry of the queue is stale if the pair at its place has changed since.
      if (merge?.rank !== queue.rank) continue;
      ids[left] = merge.id;
      ids[right] = -1;
      ends[left] = ends[right]!;
      next[left] = next[right]!;
      if (next[left]! < count) previous[next[left]!] = left;
      offer(previous[left]!);
      offer(left);
    }
    const kept = ids.flatMap((id, at) => (id < 0 ? [] : [at]));
    return {
      ids: kept.map((at) => ids[at]!),
      starts: kept.map((at) => starts[at]!),
      ends: kept.map((at) => ends[at]!),
    };
  }
}

/** Places by rank, and by place where ranks are the same; a binary heap of numbers. */
class MergeQueue {
  /** Of the place that `pop` gave last. */
  rank = -1;
  /** rank * 2^32 + place */
  private readonly heap: number[] = [];

  push(rank: number, place: number): void {
    const { heap } = this;
    const key = rank * 2 ** 32 + place;
    let at = heap.push(key) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (heap[parent]! <= key) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = key;
  }

  /** The first place, or -1 if there is none. */
  pop(): number {
    const { heap } = this;
    if (heap.length === 0) return -1;
    const first = heap[0]!;
    const last = heap.pop()!;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && heap[child + 1]! < heap[child]!) child++;
      if (heap[child]! >= last) break;
      heap[at] = heap[child]!;
      at = child;
    }
    if (heap.length > 0) heap[at] = last;
    this.rank = Math.floor(first / 2 ** 32);
    return first % 2 ** 32;
  }
}
