#!/usr/bin/env node
/** The command `whittle`: a thin layer over the library. */
import { readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { WhittleError } from '../../bindings/errors.js';
import { addDoctor, packageFile } from './doctor.js';
import { addEvaluate } from './evaluate.js';
import { allowReaderToLeave, interruptedExitCode } from './interrupt.js';
import { addPredict } from './predict.js';
import { addRun } from './run.js';
import { addTune } from './tune.js';

const { version } = JSON.parse(readFileSync(packageFile(), 'utf8')) as { version: string };
const program = new Command('whittle')
  .description('Fine-tune a transformer in stages, prune, distill and quantize it, and predict in bulk.')
  .version(version)
  .showSuggestionAfterError()
  .exitOverride()
  .configureOutput({ outputError: (text, write) => write(text.replace(/^error: /, 'whittle: ')) });

for (const add of [addRun, addTune, addPredict, addEvaluate, addDoctor]) {
  add(program).exitOverride().option('--verbose', 'show the stack trace of an error');
}

allowReaderToLeave();
try {
  await program.parseAsync();
} catch (error) {
  const code = report(error);
  process.exitCode ??= code; // a reader that went away has set its own
}

/** Tells what went wrong in one line, and the exit code that follows from it. */
function report(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 1; // commander has told it already
  const verbose = process.argv.includes('--verbose');
  const known = error instanceof WhittleError;
  const text = error instanceof Error ? error.message : String(error);
  // What the library calls the caller's signal is Ctrl-C here.
  const message = known && text === "Stopped by the caller's signal" ? 'stopped' : text;
  if (process.argv.includes('--json')) {
    process.stdout.write(`${JSON.stringify({ type: 'error', code: known ? error.code : 'INTERNAL', message })}\n`);
  }
  const hint = known || verbose ? '' : ' (a defect of whittle; --verbose shows where)';
  process.stderr.write(`whittle: ${message}${hint}\n`);
  if (verbose && error instanceof Error) process.stderr.write(`${error.stack}\n`);
  return known && error.code === 'ABORTED' ? interruptedExitCode() : 1;
}
