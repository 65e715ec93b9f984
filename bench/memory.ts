/**
 * Peak memory of a process that predicts, beside its peers and the bound that whittle keeps (int8 weights and 200 MB), and what
 * the native code allocates in a run once it is warm: `npm run bench -- memory [peers=none]`. Without the peers' forms of
 * the models below runs/bench, making them takes minutes first.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { printRow, row, round, type Benchmark, type BenchmarkOptions, type Row } from './benchmark.js';
import { contest } from './harness/contest.js';
import { lineUp } from './harness/contestants.js';
import { makeUpModel, type ModelName } from './harness/made-up-model.js';
import { benchmarkModel, modelFolder, sampleTexts, temporaryFolder, type BenchmarkModel } from './harness/models.js';
import { fixedLengths, type Work } from './harness/work.js';

const here = dirname(fileURLToPath(import.meta.url));
const models: ModelName[] = ['MiniLM-L6', 'BERT-base'];
const megabyte = 1e6;
const allowance = 200;

export const benchmark: Benchmark = {
  summary: 'peak memory while predicting AG News, and allocations of native code in a warm run [peers=none]',
  async run(options) {
    const rows: Row[] = [];
    const bounds: Record<string, number> = {};
    for (const name of models) {
      const float32 = await makeUpModel(name, options.shared, modelFolder);
      const model = await benchmarkModel(options, float32);
      const work = `${name}, AG News to labels, peak of the process`;
      const texts = {
        texts: sampleTexts(options.shared, 'ag_news', name === 'BERT-base' ? 128 : 512),
        tokenizer: float32,
        maxLength: 512,
      };
      rows.push(await peakMemory(work, model, writeWork(texts), options));
      bounds[work] = round(statSync(join(model.int8, 'model.safetensors')).size / megabyte + allowance);
      printRow(rows.at(-1)!);
      console.log(`  at most ${bounds[work]} MB: ${rows.at(-1)!.whittle <= bounds[work] ? 'kept' : 'EXCEEDED'}`);
      rows.push(...countAllocations(`${name} 32x128`, model.int8, writeWork(fixedLengths(32, 128))));
    }
    return { rows, notes: { boundsInMegabytes: bounds } };
  },
};

async function peakMemory(work: string, model: BenchmarkModel, file: string, options: BenchmarkOptions): Promise<Row> {
  const peaks: Record<string, number> = {};
  const contestants = await lineUp(
    options.args.includes('peers=none') ? ['whittle'] : ['whittle', 'onnxruntime-node int8', 'OpenVINO int8'],
    model,
    file,
    options,
    (name) => ({
      batch_size: 16,
      ...(name.startsWith('OpenVINO') && { streams: 1, precision: 'f32' }),
    }),
  );
  await contest(contestants, {
    ...{ cpus: options.cpus, turns: 2, mostTurns: 2 }, // other programs do not change a peak
    onPeakMemory: (name, bytes) => (peaks[name] = round(bytes / megabyte)),
  });
  const { whittle, ...peers } = peaks;
  return row({ work, unit: 'MB', whittle: whittle!, peers });
}

function countAllocations(work: string, checkpoint: string, file: string): Row[] {
  const folder = temporaryFolder();
  const [library, counts] = [join(folder, 'count.so'), join(folder, 'counts')];
  const source = join(here, '..', 'native', 'test', 'preload_allocations.cc');
  const compile = ['-std=c++17', '-O2', '-shared', '-fPIC', '-o', library, source];
  if (spawnSync('c++', compile, { stdio: 'inherit' }).status !== 0) {
    console.log('SKIPPED: allocations of native code, since there is no C++ compiler');
    return [];
  }
  writeFileSync(counts, new Uint8Array(24));
  const script = join(here, 'memory', 'steady-state.ts');
  const output = execFileSync(process.execPath, ['--import', 'tsx', script, checkpoint, file, counts], {
    env: { ...process.env, LD_PRELOAD: library, COUNTED_OBJECT: 'whittle.node', COUNT_FILE: counts },
    encoding: 'utf8',
  });
  const { allocations, bytes } = JSON.parse(output) as { allocations: number; bytes: number };
  return [
    { work: `${work}, native allocations of a warm run`, unit: 'allocations', whittle: round(allocations), peers: {} },
    { work: `${work}, their bytes`, unit: 'bytes', whittle: round(bytes), peers: {} },
  ];
}

function writeWork(work: Work): string {
  const file = join(temporaryFolder(), 'work.json');
  writeFileSync(file, JSON.stringify(work));
  return file;
}
