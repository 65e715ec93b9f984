/** Ctrl-C: the first asks the work to stop cleanly, the second ends the process. */

/** Exit code of a process that Ctrl-C stopped, as shells have it: 128 + SIGINT. */
export const interruptedExitCode = 130;

/**
 * A signal that aborts at Ctrl-C, and a function that stops listening.
 * @example
 * const { signal, release } = abortOnInterrupt();
 * await run('recipe.yaml', { signal }).finally(release);
 */
export function abortOnInterrupt(): { signal: AbortSignal; release: () => void } {
  const controller = new AbortController();
  const stop = () => {
    if (controller.signal.aborted) process.exit(interruptedExitCode);
    controller.abort();
  };
  process.on('SIGINT', stop).on('SIGTERM', stop);
  return {
    signal: controller.signal,
    release: () => void process.off('SIGINT', stop).off('SIGTERM', stop),
  };
}
