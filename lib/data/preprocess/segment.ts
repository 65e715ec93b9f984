/** Words and sentences of English and Chinese, by the rules of Unicode and ICU's dictionary (Intl.Segmenter). */

export const languages = ['en', 'zh'] as const;
export type Language = (typeof languages)[number];

/** A part of a text: `text.slice(start, end)`. */
export interface Segment {
  start: number;
  end: number;
  /** Letters, digits or ideographs, not white space or punctuation. Of sentences always true. */
  isWord: boolean;
}

const segmenters = new Map<string, Intl.Segmenter>();

function segmentsOf(text: string, language: Language, granularity: 'word' | 'sentence'): Segment[] {
  const key = `${language} ${granularity}`;
  let segmenter = segmenters.get(key);
  if (!segmenter) segmenters.set(key, (segmenter = new Intl.Segmenter(language, { granularity })));
  return Array.from(segmenter.segment(text), ({ index, segment, isWordLike = true }) => ({
    start: index,
    end: index + segment.length,
    isWord: isWordLike,
  }));
}

/** All segments of a text one after the other, white space and punctuation among them. */
export function findWords(text: string, language: Language): Segment[] {
  return segmentsOf(text, language, 'word');
}

/** The sentences of a text one after the other, each with the white space behind it. */
export function findSentences(text: string, language: Language): Segment[] {
  return segmentsOf(text, language, 'sentence');
}

/**
 * The words of a text and its punctuation marks, for rows of tokens.
 *
 * @example
 * splitWords('我喜欢北京。', 'zh'); // ['我', '喜欢', '北京', '。']
 */
export function splitWords(text: string, language: Language): string[] {
  return findWords(text, language)
    .map(({ start, end }) => text.slice(start, end))
    .filter((word) => word.trim() !== '');
}

/**
 * The sentences of a text without the white space around them.
 *
 * @example
 * splitSentences('My card is lost. What now?', 'en'); // ['My card is lost.', 'What now?']
 */
export function splitSentences(text: string, language: Language): string[] {
  return findSentences(text, language)
    .map(({ start, end }) => text.slice(start, end).trim())
    .filter((sentence) => sentence !== '');
}
