/**
 * Ctrl-C and SIGTERM: the first asks the work to stop cleanly, the second, or some seconds, end the process. A reader of
 * the output that goes away (`whittle run --json | head`) asks for the same.
 */
import { constants } from 'node:os';
import { writeError } from '../atomic.js';

/** The signal that asked the work to stop last. */
let stoppedBy: NodeJS.Signals = 'SIGINT';

/** Exit code of a process that a signal stopped, as shells have it: 130 after Ctrl-C (SIGINT), 143 after SIGTERM. */
export function interruptedExitCode(): number {
  return 128 + constants.signals[stoppedBy];
}

/** Exit code of a process whose reader went away, as shells have it: 128 + SIGPIPE. */
const readerGoneExitCode = 141;

const outputs = [process.stdout, process.stderr];

/**
 * Lets a reader of the output go away without an error; what was at work is stopped by `abortOnInterrupt`. Output that
 * cannot be written for another reason is told once, where there is still a place for it.
 */
export function allowReaderToLeave(): void {
  let isTold = false;
  for (const stream of outputs) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EPIPE') process.exitCode = readerGoneExitCode;
      else if (stream === process.stdout && !isTold) {
        isTold = true;
        process.exitCode = 1;
        process.stderr.write(`whittle: ${(writeError(error, 'standard output') as Error).message}\n`);
      }
    });
  }
}

/** How long work that was asked to stop may take for it. */
const secondsToStop = 10;

/**
 * A signal that aborts at Ctrl-C, and a function that stops listening.
 *
 * Work that does not stop within 10 seconds, or until a second Ctrl-C, is ended with the process: by the signal itself,
 * since `process.exit` waits for the threads of calls that never return.
 * @example
 * const { signal, release } = abortOnInterrupt();
 * await run('recipe.yaml', { signal }).finally(release);
 */
export function abortOnInterrupt(): { signal: AbortSignal; release: () => void } {
  const controller = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  const release = () => {
    clearTimeout(timer);
    process.off('SIGINT', stop).off('SIGTERM', stop);
    process.stdout.off('error', stopWithReader);
    process.stderr.off('error', stopAtPipe);
  };
  const end = (name: NodeJS.Signals) => {
    release();
    if (process.stderr.isTTY) process.stderr.write('\n'); // the shell's prompt does not go behind a bar
    process.kill(process.pid, name);
  };
  const stop = (name: NodeJS.Signals) => {
    if (controller.signal.aborted) return end(name);
    stoppedBy = name;
    timer = setTimeout(end, secondsToStop * 1000, name).unref();
    controller.abort();
  };
  const stopWithReader = () => controller.abort();
  const stopAtPipe = (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') controller.abort();
  };
  process.on('SIGINT', stop).on('SIGTERM', stop);
  process.stdout.on('error', stopWithReader);
  process.stderr.on('error', stopAtPipe);
  return { signal: controller.signal, release };
}
