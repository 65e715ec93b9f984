/** Joins JavaScript's AbortSignal to the abort cell that native work watches. */
import { WhittleError } from './errors.js';

/**
 * Runs native work with an `Int32Array(1)` that becomes 1 when `signal` aborts.
 * @throws WhittleError ABORTED if `signal` has aborted already, and what `work` throws.
 * @example
 * await withAbortCell(signal, (abort) => native.readParameters(parameters, abort));
 */
export async function withAbortCell<T>(
  signal: AbortSignal | undefined,
  work: (abort: Int32Array) => Promise<T>,
): Promise<T> {
  if (signal?.aborted) throw new WhittleError('ABORTED', "Stopped by the caller's signal");
  const abort = new Int32Array(1);
  const onAbort = () => Atomics.store(abort, 0, 1);
  signal?.addEventListener('abort', onAbort, { once: true });
  try {
    return await work(abort);
  } finally {
    signal?.removeEventListener('abort', onAbort);
  }
}
