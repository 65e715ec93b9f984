/** Words and sentences of English and Chinese, by the rules of Unicode and ICU's dictionary (Intl.Segmenter). */
import { WhittleError } from '../../../bindings/errors.js';
import { describeValue } from '../rows.js';

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

/** @throws WhittleError `BAD_OPTION` for what is no text, or a language that is none of `languages`. */
function checkCall(name: string, text: unknown, language: unknown): void {
  if (typeof text !== 'string')
    throw new WhittleError('BAD_OPTION', `${name}: expected a text but found ${describeValue(text)}`);
  if (languages.includes(language as Language)) return;
  const known = languages.map((one) => `"${one}"`).join(' or ');
  throw new WhittleError(
    'BAD_OPTION',
    `${name}: expected the language ${known} after the text but found ${describeValue(language)}`,
  );
}

/**
 * The words of a text and its punctuation marks, for rows of tokens.
 *
 * @throws WhittleError `BAD_OPTION` for what is no text, or another language.
 * @example
 * splitWords('我喜欢北京。', 'zh'); // ['我', '喜欢', '北京', '。']
 */
export function splitWords(text: string, language: Language): string[] {
  checkCall('splitWords', text, language);
  return findWords(text, language)
    .map(({ start, end }) => text.slice(start, end))
    .filter((word) => word.trim() !== '');
}

/**
 * The sentences of a text without the white space around them.
 *
 * @throws WhittleError `BAD_OPTION` for what is no text, or another language.
 * @example
 * splitSentences('My card is lost. What now?', 'en'); // ['My card is lost.', 'What now?']
 */
export function splitSentences(text: string, language: Language): string[] {
  checkCall('splitSentences', text, language);
  return findSentences(text, language)
    .map(({ start, end }) => text.slice(start, end).trim())
    .filter((sentence) => sentence !== '');
}
