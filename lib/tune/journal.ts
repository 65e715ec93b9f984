/** The journal of a study: JSON lines, only ever appended to, that a crash can at worst rob of its last line. */
import { open, readFile, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { WhittleError } from '../../bindings/errors.js';
import { writeError } from '../atomic.js';
import type { Parameters } from './space.js';

/** A trial that ended. */
export interface Trial {
  /** From 0. */
  trial: number;
  parameters: Parameters;
  state: 'finished' | 'failed';
  /** Of the metric sought; absent if the trial failed. */
  value?: number;
  /** Scores of every step. */
  metrics?: Record<string, Record<string, number>>;
  error?: string;
  seconds: number;
}

export class Journal {
  private constructor(
    private readonly file: string,
    /** The first line: what is searched, and how. */
    readonly study: Record<string, unknown> | undefined,
    readonly trials: readonly Trial[],
  ) {}

  /**
   * Reads the journal of a study folder, or begins one. A cut-off last line is removed.
   * @throws WhittleError `IO`; `BAD_DATA` for a line in the middle that is not JSON.
   */
  static async open(folder: string): Promise<Journal> {
    const file = join(folder, 'journal.jsonl');
    const content = await readFile(file).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return Buffer.alloc(0);
      throw writeError(error, file);
    });
    const end = content.lastIndexOf(0x0a) + 1;
    if (end < content.length) await truncate(file, end);
    const lines = content.subarray(0, end).toString('utf8').split('\n').slice(0, -1);
    const records = lines.map((line, index) => {
      try {
        return JSON.parse(line) as Record<string, unknown>;
      } catch {
        throw new WhittleError(
          'BAD_DATA',
          `${file}:${index + 1}: expected a JSON object but found ${line.slice(0, 40)}`,
        );
      }
    });
    const [study, ...trials] = records;
    return new Journal(file, study, trials as unknown as Trial[]);
  }

  /** Appends one record and waits until it is on the disk. */
  async append(record: object): Promise<void> {
    try {
      const handle = await open(this.file, 'a');
      try {
        await handle.writeFile(`${JSON.stringify(record)}\n`);
        await handle.sync();
      } finally {
        await handle.close();
      }
    } catch (error) {
      throw writeError(error, this.file);
    }
  }
}
