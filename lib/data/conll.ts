/** CoNLL columns: a token a line, its tag last; a blank line ends a sentence. */
import { parseTag, withoutEnds } from './bio.js';
import { readLines } from './lines.js';
import type { Records, SourceRecord } from './records.js';
import { badRow } from './rows.js';

interface TokenLine {
  columns: string[];
  line: number;
}

/** The fields that a sentence's tokens and tags are given under. */
export interface ConllNames {
  tokens: string;
  tags: string;
}

/**
 * The sentences of a file. Columns are separated by tabs, or else by white space. `-DOCSTART-` lines begin a new
 * document, whose number is the field `document`. Lines that begin with `#` before a sentence's first token are
 * comments, unless a tag is last on them.
 */
export async function* readConll(file: string, labelled: boolean, names: ConllNames): Records {
  let sentence: TokenLine[] = [];
  let document = 1;
  let isEmptyDocument = true;
  for await (const { text, number } of readLines(file)) {
    const isDocumentStart = text.startsWith('-DOCSTART-');
    if (text.trim() !== '' && !isDocumentStart) {
      const columns = text.includes('\t') ? text.split('\t') : text.trim().split(/\s+/);
      if (sentence.length === 0 && isComment(text, columns)) continue;
      sentence.push({ columns, line: number });
      continue;
    }
    if (sentence.length > 0) {
      yield conllRecord(sentence, labelled, file, names, document);
      isEmptyDocument = false;
      sentence = [];
    }
    if (isDocumentStart && !isEmptyDocument) {
      document++;
      isEmptyDocument = true;
    }
  }
  if (sentence.length > 0) yield conllRecord(sentence, labelled, file, names, document);
}

/** `# id = 7`, not the token `#` of `# O`. */
function isComment(text: string, columns: readonly string[]): boolean {
  if (!text.startsWith('#') || columns.length < 2) return false;
  return parseTag(withoutEnds(columns.at(-1)!.trim())) === undefined;
}

function conllRecord(
  lines: TokenLine[],
  labelled: boolean,
  file: string,
  names: ConllNames,
  document: number,
): SourceRecord {
  const read = () => {
    const tagged = labelled || lines[0]!.columns.length > 1;
    const tokens = lines.map(({ columns }) => columns[0]!);
    if (!tagged) return { [names.tokens]: tokens, document };
    const tags = lines.map(({ columns, line }) => {
      const tag = columns.length > 1 ? columns.at(-1)!.trim() : undefined;
      if (tag !== undefined && parseTag(withoutEnds(tag)) !== undefined) return tag;
      throw badRow(`${file}:${line}`, 'a token and, last on the line, its tag O, B-TYPE or I-TYPE', tag);
    });
    return { [names.tokens]: tokens, [names.tags]: tags, document };
  };
  return { line: lines[0]!.line, read };
}
