/** What BERT's normalizer and pre-tokenizer make of single code points, from the tables of unicode-tables.ts. */
import * as tables from './unicode-tables.js';

/** The fields of tokenizer.json's BertNormalizer, `strip_accents: null` resolved. */
export interface BertNormalizerOptions {
  cleanText: boolean;
  handleChinese: boolean;
  stripAccents: boolean;
  lowercase: boolean;
}

/** What a code point is in a text. 0 is kept for "not computed yet". */
export const Kind = {
  /** Vanishes: a control character, a combining accent. */
  nothing: 1,
  /** Ends a word. */
  space: 2,
  /** Belongs to a word. */
  word: 3,
  /** A word of its own: punctuation, a Chinese character. */
  single: 4,
} as const;

const highest = 0x10ffff;
/** Hangul syllables decompose by arithmetic (Unicode Standard, section 3.12). */
const hangul = {
  first: 0xac00,
  last: 0xd7a3,
  leading: 0x1100,
  vowel: 0x1161,
  trailing: 0x11a7,
  vowels: 21,
  trails: 28,
};

/** One normalizer's rules, looked up a code point at a time. Code points are remembered once computed. */
export class CharacterMap {
  private readonly kinds = new Uint8Array(highest + 1);
  private readonly normalizedText = new Map<number, string>();
  private readonly sets = characterSets();

  constructor(private readonly options: BertNormalizerOptions) {}

  /** One of `Kind`. */
  kind(codePoint: number): number {
    return this.kinds[codePoint] || this.compute(codePoint);
  }

  /** The code point as the normalizer leaves it: empty, one or several characters. */
  normalized(codePoint: number): string {
    let text = this.normalizedText.get(codePoint);
    if (text === undefined) {
      this.compute(codePoint);
      text = this.normalizedText.get(codePoint)!;
    }
    return text;
  }

  private compute(codePoint: number): number {
    const { removed, spaced, chinese, whitespace, punctuation } = this.sets;
    const { cleanText, handleChinese } = this.options;
    // A lone surrogate is no character; written as UTF-8 it becomes U+FFFD, and so it is here.
    const scalar = codePoint >= 0xd800 && codePoint <= 0xdfff ? 0xfffd : codePoint;
    let text: string;
    let kind: number;
    if (cleanText && removed.has(scalar)) {
      [text, kind] = ['', Kind.nothing];
    } else if (cleanText && spaced.has(scalar)) {
      [text, kind] = [' ', Kind.space];
    } else {
      text = this.fold(scalar);
      const first = text.codePointAt(0);
      if (first === undefined) kind = Kind.nothing;
      else if (whitespace.has(first)) kind = Kind.space;
      else if (punctuation.has(first) || (handleChinese && chinese.has(scalar))) kind = Kind.single;
      else kind = Kind.word;
    }
    this.kinds[codePoint] = kind;
    this.normalizedText.set(codePoint, text);
    return kind;
  }

  /** Accents stripped, then lower case, as the options say. */
  private fold(codePoint: number): string {
    const { marks, stripped, lowered } = this.sets;
    let text = String.fromCodePoint(codePoint);
    if (this.options.stripAccents) {
      if (marks.has(codePoint)) return '';
      text = stripped.get(codePoint) ?? (isHangulSyllable(codePoint) ? decomposeHangul(codePoint) : text);
    }
    if (!this.options.lowercase) return text;
    return Array.from(text, (character) => lowered.get(character.codePointAt(0)!) ?? character).join('');
  }
}

interface CharacterSets {
  removed: RangeSet;
  spaced: RangeSet;
  chinese: RangeSet;
  whitespace: RangeSet;
  punctuation: RangeSet;
  marks: RangeSet;
  stripped: Map<number, string>;
  lowered: Map<number, string>;
}

let sets: CharacterSets | undefined;

/** The tables, parsed when a first tokenizer needs them. */
function characterSets(): CharacterSets {
  sets ??= {
    removed: new RangeSet(tables.removed),
    spaced: new RangeSet(tables.spaced),
    chinese: new RangeSet(tables.chinese),
    whitespace: new RangeSet(tables.whitespace),
    punctuation: new RangeSet(tables.punctuation),
    marks: new RangeSet(tables.marks),
    stripped: readMap(tables.stripped),
    lowered: readMap(tables.lowered),
  };
  return sets;
}

/** Sorted, disjoint ranges of code points. */
class RangeSet {
  private readonly firsts: number[] = [];
  private readonly lasts: number[] = [];

  constructor(table: string) {
    for (const entry of table.split(' ')) {
      const [first, last] = entry.split('-').map((digits) => parseInt(digits, 16));
      this.firsts.push(first!);
      this.lasts.push(last ?? first!);
    }
  }

  has(codePoint: number): boolean {
    let [low, high] = [0, this.firsts.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.lasts[middle]! < codePoint) low = middle + 1;
      else high = middle;
    }
    return low < this.firsts.length && this.firsts[low]! <= codePoint;
  }
}

function readMap(table: string): Map<number, string> {
  const map = new Map<number, string>();
  for (const entry of table.split(' ')) {
    const [, firstDigits, lastDigits, sign, value] = /^(\w+)(?:-(\w+))?([>+-])([\w.]+)$/.exec(entry)!;
    const first = parseInt(firstDigits!, 16);
    const last = lastDigits === undefined ? first : parseInt(lastDigits, 16);
    for (let codePoint = first; codePoint <= last; codePoint++) {
      const target =
        sign === '>'
          ? value!.split('.').map((digits) => parseInt(digits, 16))
          : [codePoint + (sign === '-' ? -1 : 1) * parseInt(value!, 16)];
      map.set(codePoint, String.fromCodePoint(...target));
    }
  }
  return map;
}

function isHangulSyllable(codePoint: number): boolean {
  return codePoint >= hangul.first && codePoint <= hangul.last;
}

function decomposeHangul(codePoint: number): string {
  const index = codePoint - hangul.first;
  const trail = index % hangul.trails;
  const vowel = Math.floor(index / hangul.trails) % hangul.vowels;
  const leading = Math.floor(index / (hangul.trails * hangul.vowels));
  const text = String.fromCodePoint(hangul.leading + leading, hangul.vowel + vowel);
  return trail === 0 ? text : text + String.fromCodePoint(hangul.trailing + trail);
}
