/** Takes a stream through in windows: while one runs, the next is collected. Order is kept and memory bounded. */
import { WhittleError } from '../../bindings/errors.js';

export type Inputs<I> = Iterable<I> | AsyncIterable<I>;

/** Inputs `A` that were accepted become items `P` that can run, which give results `R`. */
export interface WindowWork<I, A, P, R> {
  /** Checks an input; what it throws ends the stream after the inputs before it. */
  accept: (input: I, index: number) => A;
  /** Tokens of an accepted input, about. */
  size: (accepted: A) => number;
  /** Makes a window ready, up to an input that cannot be run, which ends the stream. */
  prepare: (accepted: A[], signal: AbortSignal) => Promise<{ items: P[]; failure?: { error: unknown } }>;
  /**
   * Runs a window. What it resolves to gives the results, in order, and is called while the next window runs; it may
   * wait for the last of them.
   */
  run: (items: P[], signal: AbortSignal) => Promise<() => R[] | Promise<R[]>>;
  /** A window is full at so many tokens. */
  windowTokens: number;
  signal?: AbortSignal | undefined;
}

/**
 * The results of `inputs`, in order, a window of them at a time. At most three windows are in memory: one whose results
 * are being taken, one that runs, one that is collected and made ready. A source that makes a pause is not waited for
 * while nothing runs: what has come is run.
 *
 * @throws WhittleError `ABORTED`; what the source, `accept`, `prepare` or `run` throw.
 */
export async function* runInWindows<I, A, P, R>(
  inputs: Inputs<I>,
  work: WindowWork<I, A, P, R>,
): AsyncGenerator<R[], void, undefined> {
  const stop = new AbortController();
  const source = new Source(inputs, work);
  const onAbort = () => {
    stop.abort();
    source.abort();
  };
  if (work.signal?.aborted) throw aborted();
  work.signal?.addEventListener('abort', onAbort, { once: true });
  let running: Promise<() => R[] | Promise<R[]>> | undefined;
  try {
    for (;;) {
      const window = await source.collect(running);
      const prepared = await prepareWindow(work, window, stop.signal);
      const finish = await running;
      running = undefined;
      if (work.signal?.aborted) throw aborted();
      if (prepared.items.length > 0) {
        running = work.run(prepared.items, stop.signal);
        // Its failure is met when it is awaited, perhaps only after the consumer comes back.
        running.catch(() => undefined);
      }
      if (finish) yield await finish();
      if (!prepared.isLast) continue;
      if (running) yield await (await running)();
      if (prepared.failure) throw prepared.failure.error;
      return;
    }
  } finally {
    work.signal?.removeEventListener('abort', onAbort);
    stop.abort();
    source.close();
    await running?.catch(() => undefined);
  }
}

interface Window<P> {
  items: P[];
  isLast: boolean;
  /** What ended the source before its end. */
  failure?: { error: unknown };
}

async function prepareWindow<A, P>(
  work: Pick<WindowWork<unknown, A, P, unknown>, 'prepare'>,
  window: Window<A>,
  signal: AbortSignal,
): Promise<Window<P>> {
  const { items: accepted, ...end } = window;
  if (accepted.length === 0) return { items: [], ...end };
  try {
    const { items, failure } = await work.prepare(accepted, signal);
    return failure ? { items, isLast: true, failure } : { items, ...end };
  } catch (error) {
    return { items: [], isLast: true, failure: { error } };
  }
}

/** An iterator, sync or async, read one window at a time. */
class Source<I, A> {
  private readonly iterator: Iterator<I> | AsyncIterator<I>;
  private readonly isAsync: boolean;
  /** A next item that was asked for and has not come. */
  private pending: Promise<IteratorResult<I>> | undefined;
  /** Ends the wait for `pending`: with an error, or without anything. */
  private interrupt: ((error?: WhittleError) => void) | undefined;
  private isOpen = true;
  private index = 0;

  constructor(
    inputs: Inputs<I>,
    private readonly work: Pick<WindowWork<I, A, unknown, unknown>, 'accept' | 'size' | 'windowTokens'>,
  ) {
    this.isAsync = Symbol.asyncIterator in inputs;
    this.iterator = Symbol.asyncIterator in inputs ? inputs[Symbol.asyncIterator]() : inputs[Symbol.iterator]();
  }

  /** Items up to a full window; fewer, or none, if the source pauses and `running`, the window before, is done. */
  async collect(running: Promise<unknown> | undefined): Promise<Window<A>> {
    const items: A[] = [];
    const pauses = this.isAsync ? this.watchForPauses(items, running) : undefined;
    try {
      for (let tokens = 0; tokens < this.work.windowTokens;) {
        const next = this.isAsync ? await this.nextOrPause() : (this.iterator.next() as IteratorResult<I>);
        if (next === undefined) break;
        if (next.done) {
          this.isOpen = false;
          return { items, isLast: true };
        }
        const accepted = this.work.accept(next.value, this.index++);
        tokens += this.work.size(accepted);
        items.push(accepted);
        pauses?.onItem();
      }
      return { items, isLast: false };
    } catch (error) {
      return { items, isLast: true, failure: { error } };
    } finally {
      pauses?.stop();
    }
  }

  abort(): void {
    this.interrupt?.(aborted());
  }

  /** Tells the source that no more is wanted. */
  close(): void {
    if (!this.isOpen) return;
    this.isOpen = false;
    this.pending?.catch(() => undefined);
    // A source that waits for something cannot be waited for.
    (async () => this.iterator.return?.())().catch(() => undefined);
  }

  /** The next item, or undefined if the wait for it was interrupted; the item then comes with the next call. */
  private nextOrPause(): Promise<IteratorResult<I> | undefined> {
    this.pending ??= this.iterator.next() as Promise<IteratorResult<I>>;
    return new Promise((resolve, reject) => {
      let isWaiting = true;
      // An item that comes when nobody waits any more stays pending: it must not be taken here and lost.
      const settle = () => {
        if (!isWaiting) return false;
        isWaiting = false;
        this.pending = undefined;
        this.interrupt = undefined;
        return true;
      };
      this.interrupt = (error) => {
        isWaiting = false;
        this.interrupt = undefined;
        if (error) reject(error);
        else resolve(undefined);
      };
      this.pending!.then(
        (result) => settle() && resolve(result),
        (error: unknown) => settle() && reject(error as Error),
      );
    });
  }

  /**
   * Interrupts the wait when nothing runs, one turn of the event loop brought nothing, and there is something to go on
   * with: items to run, or results of the window before to deliver.
   */
  private watchForPauses(items: readonly A[], running: Promise<unknown> | undefined) {
    let state: 'busy' | 'idle' | 'watching' | 'stopped' = 'busy';
    let timer: NodeJS.Immediate | undefined;
    const watch = () => {
      if (state !== 'idle' || (items.length === 0 && !running)) return;
      state = 'watching';
      const before = items.length;
      timer = setImmediate(() => {
        if (state !== 'watching') return;
        state = 'idle';
        if (items.length === before) this.interrupt?.();
        else watch();
      });
    };
    const onIdle = () => {
      if (state === 'busy') state = 'idle';
      watch();
    };
    if (running) running.then(onIdle, onIdle);
    else onIdle();
    const stop = () => {
      state = 'stopped';
      clearImmediate(timer);
    };
    return { onItem: watch, stop };
  }
}

function aborted(): WhittleError {
  return new WhittleError('ABORTED', "Stopped by the caller's signal");
}
