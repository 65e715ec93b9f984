/** CSV records (RFC 4180) put together from lines, so that a bad quote costs one record and not the rest of the file. */

/** One record on its way: lines are added until it is complete. */
export class CsvRecord {
  readonly cells: string[] = [];
  /** What is wrong with the record, as the end of a sentence that begins with "expected". */
  problem: string | undefined;
  /** What a quoted cell holds so far, while its closing quote has not come. */
  #open: string | undefined;

  constructor(private readonly separator: string) {}

  /**
   * Adds a line, without its end.
   * @returns whether the record is complete, or has a `problem`; if not, the next line belongs to it.
   * @example
   * const record = new CsvRecord(',');
   * record.add('1,"two'); // false
   * record.add('lines",3'); // true: record.cells is ['1', 'two\nlines', '3']
   */
  add(line: string): boolean {
    let at = 0;
    if (this.#open !== undefined) this.#open += '\n';
    for (;;) {
      at = this.#open !== undefined || line[at] === '"' ? this.#quotedCell(line, at) : this.#plainCell(line, at);
      if (this.problem !== undefined) return true;
      if (this.#open !== undefined) return false;
      if (at >= line.length) return true;
      at += this.separator.length;
    }
  }

  /** @returns where the separator after the cell is, or the line's length. */
  #plainCell(line: string, at: number): number {
    const next = line.indexOf(this.separator, at);
    const end = next < 0 ? line.length : next;
    const cell = line.slice(at, end);
    if (cell.includes('"')) this.problem = 'a cell with quotes inside to be quoted as a whole';
    this.cells.push(cell);
    return end;
  }

  #quotedCell(line: string, start: number): number {
    let at = start;
    if (this.#open === undefined) {
      this.#open = '';
      at++;
    }
    for (;;) {
      const quote = line.indexOf('"', at);
      if (quote < 0) {
        this.#open += line.slice(at);
        return line.length;
      }
      this.#open += line.slice(at, quote);
      at = quote + 1;
      if (line[at] !== '"') break;
      this.#open += '"';
      at++;
    }
    if (at < line.length && !line.startsWith(this.separator, at)) {
      this.problem = `a separator after a closing quote`;
    }
    this.cells.push(this.#open);
    this.#open = undefined;
    return at;
  }
}
