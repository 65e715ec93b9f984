/**
 * `npm run bench -- NAME [--json FILE [--add]] [--cpus 0,1] [--python FILE] [--shared FOLDER] [ARGS]` runs bench/NAME.ts.
 * Without a name, lists what there is.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { loadavg } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { WhittleError } from '../bindings/errors.js';
import { printRow, type Benchmark, type BenchmarkOptions, type Row } from './benchmark.js';
import { describeMachine, describeCommit } from './harness/machine.js';

interface Result {
  machine: string;
  commit: string;
  load: { before: number; after: number };
  rows: Row[];
  notes?: Record<string, unknown>;
}

const here = dirname(fileURLToPath(import.meta.url));
const [name, ...rest] = process.argv.slice(2);
const file = name && /^[a-z-]+$/.test(name) ? join(here, `${name}.ts`) : '';
const benchmark = existsSync(file) ? await load(file) : undefined;
if (!benchmark) {
  if (name) console.error(`There is no benchmark "${name}". There are:\n`);
  await list();
  process.exit(name ? 1 : 0);
}

const { options, json, add } = parse(rest);
const machine = describeMachine();
const commit = describeCommit();
/** Programs that ran or waited, over the last minute; what is above the contestants' own threads disturbed them. */
const loadBefore = loadavg()[0]!;
console.log(`${machine}, commit ${commit}\n`);
const { rows, notes } = await benchmark.run(options).catch((error: unknown) => {
  // What the machine lacks needs no stack.
  if (!(error instanceof WhittleError)) throw error;
  console.error(error.message);
  process.exit(1);
});
rows.forEach(printRow);
if (json) {
  mkdirSync(dirname(resolve(json)), { recursive: true });
  const load = { before: loadBefore, after: loadavg()[0]! };
  const result = { machine, commit, load, rows, ...(notes ? { notes } : {}) };
  writeFileSync(json, JSON.stringify(add ? addTo(json, result) : result, null, 2) + '\n');
  console.log(`\nWritten to ${json}`);
}

async function load(path: string): Promise<Benchmark | undefined> {
  // A file that defines no benchmark (this one, the types) is not named by users; do not run it to find out.
  if (!/^export const benchmark\b/m.test(readFileSync(path, 'utf8'))) return undefined;
  return ((await import(pathToFileURL(path).href)) as { benchmark: Benchmark }).benchmark;
}

async function list(): Promise<void> {
  for (const entry of readdirSync(here).sort()) {
    if (!entry.endsWith('.ts')) continue;
    const found = await load(join(here, entry));
    if (found) console.log(`  ${entry.slice(0, -3).padEnd(12)} ${found.summary}`);
  }
}

/**
 * Rows and notes of earlier calls on the same machine stay, unless this one has the same work; a row of another commit
 * says which.
 */
function addTo(file: string, result: Result): Result {
  if (!existsSync(file)) return result;
  const earlier = JSON.parse(readFileSync(file, 'utf8')) as Result;
  if (earlier.machine !== result.machine) return result;
  const others = earlier.rows
    .filter(({ work }) => result.rows.every((row) => row.work !== work))
    .map((row) => (earlier.commit === result.commit ? row : { commit: earlier.commit, ...row }));
  return { ...result, rows: [...others, ...result.rows], notes: { ...earlier.notes, ...result.notes } };
}

function parse(words: string[]): { options: BenchmarkOptions; json?: string; add: boolean } {
  const args: string[] = [];
  const given: Record<string, string> = {};
  for (let i = 0; i < words.length; i++) {
    const match = /^--(json|cpus|python|shared)(?:=(.*))?$/.exec(words[i]!);
    if (match) given[match[1]!] = match[2] ?? words[++i] ?? '';
    else if (words[i] === '--add') given.add = 'yes';
    else args.push(words[i]!);
  }
  const peers = '/opt/peers/venv/bin/python';
  const python = given.python ?? process.env.WHITTLE_PYTHON ?? (existsSync(peers) ? peers : undefined);
  return {
    options: {
      args,
      cpus: (given.cpus ?? '0,1').split(',').map(Number),
      shared: resolve(given.shared ?? join(here, '..', '..', 'shared')),
      ...(python ? { python } : {}),
    },
    ...(given.json ? { json: given.json } : {}),
    add: given.add !== undefined,
  };
}
