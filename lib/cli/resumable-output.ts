/**
 * An output that a stopped command goes on with. Rows go to `OUTPUT.partial`, bad ones to `OUTPUT.rejected.jsonl.partial`,
 * and `OUTPUT.progress.json` says from time to time how many rows of the input these stand for. At the end the files
 * take their names, and the last is gone.
 */
import { open, readFile, rename, rm, rmdir, stat, type FileHandle } from 'node:fs/promises';
import { WhittleError } from '../../bindings/errors.js';
import { writeError, writeFileWhole } from '../atomic.js';
import { lockFolder } from '../recipe/lock.js';

/** How far the files are known to be on the disk. */
export interface OutputProgress {
  /** Good rows written. */
  rows: number;
  rejected: number;
  bytes: number;
  rejectedBytes: number;
}

/**
 * What an output depends on, by name. A file is its path, a line end, and what tells its contents from others:
 * size and time of change.
 */
export type Command = Readonly<Record<string, string | number | boolean | undefined>>;

/** A row that could not be predicted. */
export interface RejectedRow {
  file: string;
  line: number;
  error: string;
}

const secondsBetweenSaves = 2;
const bufferedCharacters = 1 << 16;

export class ResumableOutput {
  #buffer = '';
  #rejectedBuffer = '';
  #lastSave = performance.now();
  /** Whether the disk holds how far the files go. */
  #isSaved: boolean;

  private constructor(
    readonly file: string,
    private readonly command: Command,
    private readonly rows: FileHandle,
    private readonly rejected: FileHandle,
    private readonly unlock: () => Promise<void>,
    readonly progress: OutputProgress,
  ) {
    this.#isSaved = progress.rows > 0;
  }

  /**
   * Goes on with what the same command left, or begins anew.
   * @param command what the output depends on, by the name that an error calls it: model, input and options.
   * @param overwrite begins anew whatever another command left.
   * @throws WhittleError `BAD_OPTION` if another command left something, saying what differs;
   * `IO` if another process is writing the same output, or the files cannot be written.
   */
  static async open(file: string, command: Command, overwrite: boolean): Promise<ResumableOutput> {
    const unlock = await lockOutput(file);
    try {
      const saved = overwrite ? undefined : await readProgress(file, command);
      const progress = saved ?? { rows: 0, rejected: 0, bytes: 0, rejectedBytes: 0 };
      const rows = await open(partialName(file), saved ? 'r+' : 'w');
      const rejected = await open(partialName(rejectedName(file)), saved ? 'r+' : 'w');
      await rows.truncate(progress.bytes);
      await rejected.truncate(progress.rejectedBytes);
      return new ResumableOutput(file, command, rows, rejected, unlock, progress);
    } catch (error) {
      await unlock();
      throw writeError(error, file);
    }
  }

  /** Appends a row's text. `rows` is how many rows of the input it stands for: 0 for a header. */
  async write(text: string, rows: 0 | 1): Promise<void> {
    this.#buffer += text;
    this.progress.rows += rows;
    if (this.#buffer.length >= bufferedCharacters) await this.#flush();
  }

  reject(row: RejectedRow): void {
    this.#rejectedBuffer += `${JSON.stringify(row)}\n`;
    this.progress.rejected += 1;
  }

  /** Saves if some seconds have gone by. Call it where every row before the last written one is dealt with. */
  async saveNowAndThen(): Promise<void> {
    if ((performance.now() - this.#lastSave) / 1000 >= secondsBetweenSaves) await this.save();
  }

  /** Writes everything to the disk, then how far it goes. */
  async save(): Promise<void> {
    await this.#flush();
    try {
      await this.rows.datasync();
      await this.rejected.datasync();
    } catch (error) {
      throw writeError(error, this.file);
    }
    await writeFileWhole(progressName(this.file), JSON.stringify({ command: this.command, ...this.progress }));
    this.#lastSave = performance.now();
    this.#isSaved = true;
  }

  /** Gives the files their names. The rejected rows' one exists only if there are any. */
  async finish(): Promise<void> {
    await this.save();
    await this.#closeFiles();
    try {
      if (this.progress.rejected > 0) await rename(partialName(rejectedName(this.file)), rejectedName(this.file));
      else {
        await rm(partialName(rejectedName(this.file)), { force: true });
        await rm(rejectedName(this.file), { force: true });
      }
      await rename(partialName(this.file), this.file);
      await rm(progressName(this.file), { force: true });
    } catch (error) {
      throw writeError(error, this.file);
    }
    await this.unlock();
  }

  /** Lets go of the files: as they are, for the same command to go on with, or without a trace if nobody can go on with them. */
  async close(): Promise<void> {
    await this.#closeFiles();
    if (this.progress.rows === 0 || !this.#isSaved) {
      const { file } = this;
      for (const path of [partialName(file), partialName(rejectedName(file)), progressName(file)])
        await rm(path, { force: true });
    }
    await this.unlock();
  }

  async #closeFiles(): Promise<void> {
    await this.rows.close();
    await this.rejected.close();
  }

  async #flush(): Promise<void> {
    const { progress } = this;
    progress.bytes += await append(this.rows, this.#buffer, progress.bytes, partialName(this.file));
    this.#buffer = '';
    const rejectedFile = partialName(rejectedName(this.file));
    progress.rejectedBytes += await append(this.rejected, this.#rejectedBuffer, progress.rejectedBytes, rejectedFile);
    this.#rejectedBuffer = '';
  }
}

/** Keeps a second process from the same output. */
async function lockOutput(file: string): Promise<() => Promise<void>> {
  const folder = `${file}.lock`;
  const removeFolder = () => rmdir(folder).catch(() => undefined); // not empty: another process has just taken it
  try {
    const unlock = await lockFolder(folder, file);
    return async () => {
      await unlock();
      await removeFolder();
    };
  } catch (error) {
    await removeFolder();
    throw error;
  }
}

export function rejectedName(file: string): string {
  return `${file}.rejected.jsonl`;
}

export function partialName(file: string): string {
  return `${file}.partial`;
}

function progressName(file: string): string {
  return `${file}.progress.json`;
}

/** Writes all of `text` at `position`. @returns its bytes. */
async function append(handle: FileHandle, text: string, position: number, file: string): Promise<number> {
  const bytes = Buffer.from(text, 'utf8');
  try {
    for (let done = 0; done < bytes.length;) {
      const { bytesWritten } = await handle.write(bytes, done, bytes.length - done, position + done);
      if (bytesWritten === 0) throw new WhittleError('IO', `${file} could not be written: the disk took no more bytes`);
      done += bytesWritten;
    }
  } catch (error) {
    throw writeError(error, file);
  }
  return bytes.length;
}

/**
 * What a stopped command left; undefined if there is nothing.
 * @throws WhittleError `BAD_OPTION` if it was another command, or its files are not as it says.
 */
async function readProgress(file: string, command: Command): Promise<OutputProgress | undefined> {
  const text = await readFile(progressName(file), 'utf8').catch(() => undefined);
  if (text === undefined) return undefined;
  const saved = parseProgress(text);
  if (saved) {
    const { command: then, ...progress } = saved;
    const names = [...new Set([...Object.keys(then), ...Object.keys(command)])];
    const changes = names.filter((name) => then[name] !== command[name]).map((name) => difference(name, then, command));
    if (changes.length > 0)
      throw leftByAnother(file, `another one stopped after ${rowCount(progress)}: ${changes.join('; ')}`);
    const [bytes, rejectedBytes] = await Promise.all([partialName(file), partialName(rejectedName(file))].map(sizeOf));
    if (bytes! >= progress.bytes && rejectedBytes! >= progress.rejectedBytes) return progress;
  }
  throw leftByAnother(file, `it is damaged`);
}

function leftByAnother(file: string, what: string): WhittleError {
  return new WhittleError(
    'BAD_OPTION',
    `${partialName(file)}: expected to go on with what the same command left, but ${what}; --overwrite begins anew`,
  );
}

function rowCount({ rows }: OutputProgress): string {
  return rows === 1 ? '1 row' : `${rows} rows`;
}

function difference(name: string, then: Command, now: Command): string {
  const isFile = [then[name], now[name]].every((value) => typeof value === 'string' && value.includes('\n'));
  if (!isFile) return `${name} ${then[name] ?? 'not given'} then, ${now[name] ?? 'not given'} now`;
  const [before, after] = [then[name], now[name]].map((value) => String(value).split('\n')[0]!);
  return before === after ? `the ${name} ${after} has changed since` : `${name} ${before} then, ${after} now`;
}

function parseProgress(text: string): (OutputProgress & { command: Command }) | undefined {
  try {
    const parsed = JSON.parse(text) as OutputProgress & { command?: Command };
    return parsed.command ? { ...parsed, command: parsed.command } : undefined;
  } catch {
    return undefined;
  }
}

async function sizeOf(file: string): Promise<number> {
  return stat(file).then(
    ({ size }) => size,
    () => -1,
  );
}
