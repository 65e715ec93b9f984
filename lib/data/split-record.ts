/** Which rows a run trained, chose and tested on, for its folder. */
import type { Dataset, Split } from './dataset.js';

/** One split: how many rows, and their lines by file, as ranges: `1-80,82`. */
export interface SplitRecord {
  rows: number;
  lines: Record<string, string>;
  /** Of streamed rows, whose lines are not listed. */
  hash?: string;
}

/**
 * @example
 * describeSplits(data).dev; // { rows: 3, lines: { 'all.jsonl': '2,17-18' } }
 */
export function describeSplits({ train, dev, test }: Dataset): Record<string, SplitRecord> {
  return { train: describeSplit(train), dev: describeSplit(dev), test: describeSplit(test) };
}

function describeSplit({ file, files, lines, source }: Split): SplitRecord {
  if (source) return { rows: source.count, lines: {}, hash: source.hash };
  const byFile = new Map<string, number[]>();
  lines.forEach((line, row) => {
    const name = files ? files.names[files.of[row]!]! : file;
    const known = byFile.get(name);
    if (known) known.push(line);
    else byFile.set(name, [line]);
  });
  return { rows: lines.length, lines: Object.fromEntries([...byFile].map(([name, of]) => [name, rangesOf(of)])) };
}

/** `1-3,7` of ascending numbers. */
function rangesOf(numbers: readonly number[]): string {
  const ranges: [number, number][] = [];
  for (const number of numbers) {
    const last = ranges.at(-1);
    if (last && number === last[1] + 1) last[1] = number;
    else ranges.push([number, number]);
  }
  return ranges.map(([from, to]) => (from === to ? `${from}` : `${from}-${to}`)).join(',');
}
