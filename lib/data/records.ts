/** What readers of single formats share. */
import type { WhittleError } from '../../bindings/errors.js';

/** What a file holds for one row, before it is checked. */
export interface SourceRecord {
  /** 1-based line that it starts on; in Parquet, which has no lines, the 1-based row. */
  line: number;
  /** @throws WhittleError `BAD_DATA` if there is no row to be had from the line. */
  read: () => unknown;
}

export type Records = AsyncGenerator<SourceRecord, void, undefined>;

export type OnBadRow = (error: WhittleError, line: number) => void;
