/** Feeds a predictor with the rows of a file and remembers which row each prediction is for. */
import type { WhittleError } from '../../bindings/errors.js';
import type { Input } from '../predict/predictions.js';
import { readInput, type InputOptions, type InputRow } from './prediction-input.js';
import type { RejectedRow } from './resumable-output.js';

export class RowSource {
  /** Fields of the file's first good row; of a table without one, its columns. */
  first: Record<string, unknown> | undefined;
  readonly #file: string;
  readonly #options: Omit<InputOptions, 'onBadRow' | 'onHeader'>;
  readonly #skip: number;
  /** Good rows read, the skipped ones among them. */
  #read = 0;
  /** Rows given out whose predictions have not come back. */
  readonly #waiting: InputRow[] = [];
  /** Bad rows and how many good rows come before each. */
  readonly #bad: { after: number; row: RejectedRow }[] = [];

  /** @param skip good rows that an earlier command has dealt with, and the bad rows among them. */
  constructor(file: string, options: Omit<InputOptions, 'onBadRow'>, skip: number) {
    this.#file = file;
    this.#options = options;
    this.#skip = skip;
  }

  async *inputs(): AsyncGenerator<Input, void, undefined> {
    const onBadRow = (line: number, { message }: WhittleError) => {
      if (this.#read >= this.#skip) {
        this.#bad.push({ after: this.#read, row: { file: this.#file, line, error: message } });
      }
    };
    const onHeader = (columns: string[]) => {
      this.first = Object.fromEntries(columns.map((name) => [name, '']));
    };
    for await (const row of readInput(this.#file, { ...this.#options, onBadRow, onHeader })) {
      if (this.#read === 0) this.first = row.fields;
      if (this.#read++ < this.#skip) continue;
      this.#waiting.push(row);
      yield row.input;
    }
  }

  /** The row that the next prediction is for. */
  next(): InputRow {
    return this.#waiting.shift()!;
  }

  /**
   * Takes out the bad rows that lie before good row `count`: all of them have been seen when that row's prediction is
   * there. Without `count`, all.
   */
  takeBad(count = Infinity): RejectedRow[] {
    const end = this.#bad.findIndex(({ after }) => after >= count);
    return this.#bad.splice(0, end < 0 ? this.#bad.length : end).map(({ row }) => row);
  }
}
