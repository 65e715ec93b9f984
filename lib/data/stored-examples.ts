/** Examples on the disk, for sets larger than memory: read by number, written once. */
import { closeSync, mkdtempSync, openSync, readSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { writeError } from '../atomic.js';
import type { Example } from './batch.js';
import type { Examples } from './examples.js';

/** What an example has beside its ids, as bits of its first integer; the numbers of its target are above them. */
const has = { tokenTypes: 1, tokenLabels: 2, label: 4 };
const targetShift = 8;

/** Integers that are written, or read when all examples are gone through, at once. */
const blockIntegers = 1 << 18;

/**
 * Examples in a file that has no name any more: it is gone when the process is, whatever ends it. What is kept of an
 * example is what training reads: ids, token types, labels and targets. 8 bytes an example stay in memory.
 *
 * @example
 * const examples = await StoredExamples.write(batches, folder); // batches: AsyncIterable<Example[]>
 * examples.at(17); // read from the disk
 * examples.close();
 */
export class StoredExamples implements Examples {
  readonly length: number;
  readonly vocabulary: Int32Array;
  readonly #file: number;
  /** Where each example begins, and after the last one the end, in integers. */
  readonly #starts: Float64Array;
  readonly #onClose: FinalizationRegistry<number>;

  private constructor(file: number, starts: Float64Array, ids: ReadonlySet<number>) {
    this.#file = file;
    this.#starts = starts;
    this.length = starts.length - 1;
    this.vocabulary = Int32Array.from(ids).sort();
    this.#onClose = new FinalizationRegistry(closeSync);
    this.#onClose.register(this, file, this);
  }

  /**
   * @param folder an existing folder on a disk with room for 4 bytes a token, twice that for pairs.
   * @throws WhittleError IO if it cannot be written; what `batches` throws.
   */
  static async write(batches: AsyncIterable<readonly Example[]>, folder = tmpdir()): Promise<StoredExamples> {
    const file = openNameless(folder);
    const ids = new Set<number>();
    let starts = new Float64Array(1024);
    let count = 0;
    let block = new Int32Array(blockIntegers);
    let filled = 0;
    const flush = () => {
      writeWhole(file, new Uint8Array(block.buffer, 0, filled * 4), folder);
      filled = 0;
    };
    try {
      for await (const batch of batches) {
        for (const example of batch) {
          const size = sizeOf(example);
          if (filled + size > block.length) flush();
          if (size > block.length) block = new Int32Array(size);
          pack(example, block.subarray(filled, filled + size));
          filled += size;
          for (const id of example.inputIds) ids.add(id);
          if (count + 1 === starts.length) starts = grown(starts);
          starts[count + 1] = starts[count]! + size;
          count++;
        }
      }
      flush();
    } catch (error) {
      closeSync(file);
      throw error;
    }
    return new StoredExamples(file, starts.slice(0, count + 1), ids);
  }

  at(index: number): Example | undefined {
    return index < 0 || index >= this.length ? undefined : this.slice(index, index + 1)[0];
  }

  slice(start: number, end: number): Example[] {
    const [first, last] = [Math.max(start, 0), Math.min(end, this.length)];
    if (first >= last) return [];
    const from = this.#starts[first]!;
    const integers = new Int32Array(this.#starts[last]! - from);
    readWhole(this.#file, new Uint8Array(integers.buffer), from * 4);
    return Array.from({ length: last - first }, (_, at) =>
      unpack(integers.subarray(this.#starts[first + at]! - from, this.#starts[first + at + 1]! - from)),
    );
  }

  *[Symbol.iterator](): Generator<Example, void, undefined> {
    for (let first = 0; first < this.length;) {
      let last = first + 1;
      while (last < this.length && this.#starts[last + 1]! - this.#starts[first]! <= blockIntegers) last++;
      yield* this.slice(first, last);
      first = last;
    }
  }

  /** Gives the disk space back. */
  close(): void {
    this.#onClose.unregister(this);
    closeSync(this.#file);
  }
}

function openNameless(folder: string): number {
  try {
    const made = mkdtempSync(join(folder, '.examples-'));
    try {
      return openSync(join(made, 'ids'), 'wx+', 0o600);
    } finally {
      rmSync(made, { recursive: true });
    }
  } catch (error) {
    throw writeError(error, folder);
  }
}

function writeWhole(file: number, bytes: Uint8Array, folder: string): void {
  try {
    for (let done = 0; done < bytes.length;) done += writeSync(file, bytes, done);
  } catch (error) {
    throw writeError(error, folder);
  }
}

function readWhole(file: number, bytes: Uint8Array, position: number): void {
  for (let done = 0; done < bytes.length;) {
    const read = readSync(file, bytes, done, bytes.length - done, position + done);
    if (read === 0) throw new Error('the file of the examples ends before its last example');
    done += read;
  }
}

function grown(starts: Float64Array): Float64Array<ArrayBuffer> {
  const larger = new Float64Array(2 * starts.length);
  larger.set(starts);
  return larger;
}

function hasTypes({ tokenTypeIds }: Example): boolean {
  return tokenTypeIds.some((type) => type !== 0);
}

function sizeOf(example: Example): number {
  const { inputIds, tokenLabels, label, target } = example;
  const arrays = 1 + (hasTypes(example) ? 1 : 0) + (tokenLabels ? 1 : 0);
  return 2 + arrays * inputIds.length + (label === undefined ? 0 : 1) + (target?.length ?? 0);
}

/** `flags, tokens, inputIds, [tokenTypeIds], [tokenLabels], [label], [target as bits of float32]` */
function pack(example: Example, integers: Int32Array): void {
  const { inputIds, tokenTypeIds, tokenLabels, label, target } = example;
  const types = hasTypes(example);
  integers[0] =
    (types ? has.tokenTypes : 0) |
    (tokenLabels ? has.tokenLabels : 0) |
    (label === undefined ? 0 : has.label) |
    ((target?.length ?? 0) << targetShift);
  integers[1] = inputIds.length;
  let at = 2;
  for (const array of [inputIds, ...(types ? [tokenTypeIds] : []), ...(tokenLabels ? [tokenLabels] : [])]) {
    integers.set(array, at);
    at += array.length;
  }
  if (label !== undefined) integers[at++] = label;
  if (target) integers.set(new Int32Array(target.slice().buffer), at);
}

function unpack(integers: Int32Array): Example {
  const [flags, tokens] = [integers[0]!, integers[1]!];
  let at = 2;
  const take = (count: number) => integers.subarray(at, (at += count));
  const example: Example = {
    inputIds: take(tokens),
    tokenTypeIds: flags & has.tokenTypes ? take(tokens) : new Int32Array(tokens),
  };
  if (flags & has.tokenLabels) example.tokenLabels = take(tokens);
  if (flags & has.label) example.label = take(1)[0]!;
  const numbers = flags >> targetShift;
  if (numbers > 0) example.target = new Float32Array(take(numbers).slice().buffer);
  return example;
}
