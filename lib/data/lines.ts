/** Text files line by line, with line numbers and UTF-8 checked. */
import { isUtf8 } from 'node:buffer';
import { createReadStream } from 'node:fs';
import type { Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { WhittleError } from '../../bindings/errors.js';
import { isGzip } from './formats.js';

export interface Line {
  text: string;
  /** 1-based. */
  number: number;
  /** Of a line that is not UTF-8, whose text is then empty. */
  error?: WhittleError;
}

const newline = 0x0a;
const blockBytes = 1 << 18;
const byteOrderMark = '\ufeff';

/**
 * The lines of a UTF-8 file, without their ends (`\n` or `\r\n`) and without a byte order mark, at most some hundred
 * kilobytes at a time in memory (or one line, if that is longer).
 *
 * @param options.badLines whether lines that are not UTF-8 come with their error, instead of ending the reading.
 * @throws WhittleError `BAD_DATA` if the file does not exist or a line is not UTF-8, `IO` if reading fails.
 * @example
 * for await (const { text, number } of readLines('questions.txt')) console.log(number, text);
 */
export async function* readLines(
  file: string,
  { badLines = false }: { badLines?: boolean } = {},
): AsyncGenerator<Line, void, undefined> {
  let number = 1;
  /** The beginning of a line whose end has not been read. */
  let rest: Buffer[] = [];
  for await (const chunk of readBlocks(file)) {
    const end = chunk.lastIndexOf(newline) + 1;
    if (end === 0) {
      rest.push(chunk);
      continue;
    }
    const block = rest.length > 0 ? Buffer.concat([...rest, chunk.subarray(0, end)]) : chunk.subarray(0, end);
    rest = end < chunk.length ? [chunk.subarray(end)] : [];
    for (const line of linesOf(block.subarray(0, -1), file, number)) {
      if (line.error && !badLines) throw line.error;
      yield line;
      number++;
    }
  }
  const last = Buffer.concat(rest);
  if (last.length === 0) return;
  const line = checkedLine(last, file, number);
  if (line.error && !badLines) throw line.error;
  yield line;
}

/**
 * The bytes of a file in order, unpacked if its name ends in `.gz`.
 * @throws WhittleError as `readLines`; `BAD_DATA` for a `.gz` file that is damaged or none.
 */
export async function* readBlocks(file: string): AsyncGenerator<Buffer, void, undefined> {
  const bytes = createReadStream(file, { highWaterMark: blockBytes });
  try {
    for await (const chunk of isGzip(file) ? unpacked(bytes) : bytes) yield chunk as Buffer;
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') throw new WhittleError('BAD_DATA', `${file}: expected a data file but there is none`);
    if (code === 'EISDIR') throw new WhittleError('BAD_DATA', `${file}: expected a data file but found a folder`);
    if (code?.startsWith('Z_')) {
      throw new WhittleError('BAD_DATA', `${file}: expected gzipped data but found: ${message}`, { cause: error });
    }
    throw new WhittleError('IO', `${file}: reading failed: ${message}`, { cause: error });
  } finally {
    bytes.destroy();
  }
}

function unpacked(bytes: Readable): Readable {
  const unpacker = createGunzip({ chunkSize: blockBytes });
  bytes.on('error', (error) => unpacker.destroy(error));
  return bytes.pipe(unpacker);
}

/** The lines of a block, which does not end in a newline. */
function* linesOf(block: Buffer, file: string, firstLine: number): Generator<Line, void, undefined> {
  let number = firstLine;
  if (isUtf8(block)) {
    for (const text of block.toString('utf8').split('\n')) yield { text: trimLine(text, number), number: number++ };
    return;
  }
  for (let start = 0; start <= block.length; number++) {
    const found = block.indexOf(newline, start);
    const end = found < 0 ? block.length : found;
    yield checkedLine(block.subarray(start, end), file, number);
    start = end + 1;
  }
}

function checkedLine(bytes: Buffer, file: string, number: number): Line {
  if (isUtf8(bytes)) return { text: trimLine(bytes.toString('utf8'), number), number };
  const error = new WhittleError('BAD_DATA', `${file}:${number}: expected UTF-8 text but found other bytes`);
  return { text: '', number, error };
}

function trimLine(text: string, number: number): string {
  const start = number === 1 && text.startsWith(byteOrderMark) ? 1 : 0;
  return text.slice(start, text.endsWith('\r') ? -1 : undefined);
}
