/** The journal of a study: JSON lines, only ever appended to, that a crash can at worst rob of its last line. */
import { open, readFile, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
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
    /** What was wrong with a last line that was removed. */
    readonly note: string | undefined,
  ) {}

  /**
   * Reads the journal of a study folder, or begins one. A last line that a crash spoiled is removed.
   * @throws WhittleError `IO`; `BAD_DATA` for a line before the last that is not a record of a study.
   */
  static async open(folder: string): Promise<Journal> {
    const file = join(folder, 'journal.jsonl');
    const content = await readFile(file).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return Buffer.alloc(0);
      throw writeError(error, file);
    });
    const records: Record<string, unknown>[] = [];
    let start = 0;
    let note: string | undefined;
    while (start < content.length) {
      const end = content.indexOf(0x0a, start);
      const line = content.subarray(start, end < 0 ? content.length : end).toString('utf8');
      const record = end < 0 ? undefined : readRecord(line, records.length === 0);
      const place = `${file}:${records.length + 1}`;
      if (!record) {
        const rest = end < 0 ? '' : content.subarray(end + 1).toString('utf8');
        if (rest.trim() !== '') throw badLine(place, line, records.length === 0);
        note = `${place}: the last line is damaged, as a crash leaves it, and was removed`;
        await truncate(file, start);
        break;
      }
      records.push(record);
      start = end + 1;
    }
    const [study, ...trials] = records;
    return new Journal(file, study, trials as unknown as Trial[], note);
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

const trialSchema = z.looseObject({
  trial: z.int().min(0),
  parameters: z.record(z.string(), z.unknown()),
  state: z.enum(['finished', 'failed']),
  value: z.number().optional(),
});
const headingSchema = z.looseObject({ study: z.looseObject({}), recipe: z.looseObject({}) });

/** A line of the journal; undefined if it is none. */
function readRecord(line: string, isHeading: boolean): Record<string, unknown> | undefined {
  try {
    const parsed = (isHeading ? headingSchema : trialSchema).safeParse(JSON.parse(line));
    return parsed.success ? parsed.data : undefined;
  } catch {
    return undefined;
  }
}

function badLine(place: string, line: string, isHeading: boolean): WhittleError {
  const [what, advice] = isHeading
    ? ['the study', 'tune with overwrite to start anew']
    : ['a trial', 'delete the line to run that trial again, or tune with overwrite to start anew'];
  const found = line.length > 40 ? `${line.slice(0, 40)}...` : line;
  return new WhittleError(
    'BAD_DATA',
    `${place}: expected ${what} as a JSON object but found ${JSON.stringify(found)}; ${advice}`,
  );
}
