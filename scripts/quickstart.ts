/**
 * The quick start, `npm start`: runs examples/quickstart/recipe.yaml, shows what each model scores, weighs and does a
 * second, and answers five questions with the int8 model. Called again, it keeps the steps that are finished. The run's
 * folder may be given; runs/quickstart by default.
 */
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { WhittleError } from '../bindings/errors.js';
import { abortOnInterrupt, interruptedExitCode } from '../lib/cli/interrupt.js';
import { runDisplay, Terminal } from '../lib/cli/terminal.js';
import { Predictor, run } from '../lib/index.js';
import { formatSeconds, formatShare, formatTable } from '../lib/report/format.js';
import { modelTable } from '../lib/report/tables.js';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..');

const questions = [
  'My new card still has not arrived, what is going on?',
  'How do I change the PIN of my card?',
  'There is a payment on my statement that I never made.',
  'What exchange rate do you use for euros?',
  'I typed the wrong account number into a transfer, can I get the money back?',
];

const terminal = new Terminal({ stream: process.stdout });
const { signal, release } = abortOnInterrupt();
try {
  await quickStart();
} catch (error) {
  terminal.close();
  if (!(error instanceof WhittleError)) throw error;
  console.error(`whittle: ${error.message}`);
  process.exitCode = error.code === 'ABORTED' ? interruptedExitCode() : 1;
} finally {
  release();
}

async function quickStart(): Promise<void> {
  const { checkpoint, report, reportFile } = await run(join(root, 'examples', 'quickstart', 'recipe.yaml'), {
    folder: process.argv[2] ?? join(root, 'runs', 'quickstart'),
    signal,
    onProgress: runDisplay(terminal),
  });
  terminal.line(`\n${modelTable(report)}\n`);
  terminal.line(`${await answers(checkpoint)}\n`);
  const reportPath = relative(process.cwd(), reportFile);
  const model = relative(process.cwd(), checkpoint);
  terminal.line(
    `All in ${formatSeconds(report.seconds)}. Report: ${reportPath}. Next: npm run whittle -- predict ${model} YOUR.csv --text-column text -o out.csv`,
  );
}

/** The five questions with their intents, as the model sees them. */
async function answers(model: string): Promise<string> {
  await using predictor = await Predictor.load(model);
  const predictions = await predictor.predict(questions);
  const rows = questions.map((question, index) => {
    const { label, score } = predictions[index]!;
    return [question, label ?? '', formatShare(score)];
  });
  return formatTable(['question', 'intent', 'confidence'], rows);
}
