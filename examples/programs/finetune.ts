/**
 * Fine-tuning in a program, with a callback that sees every loss and a signal that stops it:
 * `node --import tsx examples/programs/finetune.ts`. In a program of your own, import from 'whittle-ml'.
 */
import { run } from '../../lib/index.js';

const tooLong = AbortSignal.timeout(10 * 60_000);
const { checkpoint, metrics } = await run(
  {
    name: 'program',
    model: 'models/minilm-l6',
    task: 'text-classification',
    data: { path: 'examples/quickstart/data', limit: { train: 1000, dev: 200, test: 400 } },
    steps: [
      { finetune: { stages: [{ train: ['head', 'layers.4-5'], epochs: 3, learningRate: 5e-4 }] } },
      { quantize: {} },
      { evaluate: { on: 'test' } },
    ],
  },
  {
    overwrite: true,
    signal: tooLong,
    onProgress: (event) => {
      if (event.type === 'progress' && event.loss !== undefined) console.log(event.phase, event.loss.toFixed(3));
    },
  },
);
console.log(checkpoint, metrics.evaluate?.accuracy);
