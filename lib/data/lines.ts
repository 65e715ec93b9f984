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
}

const newline = 0x0a;
const blockBytes = 1 << 18;
const byteOrderMark = '\ufeff';

/**
 * The lines of a UTF-8 file, without their ends (`\n` or `\r\n`) and without a byte order mark, at most some hundred
 * kilobytes at a time in memory (or one line, if that is longer).
 *
 * @throws WhittleError `BAD_DATA` if the file does not exist or a line is not UTF-8, `IO` if reading fails.
 */
export async function* readLines(file: string): AsyncGenerator<Line, void, undefined> {
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
    const lines = decode(block.subarray(0, -1), file, number).split('\n');
    for (const text of lines) yield { text: trimLine(text, number), number: number++ };
  }
  const last = Buffer.concat(rest);
  if (last.length > 0) yield { text: trimLine(decode(last, file, number), number), number };
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

function decode(block: Buffer, file: string, firstLine: number): string {
  if (isUtf8(block)) return block.toString('utf8');
  let line = firstLine;
  for (let start = 0; ; line++) {
    const end = block.indexOf(newline, start);
    const bytes = block.subarray(start, end < 0 ? block.length : end);
    if (!isUtf8(bytes) || end < 0) {
      throw new WhittleError('BAD_DATA', `${file}:${line}: expected UTF-8 text but found other bytes`);
    }
    start = end + 1;
  }
}

function trimLine(text: string, number: number): string {
  const start = number === 1 && text.startsWith(byteOrderMark) ? 1 : 0;
  return text.slice(start, text.endsWith('\r') ? -1 : undefined);
}
