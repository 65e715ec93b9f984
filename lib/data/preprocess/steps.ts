/** The kinds of preprocessing step: what each changes in a text. */
import { decodeHTML } from 'entities';
import type { Edit } from './mapped-text.js';
import { findSentences, findWords, type Language } from './segment.js';

export type UnicodeForm = 'NFC' | 'NFD' | 'NFKC' | 'NFKD';

/**
 * Characters that normalize together: Hangul letters of a run; a character with the marks behind it. U+FF9E and U+FF9F,
 * the voicing marks of narrow katakana, are letters that become marks.
 */
const clusters = /[\uac00-\ud7a3]?[\u1100-\u11ff\ua960-\ua97f\ud7b0-\ud7ff\uffa0-\uffdc]+|[^][\p{M}\uff9e\uff9f]*/gu;

/** https://unicode.org/reports/tr15 */
export function unicodeEdits(text: string, form: UnicodeForm): Edit[] {
  const whole = text.normalize(form);
  if (whole === text) return [];
  const edits: Edit[] = [];
  let joined = '';
  for (const { 0: cluster, index } of text.matchAll(clusters)) {
    const by = cluster.normalize(form);
    joined += by;
    if (by !== cluster) edits.push({ start: index, end: index + cluster.length, by });
  }
  // A sequence that composes across clusters: what differs is then one edit.
  return joined === whole ? edits : [differenceOf(text, whole)];
}

function differenceOf(before: string, after: string): Edit {
  const shorter = Math.min(before.length, after.length);
  let start = 0;
  while (start < shorter && before[start] === after[start]) start++;
  let tail = 0;
  while (tail < shorter - start && before[before.length - 1 - tail] === after[after.length - 1 - tail]) tail++;
  return { start, end: before.length - tail, by: after.slice(start, after.length - tail) };
}

/** As `toLowerCase` of the whole text, so that a sigma at the end of a word becomes ς. */
export function lowercaseEdits(text: string): Edit[] {
  const lower = text.toLowerCase();
  if (lower === text) return [];
  if (lower.length === text.length) return [{ start: 0, end: text.length, by: lower, isAligned: true }];
  const edits: Edit[] = [];
  let [at, lowerAt] = [0, 0];
  for (const character of text) {
    const length = character.toLowerCase().length;
    const by = lower.slice(lowerAt, lowerAt + length);
    if (by !== character) edits.push({ start: at, end: at + character.length, by });
    at += character.length;
    lowerAt += length;
  }
  return edits;
}

/** `&amp;`, `&#39;`, `&#x4e2d;` and the other entities of HTML. */
export function htmlEntityEdits(text: string): Edit[] {
  return replacements(text, /&(?:#x[0-9a-f]+|#[0-9]+|[a-z][a-z0-9]*);?/gi, (entity) => decodeHTML(entity));
}

/** Every run of white space becomes one space, and none is left at the ends. */
export function whitespaceEdits(text: string): Edit[] {
  return replacements(text, /\s+/gu, (run, index) => (index === 0 || index + run.length === text.length ? '' : ' '));
}

/** Words of the list are taken out, with the white space behind them. Case does not matter. */
export function stopWordEdits(text: string, language: Language, words: ReadonlySet<string>): Edit[] {
  const segments = findWords(text, language);
  return segments.flatMap(({ start, end, isWord }, index) => {
    if (!isWord || !words.has(text.slice(start, end).toLowerCase())) return [];
    const next = segments[index + 1];
    const hasSpace = next && text.slice(next.start, next.end).trim() === '';
    return [{ start, end: hasSpace ? next.end : end, by: '' }];
  });
}

/** A space between neighboring words and punctuation marks where there is none. */
export function wordEdits(text: string, language: Language): Edit[] {
  return findWords(text, language)
    .slice(1)
    .filter(({ start }) => /\S/.test(text[start]!) && /\S/.test(text[start - 1]!))
    .map(({ start }) => ({ start, end: start, by: ' ' }));
}

/** Only the first and last sentences stay. */
export function sentenceEdits(text: string, language: Language, first: number, last: number): Edit[] {
  const sentences = findSentences(text, language).filter(({ start, end }) => text.slice(start, end).trim() !== '');
  if (sentences.length <= first + last) return [];
  const start = first > 0 ? sentences[first]!.start : 0;
  const end = last > 0 ? sentences[sentences.length - last]!.start : text.length;
  return [{ start, end, by: '' }];
}

function replacements(text: string, pattern: RegExp, by: (match: string, index: number) => string): Edit[] {
  const edits: Edit[] = [];
  for (const { 0: match, index } of text.matchAll(pattern)) {
    const replacement = by(match, index);
    if (replacement !== match) edits.push({ start: index, end: index + match.length, by: replacement });
  }
  return edits;
}
