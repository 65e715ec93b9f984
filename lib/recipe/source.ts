/** Where a recipe comes from: a YAML or JSON file, whose errors carry file and line, or an object. */
import { readFile } from 'node:fs/promises';
import { basename, dirname, extname, resolve } from 'node:path';
import { isMap, isNode, isPair, isSeq, LineCounter, parseDocument, visit, type Document } from 'yaml';
import { WhittleError } from '../../bindings/errors.js';

export type Path = readonly (string | number)[];

export interface RecipeSource {
  /** What was written, unchecked. */
  value: unknown;
  /** Folder that relative paths start from, before the current one. */
  folder: string;
  /** Name of the run unless the recipe gives one. */
  defaultName: string;
  /** `recipe.yaml:12: ` for a file, `recipe: ` for an object: how an error about the key at `path` begins. */
  place(path: Path): string;
  /** How an error calls that key, since the line number already says where it is. */
  nameOf(path: Path): string;
}

/**
 * Reads a recipe file. JSON is read as the subset of YAML that it is.
 * @throws WhittleError `BAD_RECIPE` if the file is missing or not YAML, `IO` if it cannot be read.
 */
export async function readRecipeFile(file: string): Promise<RecipeSource> {
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT')
      throw new WhittleError('BAD_RECIPE', `${file}: expected a recipe but there is no file`);
    if (error.code === 'EISDIR') throw new WhittleError('BAD_RECIPE', `${file}: expected a recipe but found a folder`);
    throw new WhittleError('IO', `${file} could not be read: ${error.message}`, { cause: error });
  });
  return parseRecipeText(text, file);
}

/** The same from the text of a file. */
export function parseRecipeText(text: string, file: string): RecipeSource {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const [error] = document.errors;
  if (error) {
    const { line } = lines.linePos(error.pos[0]);
    throw new WhittleError('BAD_RECIPE', `${file}:${line}: expected YAML or JSON, but ${firstSentence(error.message)}`);
  }
  return {
    value: readValue(document, file, lines),
    folder: dirname(resolve(file)),
    defaultName: nameOfFile(file),
    place: (path) => {
      const offset = offsetOf(document, path);
      return offset === undefined ? `${file}: ` : `${file}:${lines.linePos(offset).line}: `;
    },
    nameOf: shortName,
  };
}

/** A recipe given as an object, or as text that something else parsed. */
export function recipeFromObject(value: unknown): RecipeSource {
  return {
    value,
    folder: process.cwd(),
    defaultName: 'run',
    place: () => 'recipe: ',
    nameOf: (path) => shortName(path),
  };
}

function readValue(document: Document.Parsed, file: string, lines: LineCounter): unknown {
  try {
    return document.toJS();
  } catch (error) {
    const offset = unresolvedAlias(document);
    const place = offset === undefined ? file : `${file}:${lines.linePos(offset).line}`;
    throw new WhittleError('BAD_RECIPE', `${place}: ${firstSentence((error as Error).message)}`, { cause: error });
  }
}

function unresolvedAlias(document: Document.Parsed): number | undefined {
  let offset: number | undefined;
  visit(document, {
    Alias: (_, alias) => {
      if (alias.resolve(document)) return undefined;
      offset = alias.range?.[0];
      return visit.BREAK;
    },
  });
  return offset;
}

/** `examples/ner/recipe.yaml` is called `ner`, `banking.yaml` is called `banking`. */
function nameOfFile(file: string): string {
  const name = basename(file, extname(file));
  const folder = basename(dirname(resolve(file)));
  return (name === 'recipe' && folder ? folder : name).replace(/[^\w.-]+/g, '-').replace(/^[^A-Za-z0-9]+/, '') || 'run';
}

/** Start of the key at `path`, or of the nearest thing around it that is written. */
function offsetOf(document: Document.Parsed, path: Path): number | undefined {
  let node: unknown = document.contents;
  let offset = isNode(node) ? node.range?.[0] : undefined;
  for (const key of path) {
    let keyNode: unknown;
    if (isMap(node)) {
      const pair = node.items.find((item) => isPair(item) && isNode(item.key) && String(item.key) === String(key));
      keyNode = pair?.key;
      node = pair?.value;
    } else if (isSeq(node)) {
      keyNode = node = node.items[Number(key)];
    } else break;
    const start = isNode(keyNode) ? keyNode.range?.[0] : undefined;
    if (start === undefined) break;
    offset = start;
  }
  return offset;
}

/** `learningRate in stage 2`, `step 3 (prune)`, or the path as it is. */
function shortName(path: Path): string {
  const stages = path.lastIndexOf('stages');
  if (path[0] === 'steps' && typeof path[1] === 'number') {
    const stage = stages >= 0 ? path[stages + 1] : undefined;
    const [inside, rest] =
      typeof stage === 'number'
        ? [`stage ${stage + 1}`, path.slice(stages + 2)]
        : [`step ${path[1] + 1}${path.length > 2 ? ` (${path[2]})` : ''}`, path.slice(3)];
    return rest.length ? `${dotted(rest)} in ${inside}` : inside;
  }
  return dotted(path);
}

/** `stages[2].learningRate` */
function dotted(path: Path): string {
  return path.reduce<string>((text, key) => text + (typeof key === 'number' ? `[${key}]` : `${text && '.'}${key}`), '');
}

function firstSentence(message: string): string {
  return message
    .split('\n')[0]!
    .replace(/\.$/, '')
    .replace(/^[A-Z]/, (letter) => letter.toLowerCase());
}
