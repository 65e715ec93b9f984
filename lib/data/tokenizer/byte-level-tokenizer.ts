/** The tokenization of GPT-2 and RoBERTa: words with the space in front of them, cut into pairs of bytes. */
import { AddedTokenFinder, type AddedToken, type Section } from './added-tokens.js';
import { assembleEncoding, roomFor } from './assemble.js';
import { BytePairEncoder, type BytePairModel } from './byte-pairs.js';
import type { Templates } from './template.js';
import { TokenBuffer, type WordPieces } from './token-buffer.js';
import { encodeEach, type EncodedBatch } from './encoded-batch.js';
import type { BatchOptions, EncodeOptions, Encoding, Tokenizer, TokenizerInput } from './tokenizer.js';
import { spacesOf, trimOffsets, type OffsetTrimming, type Spaces } from './trim-offsets.js';
import { WordCache } from './word-cache.js';

export interface ByteLevelOptions {
  /** Every stretch of text gets a space in front unless it has one. */
  addPrefixSpace: boolean;
  /** Absent: offsets have the spaces in them. */
  trimming: OffsetTrimming | undefined;
}

// GPT-2's pattern, white space as Unicode defines it.
const wordPattern =
  /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+/gu;

/** Ids, offsets and word indices are those of Hugging Face's tokenizers. */
export class ByteLevelTokenizer implements Tokenizer {
  readonly hasOffsets = true;
  private readonly cache: WordCache;
  /** Tokens found in the text as given come before those found in the normalized text, which here is the same. */
  private readonly finders: AddedTokenFinder[];
  /** By token id. */
  private readonly spaces: Spaces[] = [];
  private readonly first = new TokenBuffer();
  private readonly second = new TokenBuffer();

  /** @throws Error as BytePairEncoder does. */
  constructor(
    private readonly options: ByteLevelOptions,
    model: BytePairModel,
    private readonly templates: Templates,
    addedTokens: readonly AddedToken[],
  ) {
    const encoder = new BytePairEncoder(model);
    for (const [token, id] of model.vocabulary) this.spaces[id] = spacesOf(token);
    this.cache = new WordCache((word) => encoder.pieces(word));
    this.finders = [false, true].map(
      (normalized) => new AddedTokenFinder(addedTokens.filter((token) => token.normalized === normalized)),
    );
  }

  encode(text: string, { textPair, maxLength = Infinity }: EncodeOptions = {}): Encoding {
    const template = textPair === undefined ? this.templates.single : this.templates.pair;
    const room = roomFor(template, maxLength);
    this.first.clear();
    this.second.clear();
    // Which of two texts is cut depends on their whole lengths.
    this.addText(text, this.first, textPair === undefined ? room : Infinity);
    if (textPair !== undefined) this.addText(textPair, this.second, Infinity);
    return assembleEncoding(template, room, this.first, this.second);
  }

  encodeWords(words: readonly string[], { maxLength = Infinity }: { maxLength?: number | undefined } = {}): Encoding {
    const room = roomFor(this.templates.single, maxLength);
    this.first.clear();
    this.second.clear();
    for (let index = 0; index < words.length && this.first.length <= room; index++) {
      this.addText(words[index]!, this.first, room, index);
    }
    return assembleEncoding(this.templates.single, room, this.first, this.second);
  }

  encodeBatch(inputs: readonly TokenizerInput[], options: BatchOptions = {}): EncodedBatch {
    return encodeEach(this, inputs, options);
  }

  async encodeBatchAsync(inputs: readonly TokenizerInput[], options?: BatchOptions): Promise<EncodedBatch> {
    return this.encodeBatch(inputs, options);
  }

  /** Appends the tokens of a text, until more than `room` of them are there. */
  private addText(given: string, into: TokenBuffer, room: number, word?: number): void {
    const text = given.replace(/\p{Surrogate}/gu, '\ufffd');
    for (const { id, start, end } of this.sections(text)) {
      if (into.length > room) return;
      if (id >= 0) {
        into.addWord({ ids: [id], starts: [0], ends: [end - start] }, start, word);
        const spaces = spacesOf(text.slice(start, end));
        if (this.options.trimming) trimOffsets(text, into, into.length - 1, spaces, this.options.trimming);
      } else this.addWords(text, { id, start, end }, into, room, word);
    }
  }

  /** The text cut at added tokens. */
  private sections(text: string): Section[] {
    let sections: Section[] = [{ id: -1, start: 0, end: text.length }];
    for (const finder of this.finders)
      sections = sections.flatMap((section) => {
        const found = section.id < 0 ? finder.sections(text.slice(section.start, section.end)) : undefined;
        return (
          found?.map(({ id, start, end }) => ({ id, start: section.start + start, end: section.start + end })) ?? [
            section,
          ]
        );
      });
    return sections;
  }

  private addWords(text: string, { start, end }: Section, into: TokenBuffer, room: number, word?: number): void {
    if (start === end) return;
    const { addPrefixSpace, trimming } = this.options;
    const section = text.slice(start, end);
    const added = addPrefixSpace && !section.startsWith(' ');
    for (const { 0: match, index } of (added ? ` ${section}` : section).matchAll(wordPattern)) {
      const pieces = this.cache.pieces(match);
      const placed = added && index === 0 ? withoutAddedSpace(pieces, section) : pieces;
      const from = into.length;
      into.addWord(placed, start + Math.max(0, index - (added ? 1 : 0)), word);
      if (trimming)
        for (let row = from; row < into.length; row++)
          trimOffsets(text, into, row, this.spaces[into.ids[row]!]!, trimming);
      if (into.length > room) return;
    }
  }
}

/** Offsets without the space that was put in front of the text; it counts as a part of the text's first character. */
function withoutAddedSpace({ ids, starts, ends }: WordPieces, text: string): WordPieces {
  const firstCharacter = text.codePointAt(0)! > 0xffff ? 2 : 1;
  return {
    ids,
    starts: starts.map((start) => Math.max(0, start - 1)),
    ends: ends.map((end) => Math.max(firstCharacter, end - 1)),
  };
}
