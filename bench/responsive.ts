/** Whether the JavaScript thread stays responsive while whittle predicts: the delay of its event loop, at most 20 ms (p99). */
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { round, type Benchmark, type Row } from './benchmark.js';
import { sampleTexts, temporaryFolder } from './harness/models.js';
import { pinned } from './harness/pinned.js';
import { trainedModel } from './harness/trained-models.js';

const here = dirname(fileURLToPath(import.meta.url));

export const benchmark: Benchmark = {
  summary: "the event loop's delay (p99) while predicting, MiniLM-L6, int8",
  async run(options) {
    const { int8 } = await trainedModel('banking77', options);
    const entities = await trainedModel('conll2003', options);
    const rows: Row[] = [];
    const notes: Record<string, unknown> = {};
    for (const [name, data, checkpoint] of [
      ['Banking77', 'banking77', int8],
      ['AG News', 'ag_news', int8],
      ['CoNLL-2003', 'conll2003', entities.int8],
    ] as const)
      for (const form of ['predict', 'predictStream'] as const) {
        const file = join(temporaryFolder(), 'texts.json');
        writeFileSync(file, JSON.stringify(sampleTexts(options.shared, data, 3000)));
        const script = join(here, 'peers', 'event-loop.ts');
        const args = ['--import', 'tsx', script, checkpoint, file, form];
        const output = execFileSync(...pinned(options.cpus, process.execPath, args), { encoding: 'utf8' });
        const delays = JSON.parse(output) as { p99: number };
        const work = `${name}, ${form}, event-loop delay p99`;
        rows.push({ work, unit: 'ms', whittle: round(delays.p99), peers: {} });
        notes[work] = delays;
      }
    return { rows, notes };
  },
};
