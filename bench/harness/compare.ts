/** One row of an inference benchmark: whittle and its peers over the same work. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { printRow, row, round, type BenchmarkOptions, type Row } from '../benchmark.js';
import { contest } from './contest.js';
import { lineUp, type ContestantName } from './contestants.js';
import { int8Peak } from './peak.js';
import { modelFolder, temporaryFolder, type BenchmarkModel } from './models.js';
import type { Work } from './work.js';

export interface Comparison {
  /** The row's name. */
  work: string;
  /** `ms` counts the time of a unit, all others units a second. */
  unit: 'sequences/s' | 'texts/s' | 'ms';
  model: BenchmarkModel;
  does: Work;
  peers: readonly ContestantName[];
  turns: number;
  /** Operations of a unit, for the share of the int8 peak. */
  operations?: number;
}

/** What each contestant said of itself: version, and what it chose for this work. */
type About = Record<string, { version?: string; chosen?: object }>;

/**
 * The rows of comparisons, and notes on who took part. What the peers chose is kept for the next run, below runs/bench: choosing
 * takes longer than measuring. With `peers=WORD` among the arguments, only peers whose name contains the word take part.
 */
export async function compareAll(
  comparisons: readonly Comparison[],
  options: BenchmarkOptions,
): Promise<{ rows: Row[]; notes: Record<string, unknown> }> {
  const rows: Row[] = [];
  const notes: Record<string, unknown> = {};
  for (const comparison of comparisons) {
    const { row, ...note } = await compare(comparison, options);
    rows.push(row);
    notes[comparison.work] = note;
  }
  return { rows, notes };
}

async function compare(
  { work, unit, model, does, peers: names, turns, operations }: Comparison,
  options: BenchmarkOptions,
): Promise<{ row: Row; contestants: About; disturbance: number }> {
  const wanted = options.args.flatMap((arg) => /^peers=(.*)$/.exec(arg)?.[1] ?? []);
  const peers = names.filter((name) => wanted.length === 0 || wanted.some((word) => name.includes(word)));
  const file = join(temporaryFolder(), 'work.json');
  writeFileSync(file, JSON.stringify(does));
  const about: About = {};
  let disturbance = 0;
  const contestants = await lineUp(
    ['whittle', ...peers],
    model,
    file,
    options,
    (name) => readChoices()[keyOf(work, name)],
  );
  const speeds = await contest(contestants, {
    ...{ cpus: options.cpus, turns },
    onReady: (name, said) => {
      about[name] = said as About[string];
      if (about[name]?.chosen) keepChoice(keyOf(work, name), about[name].chosen);
    },
    onDisturbance: (share) => (disturbance = round(share)),
  });
  const figures = Object.fromEntries(
    Object.entries(speeds).map(([name, speed]) => [name, round(unit === 'ms' ? 1000 / speed : speed)]),
  );
  const { whittle, ...others } = figures;
  const shareOfPeak = operations && round((whittle! * operations) / int8Peak(options.cpus));
  const result = row({ work, unit, whittle: whittle!, peers: others, ...(shareOfPeak && { shareOfPeak }) });
  printRow(result);
  if (disturbance > 0.04)
    console.log(`  disturbed: other programs had ${(100 * disturbance).toFixed(0)} % of the cores`);
  return { row: result, contestants: about, disturbance };
}

const choices = join(modelFolder, 'choices.json');

function readChoices(): Record<string, object> {
  return existsSync(choices) ? (JSON.parse(readFileSync(choices, 'utf8')) as Record<string, object>) : {};
}

const keyOf = (work: string, name: string) => `${work}, ${name}`;

function keepChoice(key: string, chosen: object): void {
  writeFileSync(choices, JSON.stringify({ ...readChoices(), [key]: chosen }, null, 2));
}
