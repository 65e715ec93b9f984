/**
 * `npm run bench -- NAME [--json FILE] [--cpus 0,1] [--python FILE] [--shared FOLDER] [ARGS]` runs bench/NAME.ts.
 * Without a name, lists what there is.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { loadavg } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import type { Benchmark, BenchmarkOptions, Row } from './benchmark.js';
import { describeMachine, describeCommit } from './harness/machine.js';

const here = dirname(fileURLToPath(import.meta.url));
const [name, ...rest] = process.argv.slice(2);
const file = name && /^[a-z-]+$/.test(name) ? join(here, `${name}.ts`) : '';
const benchmark = existsSync(file) ? await load(file) : undefined;
if (!benchmark) {
  if (name) console.error(`There is no benchmark "${name}". There are:\n`);
  await list();
  process.exit(name ? 1 : 0);
}

const { options, json } = parse(rest);
const machine = describeMachine();
const commit = describeCommit();
/** Programs that ran or waited, over the last minute; what is above the contestants' own threads disturbed them. */
const loadBefore = loadavg()[0]!;
console.log(`${machine}, commit ${commit}\n`);
const { rows, notes } = await benchmark.run(options);
printRows(rows);
if (json) {
  mkdirSync(dirname(resolve(json)), { recursive: true });
  writeFileSync(
    json,
    JSON.stringify(
      { machine, commit, load: { before: loadBefore, after: loadavg()[0]! }, rows, ...(notes ? { notes } : {}) },
      null,
      2,
    ) + '\n',
  );
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

function parse(words: string[]): { options: BenchmarkOptions; json?: string } {
  const args: string[] = [];
  const given: Record<string, string> = {};
  for (let i = 0; i < words.length; i++) {
    const match = /^--(json|cpus|python|shared)(?:=(.*))?$/.exec(words[i]!);
    if (match) given[match[1]!] = match[2] ?? words[++i] ?? '';
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
  };
}

function printRows(rows: Row[]): void {
  for (const { work, unit, whittle, peers, ratio, shareOfPeak } of rows) {
    const others = Object.entries(peers).map(([peer, value]) => `${peer} ${value}`);
    const tail = [
      ratio === undefined ? '' : `${ratio}x of the best peer`,
      shareOfPeak === undefined ? '' : `${(100 * shareOfPeak).toFixed(0)} % of the peak`,
    ];
    console.log([`${work}: whittle ${whittle} ${unit}`, ...others, ...tail].filter(Boolean).join(', '));
  }
}
