/**
 * Test scores of MiniLM-L6 beside Transformers, mean and spread over seeds, trained plainly and in stages; and, where it
 * is named, the score and the time of MPNet-base:
 *
 *   npm run bench -- scores [banking77] [conll2003] [sst2] [stsb] [ag_news] [mpnet-banking77] [plain] [staged]
 *                           [--seeds 13,14,15] [--runs FILE [done]] [transformers [--finished FOLDER]]
 *
 * Batch 32, AdamW, linear schedule with 10 % warm-up, the best epoch on dev; plain fine-tuning has Transformers' epochs
 * and rates, staged training the same number of epochs. Each run is appended to FILE as it ends, and one that is there
 * is not run again; with `done`, those that are there are all that is reported. Transformers' scores are read from
 * results/scores-transformers.json; `transformers` runs those that are not there yet (bf16 autocast; hours).
 */
import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadDataset } from '../lib/data/load.js';
import { evaluate } from '../lib/evaluate/evaluate.js';
import { stepContext } from '../lib/step.js';
import { finetune } from '../lib/training/finetune.js';
import { row, type Benchmark, type BenchmarkOptions, type Row } from './benchmark.js';
import { describeCommit } from './harness/machine.js';
import { readTransformersRuns, runTransformers } from './scores/transformers.js';
import { difference, summarize, type Summary } from './scores/summary.js';
import { modelTitles, stagesOf, ways, works, type Way, type Work } from './scores/works.js';

interface Run {
  work: string;
  way: Way;
  seed: number;
  stages: unknown;
  /** On dev and test, times 100. */
  dev: number;
  test: number;
  /** Of the finetune step. */
  seconds: number;
  /** Of whittle, when it ran. */
  commit: string;
}

export const benchmark: Benchmark = {
  summary: 'test scores of fine-tuning MiniLM-L6, plain and in stages, beside Transformers (long)',
  async run(options) {
    const { names, chosenWays, seeds, runsFile, onlyDone, withTransformers, finished } = parse(options.args);
    const chosen = names.map((name): [string, Work] => [name, works[name]!]);
    if (withTransformers) runTransformers(chosen, seeds, options, finished);
    const runs: Run[] = [];
    for (const seed of seeds)
      for (const [name, work] of chosen)
        for (const way of waysOf(work, chosenWays)) {
          const wanted = { name, work, way, seed };
          const run = doneBefore(wanted, runsFile) ?? (onlyDone ? undefined : await train(wanted, options, runsFile));
          if (run) runs.push(run);
        }
    const rows: Row[] = [];
    const notes: Record<string, unknown> = {};
    for (const [name, work] of chosen) {
      const ofWay = (way: Way) => runs.filter((run) => run.work === name && run.way === way);
      const [plain, staged] = ways.map((way) => summarize(ofWay(way).map(({ seed, test }) => ({ seed, score: test }))));
      const peer = summarize(
        readTransformersRuns().filter(
          (run) => run.work === name && seeds.includes(run.seed) && run.epochs === work.epochs,
        ),
      );
      const { model = 'minilm-l6', data = name } = work;
      for (const [way, own] of [
        ['plain', plain],
        ['staged', staged],
      ] as const) {
        if (!own) continue;
        const title = `${modelTitles[model]} on ${data}, ${describe(work, way)}, mean of ${countSeeds(own, peer)}`;
        const peers = peer ? { Transformers: peer.mean } : {};
        rows.push(row({ work: title, unit: `test ${work.metric}`, whittle: own.mean, peers }));
        const seconds = Math.round(ofWay(way).reduce((sum, run) => sum + run.seconds, 0) / ofWay(way).length);
        if (work.model) rows.push({ work: `${title}: fine-tuning`, unit: 's', whittle: seconds, peers: {} });
      }
      notes[name] = {
        ...{ plain, staged, Transformers: peer },
        'plain minus Transformers': difference(plain, peer),
        'staged minus plain': difference(staged, plain),
        runs: runs
          .filter((run) => run.work === name)
          .map(({ way, seed, dev, test, seconds, commit }) => ({ way, seed, dev, test, seconds, commit })),
      };
    }
    return { rows, notes };
  },
};

function parse(args: string[]) {
  const words: string[] = [];
  const given: Record<string, string> = {};
  for (let index = 0; index < args.length; index++) {
    const match = /^--(seeds|runs|finished)(?:=(.*))?$/.exec(args[index]!);
    if (match) given[match[1]!] = match[2] ?? args[++index] ?? '';
    else words.push(args[index]!);
  }
  const known = [...Object.keys(works), ...ways, 'done', 'transformers'];
  const unknown = words.find((word) => !known.includes(word));
  if (unknown) throw new Error(`Expected any of ${known.join(', ')} but found ${unknown}`);
  const named = words.some((word) => word in works);
  const oneOf = <T extends string>(all: readonly T[]) => {
    const named = all.filter((name) => words.includes(name));
    return named.length ? named : all;
  };
  return {
    // A large model takes hours: only where it is named.
    names: Object.keys(works).filter((name) => (named ? words.includes(name) : !works[name]!.model)),
    chosenWays: oneOf(ways),
    seeds: (given.seeds ?? '13,14,15').split(',').map(Number),
    runsFile: given.runs,
    onlyDone: words.includes('done'),
    withTransformers: words.includes('transformers'),
    finished: given.finished,
  };
}

function describe({ learningRate, epochs, staged }: Work, way: Way): string {
  if (way === 'plain') return `${epochs} epochs at ${learningRate}`;
  return staged
    .map((stage) => `${[stage.train].flat().join('+')} ${stage.epochs} epochs at ${stage.learningRate}`)
    .join(', then ');
}

/** Those of `chosen` that the work has. */
function waysOf({ staged }: Work, chosen: readonly Way[]): Way[] {
  return chosen.filter((way) => way === 'plain' || staged.length > 0);
}

interface Wanted {
  name: string;
  work: Work;
  way: Way;
  seed: number;
}

/** The run out of the file. */
function doneBefore({ name, work, way, seed }: Wanted, file?: string): Run | undefined {
  if (!file || !existsSync(file)) return undefined;
  const stages = JSON.stringify(stagesOf(work, way));
  return readFileSync(file, 'utf8')
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Run)
    .find((run) => run.work === name && run.seed === seed && JSON.stringify(run.stages) === stages);
}

/** A new run, which is then in the file. */
async function train({ name, work, way, seed }: Wanted, options: BenchmarkOptions, file?: string): Promise<Run> {
  const stages = stagesOf(work, way);
  const folder = mkdtempSync(join(tmpdir(), 'whittle-bench-'));
  try {
    const { task } = work;
    const data = await loadDataset({ path: join(options.shared, 'data', work.data ?? name), ...(task && { task }) });
    const threads = options.cpus.length;
    const started = performance.now();
    const { checkpoint, metrics } = await finetune(
      join(options.shared, 'models', work.model ?? 'minilm-l6'),
      { stages },
      stepContext({ data, seed, threads, folder: join(folder, 'finetune') }),
    );
    const seconds = Math.round((performance.now() - started) / 1000);
    const test = await evaluate(checkpoint, data, { precision: 'float32', maxLength: 128, threads });
    const percent = (scores: Record<string, number>) => Number((100 * scores[work.metric]!).toFixed(3));
    const run: Run = {
      ...{ work: name, way, seed, stages, dev: percent(metrics), test: percent(test.metrics), seconds },
      commit: describeCommit(),
    };
    if (file) appendFileSync(file, `${JSON.stringify(run)}\n`);
    console.log(`whittle, ${name}, ${way}, seed ${seed}: dev ${run.dev}, test ${run.test}, ${seconds} s`);
    return run;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** `3 seeds`, or `3 seeds (Transformers: 2)`. */
function countSeeds(own: Summary, peer: Summary | undefined): string {
  const [count, peers] = [own, peer].map((one) => Object.keys(one?.scores ?? {}).length);
  return `${count} ${count === 1 ? 'seed' : 'seeds'}${peers && peers !== count ? ` (Transformers: ${peers})` : ''}`;
}
