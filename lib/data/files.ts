/** Which files a list of paths and globs means. */
import { existsSync, readdirSync, statSync } from 'node:fs';
import { basename, join, parse, sep } from 'node:path';
import { WhittleError } from '../../bindings/errors.js';

const wildcards = /[*?[{]/;

/**
 * The files of paths and globs: `*` and `?` within a name, `[a-z]`, `{a,b}`, and `**` for folders of any depth. Files of
 * a glob come by name, paths in the order given, each file once.
 *
 * @param what names what is expected, in errors.
 * @throws WhittleError `BAD_DATA` for a path without a file, or a glob without any.
 * @example
 * findFiles(['data/first.jsonl', 'data/shards/*.jsonl.gz']);
 */
export function findFiles(patterns: string | readonly string[], what = 'a data file'): string[] {
  const files = [patterns].flat().flatMap((pattern) => {
    if (existsSync(pattern)) return [pattern];
    const found = isGlob(pattern) ? matches(pattern) : [];
    if (found.length > 0) return found;
    const expected = isGlob(pattern) ? 'data files of this form' : what;
    throw new WhittleError('BAD_DATA', `${pattern}: expected ${expected} but there is none`);
  });
  return [...new Set(files)];
}

export function isGlob(pattern: string): boolean {
  return wildcards.test(pattern);
}

/** A glob's path up to its first wildcard, and the rest. */
export function splitGlob(pattern: string): { folder: string; rest: string } {
  const parts = pattern.split(/[\\/]/);
  const first = parts.findIndex((part) => wildcards.test(part));
  return {
    folder: parts.slice(0, first).join(sep) || (first > 0 ? parse(pattern).root : '.'),
    rest: join(...parts.slice(first)),
  };
}

function matches(pattern: string): string[] {
  const { folder, rest } = splitGlob(pattern);
  const found: string[] = [];
  collect(folder, rest.split(sep), found);
  return found.filter((file) => statSync(file, { throwIfNoEntry: false })?.isFile()).sort();
}

function collect(folder: string, [part, ...rest]: readonly string[], found: string[]): void {
  let names: string[];
  try {
    names = readdirSync(folder);
  } catch {
    return; // no folder, or none that may be read
  }
  if (part === '**') {
    collect(folder, rest, found);
    for (const name of names) collect(join(folder, name), ['**', ...rest], found);
    return;
  }
  const expression = expressionOf(part!);
  for (const name of names) {
    if (!expression.test(name) || (name.startsWith('.') && !part!.startsWith('.'))) continue;
    if (rest.length === 0) found.push(join(folder, name));
    else collect(join(folder, name), rest, found);
  }
}

function expressionOf(part: string): RegExp {
  let depth = 0;
  const source = part.replace(/\[!?[^\]]+\]|[*?{},]|[.+^$()|\\\]]|\[/g, (token) => {
    if (token.length > 1 && token.startsWith('[')) return token.replace(/^\[!/, '[^').replace(/\\/g, '\\\\');
    if (token === '*') return '.*';
    if (token === '?') return '.';
    if (token === '{') depth++;
    if (token === '{') return '(?:';
    if (token === '}' && depth > 0) {
      depth--;
      return ')';
    }
    if (token === ',') return depth > 0 ? '|' : ',';
    return `\\${token}`;
  });
  return new RegExp(`^${source}${')'.repeat(depth)}$`, 'u');
}

/** `train.jsonl`, or `train-00.jsonl and 7 more`. */
export function describeFiles(files: readonly string[]): string {
  return files.length === 1 ? files[0]! : `${files[0]} and ${files.length - 1} more`;
}

/** Files of a folder whose names are one of `stems`, alone or before `-` or `.` as in shards: `train-00000-of-00003`. */
export function filesNamed(folder: string, stems: readonly string[], extensions: readonly string[]): string[] {
  const names = readdirSync(folder).sort();
  for (const stem of stems) {
    for (const extension of extensions) {
      for (const ending of [extension, `${extension}.gz`]) {
        const whole = names.filter((name) => name.toLowerCase() === stem + ending);
        const shards = names.filter(
          (name) =>
            name.startsWith(`${stem}-`) &&
            basename(name).toLowerCase().endsWith(ending) &&
            /^-\d+(-of-\d+)?$/.test(name.slice(stem.length, -ending.length)),
        );
        const found = whole.length > 0 ? whole.slice(0, 1) : shards;
        if (found.length > 0) return found.map((name) => join(folder, name));
      }
    }
  }
  return [];
}
