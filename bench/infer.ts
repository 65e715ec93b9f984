/** Token ids to logits at fixed lengths: whittle's int8 engine beside onnxruntime-node's dynamic int8. */
import { row, round, type Benchmark, type Row } from './benchmark.js';
import { contest } from './harness/contest.js';
import { onnxRuntimeContestant, whittleContestant } from './harness/contestants.js';
import { benchmarkModels } from './harness/models.js';

const shapes = [
  [32, 128],
  [1, 128],
  [1, 16],
  [8, 512],
] as const;

export const benchmark: Benchmark = {
  summary: 'sequences/s at fixed lengths, int8, beside onnxruntime-node [CHECKPOINT]',
  async run(options) {
    const models = await benchmarkModels(options, options.args[0]);
    const rows: Row[] = [];
    for (const [sequences, length] of shapes) {
      const args = ['ids', String(sequences), String(length)];
      const contestants = [whittleContestant(models.int8, args)];
      if (models.onnxInt8) contestants.push(onnxRuntimeContestant(models.onnxInt8, args));
      const { whittle, ...peers } = await contest(contestants, { cpus: options.cpus, turns: sequences > 1 ? 9 : 41 });
      const rounded = Object.fromEntries(Object.entries(peers).map(([peer, speed]) => [peer, round(speed)]));
      rows.push(
        row({
          work: `MiniLM-L6 ${sequences}x${length}`,
          unit: 'sequences/s',
          whittle: round(whittle!),
          peers: rounded,
        }),
      );
    }
    return { rows };
  },
};
