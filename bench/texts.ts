/** Texts to labels at real lengths, tokenization included: whittle's int8 predictor beside onnxruntime-node. */
import { writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { row, round, type Benchmark, type Row } from './benchmark.js';
import { contest } from './harness/contest.js';
import { onnxRuntimeContestant, whittleContestant } from './harness/contestants.js';
import { benchmarkModels, testTexts } from './harness/models.js';

export const benchmark: Benchmark = {
  summary: 'texts/s from texts to labels, int8, beside onnxruntime-node [CHECKPOINT]',
  async run(options) {
    const models = await benchmarkModels(options, options.args[0]);
    const rows: Row[] = [];
    for (const [dataset, name] of [
      ['banking77', 'Banking77'],
      ['ag_news', 'AG News'],
    ] as const) {
      const file = join(dirname(models.int8), `${dataset}.json`);
      const texts = testTexts(options.shared, dataset, 1024);
      writeFileSync(file, JSON.stringify(texts));
      const contestants = [whittleContestant(models.int8, ['texts', file])];
      if (models.onnxInt8) contestants.push(onnxRuntimeContestant(models.onnxInt8, ['texts', file, models.float32]));
      const { whittle, ...peers } = await contest(contestants, { cpus: options.cpus, turns: 7 });
      const rounded = Object.fromEntries(Object.entries(peers).map(([peer, speed]) => [peer, round(speed)]));
      rows.push(
        row({
          work: `MiniLM-L6 ${name}, ${texts.length} texts`,
          unit: 'texts/s',
          whittle: round(whittle!),
          peers: rounded,
        }),
      );
    }
    return { rows };
  },
};
