/** Tokens of one text while it is being cut up: growing columns, reused from text to text. */

/** The pieces of one word. Starts and ends are UTF-16 code units of the word as it stands in the text. */
export interface WordPieces {
  ids: readonly number[];
  starts: readonly number[];
  ends: readonly number[];
}

export class TokenBuffer {
  length = 0;
  /** Number of words so far. */
  words = 0;
  ids = new Int32Array(512);
  /** UTF-16 code units of the text. */
  starts = new Int32Array(512);
  ends = new Int32Array(512);
  /** Index of the word that a token belongs to. */
  wordIds = new Int32Array(512);

  clear(): void {
    this.length = 0;
    this.words = 0;
  }

  /** Appends the pieces of a word that starts at `offset`, as the word with the next number or as number `word`. */
  addWord(pieces: WordPieces, offset: number, word = this.words): void {
    const { ids, starts, ends } = pieces;
    if (this.length + ids.length > this.ids.length) this.grow(this.length + ids.length);
    for (let index = 0; index < ids.length; index++) {
      const row = this.length + index;
      this.ids[row] = ids[index]!;
      this.starts[row] = offset + starts[index]!;
      this.ends[row] = offset + ends[index]!;
      this.wordIds[row] = word;
    }
    this.length += ids.length;
    this.words = word + 1;
  }

  private grow(needed: number): void {
    const size = Math.max(needed, this.ids.length * 2);
    const grown = (column: Int32Array) => {
      const larger = new Int32Array(size);
      larger.set(column);
      return larger;
    };
    this.ids = grown(this.ids);
    this.starts = grown(this.starts);
    this.ends = grown(this.ends);
    this.wordIds = grown(this.wordIds);
  }
}
