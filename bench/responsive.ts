/** Whether the JavaScript thread stays responsive while whittle predicts: the delay of its event loop, at most 20 ms (p99). */
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { quantize } from '../lib/compress/quantize.js';
import { round, type Benchmark, type Row } from './benchmark.js';
import { makeUpModel } from './harness/made-up-model.js';
import { modelFolder, sampleTexts, temporaryFolder } from './harness/models.js';
import { pinned } from './harness/pinned.js';

/** Milliseconds. */
const p99Bound = 20;
const here = dirname(fileURLToPath(import.meta.url));

export const benchmark: Benchmark = {
  summary: "the event loop's delay (p99) while predicting, MiniLM-L6, int8",
  async run(options) {
    const int8 = async (task: 'text-classification' | 'token-classification') => {
      const float32 = await makeUpModel('MiniLM-L6', options.shared, modelFolder, task);
      return (await quantize(float32, { method: 'dynamic' }, { folder: temporaryFolder(), threads: 0 })).checkpoint;
    };
    const [classifier, tagger] = [await int8('text-classification'), await int8('token-classification')];
    const rows: Row[] = [];
    const notes: Record<string, unknown> = {};
    for (const [name, data, checkpoint] of [
      ['Banking77', 'banking77', classifier],
      ['AG News', 'ag_news', classifier],
      ['CoNLL-2003', 'conll2003', tagger],
    ] as const)
      for (const form of ['predict', 'predictStream'] as const) {
        const file = join(temporaryFolder(), 'texts.json');
        writeFileSync(file, JSON.stringify(sampleTexts(options.shared, data, 3000)));
        const script = join(here, 'peers', 'event-loop.ts');
        const args = ['--import', 'tsx', script, checkpoint, file, form];
        const output = execFileSync(...pinned(options.cpus, process.execPath, args), { encoding: 'utf8' });
        const delays = JSON.parse(output) as { p99: number };
        const work = `${name}, ${form}, event-loop delay p99`;
        console.log(`${work}: ${delays.p99.toFixed(1)} ms, ${p99Bound} at most`);
        rows.push({ work, unit: 'ms', whittle: round(delays.p99), peers: {} });
        notes[work] = delays;
      }
    return { rows, notes };
  },
};
