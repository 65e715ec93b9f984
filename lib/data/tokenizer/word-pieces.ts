/** WordPiece: a normalized word into the longest vocabulary entries, greedily from the left (Schuster and Nakajima 2012). */
import { type CharacterMap, Kind } from './character-map.js';
import { WordCache } from './word-cache.js';

/** The pieces of one word. Starts and ends are UTF-16 code units of the word as it stands in the text. */
export interface WordPieces {
  ids: readonly number[];
  starts: readonly number[];
  ends: readonly number[];
}

export interface WordPieceModel {
  vocabulary: ReadonlyMap<string, number>;
  /** Id of a word that the vocabulary cannot spell. */
  unknownId: number;
  /** Prefix of pieces that continue a word: `##`. */
  prefix: string;
  /** Longer words, in code points, are unknown. */
  maxWordLength: number;
}

const nothing: WordPieces = { ids: [], starts: [], ends: [] };
/** Looks words up, remembering those seen lately. */
export class WordPieceLookup {
  private readonly cache = new WordCache((word) => this.compute(word));
  private readonly longestPiece: number;

  constructor(
    private readonly model: WordPieceModel,
    private readonly characters: CharacterMap,
  ) {
    let longest = 0;
    for (const piece of model.vocabulary.keys()) longest = Math.max(longest, piece.length);
    this.longestPiece = longest;
  }

  /** The pieces of a run of word characters as it stands in the text, before normalization. */
  pieces(word: string): WordPieces {
    return this.cache.pieces(word);
  }

  private compute(word: string): WordPieces {
    const { text, starts, ends, length } = this.normalize(word);
    if (length === 0) return nothing;
    if (length > this.model.maxWordLength) return this.unknown(starts[0]!, this.endOf(word));
    const result = { ids: [] as number[], starts: [] as number[], ends: [] as number[] };
    let start = 0;
    while (start < text.length) {
      let end = Math.min(text.length, start + this.longestPiece);
      let id: number | undefined;
      for (; end > start; end--) {
        const piece = text.slice(start, end);
        id = this.model.vocabulary.get(start > 0 ? this.model.prefix + piece : piece);
        if (id !== undefined) break;
      }
      if (id === undefined) return this.unknown(starts[0]!, ends.at(-1)!);
      result.ids.push(id);
      result.starts.push(starts[start]!);
      result.ends.push(ends[end - 1]!);
      start = end;
    }
    return result;
  }

  private unknown(start: number, end: number): WordPieces {
    return { ids: [this.model.unknownId], starts: [start], ends: [end] };
  }

  /** Where the last code point of a word ends that does not vanish. */
  private endOf(word: string): number {
    let end = word.length;
    while (end > 0) {
      // A low surrogate after a high one is the second half of a code point.
      const start = end > 1 && word.codePointAt(end - 2)! > 0xffff ? end - 2 : end - 1;
      if (this.characters.kind(word.codePointAt(start)!) !== Kind.nothing) break;
      end = start;
    }
    return end;
  }

  /**
   * The normalized word, no further than it takes to see that it is too long; for each UTF-16 code unit of it where its
   * source starts and ends; its length in code points.
   */
  private normalize(word: string): { text: string; starts: number[]; ends: number[]; length: number } {
    const starts: number[] = [];
    const ends: number[] = [];
    let text = '';
    let length = 0;
    for (let index = 0; index < word.length && length <= this.model.maxWordLength;) {
      const codePoint = word.codePointAt(index)!;
      const next = index + (codePoint > 0xffff ? 2 : 1);
      if (this.characters.kind(codePoint) !== Kind.nothing) {
        const normalized = this.characters.normalized(codePoint);
        length += normalized.length === 1 ? 1 : Array.from(normalized).length;
        for (let unit = 0; unit < normalized.length; unit++) {
          starts.push(index);
          ends.push(next);
        }
        text += normalized;
      }
      index = next;
    }
    return { text, starts, ends, length };
  }
}
