/**
 * Predicting in a program: `npm start` first, then `node --import tsx examples/programs/predict.ts`.
 * In a program of your own, import from 'whittle-ml'.
 */
import { Predictor } from '../../lib/index.js';

await using predictor = await Predictor.load('runs/quickstart/quantize', { threshold: 0.5 });

// One text gives one prediction; below the threshold the label is null.
const { label, score } = await predictor.predict('Why was I charged twice for the same coffee?');
console.log(label ?? 'not sure', score);

// An array gives an array. With `allScores`, every class's probability is there as well.
const questions = ['Can I top up with a cheque?', 'Do you like jazz?'];
for (const { label, scores } of await predictor.predict(questions, { allScores: true })) {
  const best = Object.entries(scores)
    .sort(([, a], [, b]) => b - a)
    .slice(0, 3);
  console.log(label ?? 'not sure', best);
}
