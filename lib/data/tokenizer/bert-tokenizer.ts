/** BERT's tokenization: normalize, cut at white space and around punctuation, look words up, add special tokens. */
import { AddedTokenFinder, type AddedToken, type Section } from './added-tokens.js';
import { type BertNormalizerOptions, CharacterMap, Kind } from './character-map.js';
import { assembleEncoding, roomFor } from './assemble.js';
import type { Templates } from './template.js';
import { TokenBuffer } from './token-buffer.js';
import type { EncodeOptions, Encoding, Tokenizer } from './tokenizer.js';
import { spacesOf, trimOffsets, type OffsetTrimming } from './trim-offsets.js';
import { WordPieceLookup, type WordPieceModel } from './word-pieces.js';

/**
 * Ids, offsets and word indices are those of Hugging Face's tokenizers, but for one corner: where canonical reordering
 * moves a combining mark that `strip_accents` keeps (a few rare scripts), theirs reports the place of a neighbor.
 */
export class BertTokenizer implements Tokenizer {
  readonly hasOffsets = true;
  private readonly characters: CharacterMap;
  private readonly lookup: WordPieceLookup;
  private readonly inText: AddedTokenFinder;
  private readonly inNormalizedText: AddedTokenFinder | undefined;
  /** `Kind` of each ASCII character. */
  private readonly ascii: Uint8Array;
  private readonly first = new TokenBuffer();
  private readonly second = new TokenBuffer();

  constructor(
    normalizer: BertNormalizerOptions,
    model: WordPieceModel,
    private readonly templates: Templates,
    addedTokens: readonly AddedToken[],
    private readonly trimming?: OffsetTrimming,
  ) {
    this.characters = new CharacterMap(normalizer);
    this.lookup = new WordPieceLookup(model, this.characters);
    this.ascii = Uint8Array.from({ length: 128 }, (_, codePoint) => this.characters.kind(codePoint));
    this.inText = new AddedTokenFinder(addedTokens.filter((token) => !token.normalized));
    const normalized = addedTokens.filter((token) => token.normalized);
    if (normalized.length > 0) {
      this.inNormalizedText = new AddedTokenFinder(
        normalized.map((token) => ({ ...token, content: this.normalize(token.content).text })),
      );
    }
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

  /** Appends the tokens of a text, until more than `room` of them are there. */
  private addText(text: string, into: TokenBuffer, room: number, word?: number): void {
    for (const section of this.sections(text)) {
      if (section.id < 0) {
        this.addWords(text, section, into, room, word);
        continue;
      }
      into.addWord({ ids: [section.id], starts: [0], ends: [section.end - section.start] }, section.start, word);
      const spaces = spacesOf(text.slice(section.start, section.end));
      if (this.trimming) trimOffsets(text, into, into.length - 1, spaces, this.trimming);
    }
  }

  private addWords(text: string, { start, end }: Section, into: TokenBuffer, room: number, word?: number): void {
    let wordStart = -1;
    for (let index = start; index < end;) {
      const unit = text.charCodeAt(index);
      let kind: number;
      let next = index + 1;
      if (unit < 128) {
        kind = this.ascii[unit]!;
      } else {
        const codePoint = text.codePointAt(index)!;
        if (codePoint > 0xffff) next++;
        kind = this.characters.kind(codePoint);
      }
      if (kind === Kind.word) {
        if (wordStart < 0) wordStart = index;
      } else if (kind !== Kind.nothing) {
        if (wordStart >= 0) {
          into.addWord(this.lookup.pieces(text.slice(wordStart, index)), wordStart, word);
          wordStart = -1;
          if (into.length > room) return;
        }
        if (kind === Kind.single) into.addWord(this.lookup.pieces(text.slice(index, next)), index, word);
        if (into.length > room) return;
      }
      index = next;
    }
    if (wordStart >= 0) into.addWord(this.lookup.pieces(text.slice(wordStart, end)), wordStart, word);
  }

  /** The text cut at added tokens. */
  private sections(text: string): Section[] {
    const sections = this.inText.sections(text) ?? [{ id: -1, start: 0, end: text.length }];
    const finder = this.inNormalizedText;
    if (finder === undefined) return sections;
    return sections.flatMap((section) => {
      if (section.id >= 0) return [section];
      const { text: normalized, starts, ends } = this.normalize(text.slice(section.start, section.end));
      const found = finder.sections(normalized);
      return (
        found?.map(({ id, start, end }) => ({
          id,
          start: section.start + starts[start]!,
          end: section.start + ends[end - 1]!,
        })) ?? [section]
      );
    });
  }

  /** The whole normalized text, and where each UTF-16 code unit of it comes from. */
  private normalize(text: string): { text: string; starts: number[]; ends: number[] } {
    const [starts, ends] = [[] as number[], [] as number[]];
    let normalized = '';
    let index = 0;
    for (const character of text) {
      const piece = this.characters.normalized(character.codePointAt(0)!);
      for (let unit = 0; unit < piece.length; unit++) {
        starts.push(index);
        ends.push(index + character.length);
      }
      normalized += piece;
      index += character.length;
    }
    return { text: normalized, starts, ends };
  }
}
