/** Takes a stream through in windows: while one runs, the next is collected. Order is kept and memory bounded. */
import { WhittleError } from '../../bindings/errors.js';

export type Inputs<I> = Iterable<I> | AsyncIterable<I>;

export interface WindowWork<I, P, R> {
  /** Makes an input ready; what it throws ends the stream after the inputs before it. */
  prepare: (input: I, index: number) => P;
  /** Tokens of a prepared input. */
  size: (prepared: P) => number;
  /** The results of a window, in order. */
  run: (window: P[], signal: AbortSignal) => Promise<R[]>;
  /** A window is full at so many tokens. */
  windowTokens: number;
  signal?: AbortSignal | undefined;
}

/**
 * The results of `inputs`, in order. At most three windows are in memory: one whose results are being taken, one that
 * runs, one that is collected. A source that makes a pause is not waited for while nothing runs: what has come is run.
 *
 * @throws WhittleError `ABORTED`; what the source, `prepare` or `run` throw.
 */
export async function* runInWindows<I, P, R>(
  inputs: Inputs<I>,
  work: WindowWork<I, P, R>,
): AsyncGenerator<R, void, undefined> {
  const stop = new AbortController();
  const source = new Source(inputs, work);
  const onAbort = () => {
    stop.abort();
    source.abort();
  };
  if (work.signal?.aborted) throw aborted();
  work.signal?.addEventListener('abort', onAbort, { once: true });
  let running: Promise<R[]> | undefined;
  try {
    for (;;) {
      const window = await source.collect(running);
      const results = await running;
      running = undefined;
      if (work.signal?.aborted) throw aborted();
      if (window.items.length > 0) {
        running = work.run(window.items, stop.signal);
        // Its failure is met when it is awaited, perhaps only after the consumer comes back.
        running.catch(() => undefined);
      }
      if (results) yield* results;
      if (!window.isLast) continue;
      if (running) yield* await running;
      if (window.failure) throw window.failure.error;
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

/** An iterator, sync or async, read one window at a time. */
class Source<I, P> {
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
    private readonly work: Pick<WindowWork<I, P, unknown>, 'prepare' | 'size' | 'windowTokens'>,
  ) {
    this.isAsync = Symbol.asyncIterator in inputs;
    this.iterator = Symbol.asyncIterator in inputs ? inputs[Symbol.asyncIterator]() : inputs[Symbol.iterator]();
  }

  /** Items up to a full window; fewer, or none, if the source pauses and `running`, the window before, is done. */
  async collect(running: Promise<unknown> | undefined): Promise<Window<P>> {
    const items: P[] = [];
    const pauses = this.isAsync ? this.watchForPauses(items, running) : undefined;
    try {
      for (let tokens = 0; tokens < this.work.windowTokens;) {
        const next = this.isAsync ? await this.nextOrPause() : (this.iterator.next() as IteratorResult<I>);
        if (next === undefined) break;
        if (next.done) {
          this.isOpen = false;
          return { items, isLast: true };
        }
        const prepared = this.work.prepare(next.value, this.index++);
        tokens += this.work.size(prepared);
        items.push(prepared);
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
      const settle = () => {
        this.pending = undefined;
        this.interrupt = undefined;
      };
      this.interrupt = (error) => (error ? reject(error) : resolve(undefined));
      this.pending!.then(
        (result) => {
          settle();
          resolve(result);
        },
        (error: unknown) => {
          settle();
          reject(error as Error);
        },
      );
    });
  }

  /**
   * Interrupts the wait when nothing runs, one turn of the event loop brought nothing, and there is something to go on
   * with: items to run, or results of the window before to deliver.
   */
  private watchForPauses(items: readonly P[], running: Promise<unknown> | undefined) {
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
