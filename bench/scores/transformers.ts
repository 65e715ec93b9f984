/** Transformers' scores: one run of train/scores.py a work and seed, kept in a file so that none runs twice. */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { BenchmarkOptions } from '../benchmark.js';
import { describeMachine } from '../harness/machine.js';
import { works, type Work } from './works.js';

const here = dirname(fileURLToPath(import.meta.url));
export const resultsFile = join(here, '..', 'results', 'scores-transformers.json');

export interface TransformersRun {
  work: string;
  learningRate: number;
  epochs: number;
  seed: number;
  /** On test, times 100. */
  score: number;
  /** Of the whole process, if it was timed here. */
  seconds?: number;
  /** When it was written down. */
  date: string;
  machine: string;
  /** `torch 2.13.0`, ... */
  versions: string;
}

/** All runs that were written down. */
export function readTransformersRuns(): TransformersRun[] {
  return existsSync(resultsFile) ? (JSON.parse(readFileSync(resultsFile, 'utf8')) as TransformersRun[]) : [];
}

/**
 * Runs what is not written down yet, and writes each run down as it ends.
 * @param finished a folder where train/scores.py ran before by the same arguments, each run's output kept as
 *   `WORK-SEED.score`: these are taken over.
 */
export function runTransformers(
  chosen: [string, Work][],
  seeds: number[],
  options: BenchmarkOptions,
  finished?: string,
): void {
  const { python } = options;
  if (!python) throw new Error('Expected a Python with PyTorch and Transformers: --python FILE');
  const versions = installedVersions(python);
  for (const seed of seeds)
    for (const [name, { learningRate, epochs }] of chosen) {
      if (works[name]!.model) throw new Error(`${name} runs without Transformers: train/scores.py trains MiniLM-L6`);
      const runs = readTransformersRuns();
      const same = (run: TransformersRun) =>
        run.work === name && run.seed === seed && run.epochs === epochs && run.learningRate === learningRate;
      if (runs.some(same)) continue;
      const kept = finished ? join(finished, `${name}-${seed}.score`) : '';
      if (finished && !existsSync(kept)) continue;
      const started = performance.now();
      const output = finished
        ? readFileSync(kept, 'utf8')
        : runOne(python, options, name, { learningRate, epochs }, seed);
      const seconds = Math.round((performance.now() - started) / 1000);
      const run: TransformersRun = {
        ...{ work: name, learningRate, epochs, seed },
        score: Number(Number(output.trim().split('\n').at(-1)).toFixed(3)),
        ...(finished ? {} : { seconds }),
        ...{ date: new Date().toISOString().slice(0, 10), machine: describeMachine(), versions },
      };
      if (!Number.isFinite(run.score)) throw new Error(`Expected a score of ${name} but found ${output}`);
      writeFileSync(resultsFile, `${JSON.stringify([...runs, run], null, 2)}\n`);
      console.log(`Transformers, ${name}, seed ${seed}: ${run.score}`);
    }
}

function runOne(
  python: string,
  { shared, cpus }: BenchmarkOptions,
  name: string,
  { learningRate, epochs }: Pick<Work, 'learningRate' | 'epochs'>,
  seed: number,
): string {
  const script = join(here, '..', 'train', 'scores.py');
  const folders = [join(shared, 'data', name), join(shared, 'models', 'minilm-l6')];
  const args = [script, ...folders, ...[learningRate, epochs, cpus.length, seed].map(String)];
  const peer = spawnSync(python, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
  if (peer.status !== 0) throw new Error(`Transformers' side of ${name} failed`);
  return peer.stdout;
}

function installedVersions(python: string): string {
  const packages = ['torch', 'transformers', 'tokenizers', 'seqeval', 'scipy'];
  const program = `from importlib.metadata import version\nprint(", ".join(n + " " + version(n) for n in ${JSON.stringify(packages)}))`;
  const result = spawnSync(python, ['-c', program], { encoding: 'utf8' });
  if (result.status !== 0) throw new Error(`${python} lacks one of ${packages.join(', ')}: ${result.stderr}`);
  return result.stdout.trim();
}
