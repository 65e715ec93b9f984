/** Words seen lately and their pieces, so that frequent ones are cut up once. */
import type { WordPieces } from './token-buffer.js';

/** Longer words are computed anew each time, so that the cache stays small. */
const longestCachedWord = 64;
const wordsAGeneration = 32_768;

/** Two generations of at most 32,768 words each; when the young one is full, the old one goes. */
export class WordCache {
  private young = new Map<string, WordPieces>();
  private old = new Map<string, WordPieces>();

  constructor(private readonly compute: (word: string) => WordPieces) {}

  pieces(word: string): WordPieces {
    const known = this.young.get(word);
    if (known !== undefined) return known;
    if (word.length > longestCachedWord) return this.compute(word);
    const pieces = this.old.get(word) ?? this.compute(word);
    if (this.young.size >= wordsAGeneration) {
      this.old = this.young;
      this.young = new Map();
    }
    // A slice keeps the whole text that it was cut from alive; a copy does not.
    this.young.set(Buffer.from(word, 'utf16le').toString('utf16le'), pieces);
    return pieces;
  }
}
