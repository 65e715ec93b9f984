/** Checks single rows: whatever a file gave becomes a TextRow or TokenRow, or an error that says where and why. */
import { WhittleError } from '../../bindings/errors.js';
import { firstInvalidTag, parseTag, toIob2, withoutEnds } from './bio.js';
import type { MultiLabelRow, Row, ScoredRow, Task, TextRow, TokenRow } from './dataset.js';

/** How entity tags are written. IOB2: every entity starts with `B-`. IOB1: only one right after another of its type. */
export type TagScheme = 'IOB2' | 'IOB1';

export interface RowRules {
  task: Task;
  /** Whether a row must have its label or tags. If not, what is no label of the task is left out. */
  labelled: boolean;
  scheme: TagScheme;
  columns: ColumnNames;
  /** Whether all fields are strings: numbers are read from them, and labels are separated by `;`. */
  fromTable?: boolean;
  /** Whether classes may be numbers, as in the columns of Parquet. */
  fromColumns?: boolean;
}

/** Fields of a row by their names in the file. */
export interface ColumnNames {
  text: string;
  textPair: string;
  /** `labels` of multi-label rows too. */
  label: string;
  tokens: string;
  tags: string;
}

/** The names that fields have unless a user says otherwise. */
export function defaultColumns(task: Task): ColumnNames {
  const label = task === 'multi-label-classification' ? 'labels' : 'label';
  return { text: 'text', textPair: 'textPair', label, tokens: 'tokens', tags: 'tags' };
}

/**
 * A row of the given fields.
 * @param place names the row in errors: `train.jsonl:17`.
 * @throws WhittleError `BAD_DATA`
 */
export function checkRow(value: unknown, rules: RowRules, place: string): Row {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw badRow(place, 'a JSON object', value);
  }
  const fields = value as Record<string, unknown>;
  // To predict on, a model of entities takes texts as well as words.
  const isText = !rules.labelled && fields.tokens === undefined && fields[rules.columns.text] !== undefined;
  return rules.task === 'token-classification' && !isText
    ? checkTokenRow(fields, rules, place)
    : checkTextRow(fields, rules, place);
}

/** What `read` gives; `bare` if rows need no labels and this one has none that could be read. */
function withLabel<R extends Row>(bare: R, labelled: boolean, read: () => R): R {
  if (labelled) return read();
  try {
    return read();
  } catch (error) {
    if (error instanceof WhittleError) return bare;
    throw error;
  }
}

function checkTextRow(fields: Record<string, unknown>, rules: RowRules, place: string): Row {
  const { labelled, columns } = rules;
  const row: TextRow | MultiLabelRow | ScoredRow = { text: checkText(fields[columns.text], columns.text, place) };
  const textPair = fields[columns.textPair];
  if (textPair !== undefined) row.textPair = checkText(textPair, columns.textPair, place);
  else checkSpelling(fields, columns.textPair, place);
  return withLabel(row, labelled, () => labelTextRow(row, fields[columns.label], rules, place));
}

/** A second text under a name that is all but right would be left out without a word. */
function checkSpelling(fields: Record<string, unknown>, name: string, place: string): void {
  const plain = (key: string) => key.toLowerCase().replaceAll(/[^a-z0-9]/g, '');
  const slip = Object.keys(fields).find((key) => key !== name && plain(key) === plain(name));
  if (slip !== undefined)
    throw new WhittleError('BAD_DATA', `${place}: unknown key "${slip}"; did you mean "${name}"?`);
}

function labelTextRow(row: TextRow | MultiLabelRow | ScoredRow, label: unknown, rules: RowRules, place: string): Row {
  const { task, columns } = rules;
  if (task === 'text-classification') return { ...row, label: checkClass(label, rules, place) };
  if (task === 'multi-label-classification') return { ...row, labels: checkClasses(label, rules, place) };
  if (task === 'regression') return { ...row, label: checkNumber(label, rules, place) };
  if (row.textPair === undefined) throw badRow(place, `"${columns.textPair}" to be a string`, undefined);
  return label === undefined || label === '' ? row : { ...row, label: checkNumber(label, rules, place) };
}

function checkClass(label: unknown, { columns: { label: name }, fromColumns }: RowRules, place: string): string {
  if (fromColumns && (typeof label === 'number' || typeof label === 'boolean')) return String(label);
  if (typeof label !== 'string') throw badRow(place, `"${name}" to be a string`, label);
  if (label === '') throw badRow(place, `"${name}" to hold a label`, label);
  return label;
}

function checkClasses(value: unknown, { columns: { label: name }, fromTable }: RowRules, place: string): string[] {
  const labels = fromTable && typeof value === 'string' ? splitLabels(value) : checkStrings(value, name, place);
  const empty = labels.indexOf('');
  if (empty >= 0) throw badRow(place, `"${name}[${empty}]" to hold a label`, labels[empty]);
  return [...new Set(labels)];
}

/** `a; b` in a cell of a table. */
function splitLabels(cell: string): string[] {
  if (cell.trim() === '') return [];
  return cell.split(';').map((label) => label.trim());
}

function checkNumber(value: unknown, { columns: { label: name }, fromTable }: RowRules, place: string): number {
  const isText = fromTable && typeof value === 'string' && value.trim() !== '';
  const number = isText ? Number(value) : value;
  if (typeof number !== 'number' || !Number.isFinite(number)) throw badRow(place, `"${name}" to be a number`, value);
  return number;
}

function checkText(text: unknown, name: string, place: string): string {
  if (typeof text !== 'string') throw badRow(place, `"${name}" to be a string`, text);
  if (text.trim() === '') throw badRow(place, `"${name}" to hold text`, text);
  return text;
}

function checkTokenRow(fields: Record<string, unknown>, rules: RowRules, place: string): TokenRow {
  const { labelled, columns } = rules;
  const tokens = checkStrings(fields[columns.tokens], columns.tokens, place);
  if (tokens.length === 0) throw badRow(place, `"${columns.tokens}" to hold at least one word`, tokens);
  const empty = tokens.findIndex((token) => token.trim() === '');
  if (empty >= 0) throw badRow(place, `"${columns.tokens}[${empty}]" to be a word`, tokens[empty]);
  return withLabel<TokenRow>({ tokens }, labelled, () => ({
    tokens,
    tags: checkTags(fields[columns.tags], tokens, rules, place),
  }));
}

function checkTags(value: unknown, tokens: readonly string[], rules: RowRules, place: string): string[] {
  const { scheme, columns } = rules;
  let tags = checkStrings(value, columns.tags, place).map(withoutEnds);
  if (tags.length !== tokens.length) {
    throw new WhittleError(
      'BAD_DATA',
      `${place}: expected as many tags as tokens but found ${tags.length} tags and ${tokens.length} tokens`,
    );
  }
  if (scheme === 'IOB1') tags = toIob2(tags);
  const invalid = firstInvalidTag(tags);
  if (invalid >= 0) {
    if (parseTag(tags[invalid]!) === undefined) {
      throw badRow(place, `"${columns.tags}[${invalid}]" to be O, B-TYPE or I-TYPE`, tags[invalid]);
    }
    const before = invalid > 0 ? `after "${tags[invalid - 1]}"` : 'at the start';
    throw badRow(place, `"${columns.tags}[${invalid}]" to begin its entity with B-`, tags[invalid], ` ${before}`);
  }
  return tags;
}

function checkStrings(value: unknown, name: string, place: string): string[] {
  if (!Array.isArray(value)) throw badRow(place, `"${name}" to be an array of strings`, value);
  const wrong = value.findIndex((one) => typeof one !== 'string');
  if (wrong >= 0) throw badRow(place, `"${name}[${wrong}]" to be a string`, value[wrong]);
  return value as string[];
}

/** `train.jsonl:17: expected "text" to be a string but found number 3` */
export function badRow(place: string, expected: string, found: unknown, after = ''): WhittleError {
  return new WhittleError('BAD_DATA', `${place}: expected ${expected} but found ${describeValue(found)}${after}`);
}

/** A value as it stands in an error message, cut to a readable length. */
export function describeValue(value: unknown): string {
  if (value === undefined) return 'none';
  if (value === null) return 'null';
  if (Array.isArray(value)) return value.length === 0 ? 'an empty array' : `an array of ${value.length}`;
  if (typeof value === 'object') return 'an object';
  const text = JSON.stringify(value) ?? String(value);
  const cut = text.length > 60 ? `${text.slice(0, 57)}...` : text;
  return typeof value === 'string' ? cut : `${typeof value} ${cut}`;
}
