/** Runs in a worker thread: predicts texts and posts the results. */
import { parentPort, workerData } from 'node:worker_threads';
import { Predictor } from '../../../lib/predict/predictor.js';

const { folder, texts, rounds } = workerData as { folder: string; texts: string[]; rounds: number };
await using predictor = await Predictor.load(folder, { threads: 1, batchTokens: 64 });
for (let round = 1; round < rounds; round++) await predictor.predict(texts);
parentPort!.postMessage(await predictor.predict(texts, { allScores: true }));
