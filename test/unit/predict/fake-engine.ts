/** An engine whose logits follow from the token ids alone, for tests of what stands around the engine. */
import { setTimeout as sleep } from 'node:timers/promises';
import { WhittleError } from '../../../bindings/errors.js';
import { createTokenizer, type Tokenizer } from '../../../lib/data/tokenizer/tokenizer.js';
import type { Task } from '../../../lib/data/dataset.js';
import type { PredictorEngine } from '../../../lib/predict/predictor.js';

const letters = Array.from('abcdefghijklmnopqrstuvwxyz0123456789.,!?');
const special = ['[PAD]', '[UNK]', '[CLS]', '[SEP]'];
const vocabulary = [...special, ...letters, ...letters.map((letter) => `##${letter}`)];

/** A token a letter. */
export function letterTokenizer(): Tokenizer {
  const token = (content: string) => ({ id: vocabulary.indexOf(content), content });
  return createTokenizer(
    {
      added_tokens: special.map(token),
      normalizer: { type: 'BertNormalizer' },
      pre_tokenizer: { type: 'BertPreTokenizer' },
      post_processor: {
        type: 'BertProcessing',
        cls: ['[CLS]', vocabulary.indexOf('[CLS]')],
        sep: ['[SEP]', vocabulary.indexOf('[SEP]')],
      },
      model: { type: 'WordPiece', vocab: Object.fromEntries(vocabulary.map((piece, id) => [piece, id])) },
    },
    'tokenizer.json',
  );
}

export interface FakeEngine extends PredictorEngine {
  /** Sequence lengths of each run. */
  batches: number[][];
  running: number;
  mostRunning: number;
  disposed: number;
  /** Called at the start of each run; awaited. */
  onRun: () => void | Promise<void>;
}

/**
 * Of a text whose n-th letter of the alphabet comes first, class n % labels is the most probable; of a token likewise.
 */
export function fakeEngine(task: Task, labels: string[], delay = 0): FakeEngine {
  const logitsOf = (id: number) =>
    labels.map((_, label) => (label === Math.max(0, id - special.length) % labels.length ? 4 : 0));
  const engine: FakeEngine = {
    head: { task, labels },
    description: { positions: 32, positionOffset: 0 },
    info: { precision: 'float32', device: 'cpu', isa: 'fake', packedBytes: 0, sharedBy: 1 },
    batches: [],
    running: 0,
    mostRunning: 0,
    disposed: 0,
    onRun: () => {},
    async run({ inputIds, offsets }, { signal }) {
      if (engine.disposed) throw new WhittleError('DISPOSED', 'The engine was used after dispose()');
      engine.mostRunning = Math.max(engine.mostRunning, ++engine.running);
      try {
        engine.batches.push([...offsets.subarray(1)].map((end, sequence) => end - offsets[sequence]!));
        await engine.onRun();
        await sleep(delay);
        if (signal?.aborted) throw new WhittleError('ABORTED', "Stopped by the caller's signal");
        if (task === 'token-classification') return Float32Array.from([...inputIds].flatMap(logitsOf));
        return Float32Array.from([...offsets.subarray(0, -1)].flatMap((start) => logitsOf(inputIds[start + 1]!)));
      } finally {
        engine.running--;
      }
    },
    async dispose() {
      engine.disposed++;
    },
  };
  return engine;
}
