/** A text that was changed, and where each of its characters comes from. Places are UTF-16 code units. */

/** `text.slice(start, end)` is replaced by `by`. */
export interface Edit {
  start: number;
  end: number;
  by: string;
  /** Whether `by` is as long and stands for what it replaces unit by unit, as in lower-casing. */
  isAligned?: boolean;
}

export class MappedText {
  readonly text: string;
  /** `[units]` where what a unit stands for starts and ends in the original; absent while nothing has changed. */
  readonly #starts: Int32Array | undefined;
  readonly #ends: Int32Array | undefined;

  constructor(text: string, starts?: Int32Array, ends?: Int32Array) {
    this.text = text;
    this.#starts = starts;
    this.#ends = ends;
  }

  /** Where in the original the part `text.slice(start, end)` starts and ends; it must not be empty. */
  originalOf(start: number, end: number): [number, number] {
    return [this.#startOf(start), this.#endOf(end - 1)];
  }

  /** @param edits in order, without overlaps. */
  edited(edits: readonly Edit[]): MappedText {
    if (edits.length === 0) return this;
    const length = edits.reduce((sum, { start, end, by }) => sum + by.length - (end - start), this.text.length);
    const starts = new Int32Array(length);
    const ends = new Int32Array(length);
    let text = '';
    let done = 0;
    const keep = (from: number, to: number, as: string) => {
      for (let unit = from; unit < to; unit++) {
        starts[text.length + unit - from] = this.#startOf(unit);
        ends[text.length + unit - from] = this.#endOf(unit);
      }
      text += as;
    };
    for (const { start, end, by, isAligned } of edits) {
      keep(done, start, this.text.slice(done, start));
      done = end;
      if (isAligned) {
        keep(start, end, by);
        continue;
      }
      const [from, to] = end > start ? this.originalOf(start, end) : this.#between(start);
      starts.fill(from, text.length, text.length + by.length);
      ends.fill(to, text.length, text.length + by.length);
      text += by;
    }
    keep(done, this.text.length, this.text.slice(done));
    return new MappedText(text, starts, ends);
  }

  #startOf(unit: number): number {
    return this.#starts ? this.#starts[unit]! : unit;
  }

  #endOf(unit: number): number {
    return this.#ends ? this.#ends[unit]! : unit + 1;
  }

  /** The empty place before a unit. */
  #between(unit: number): [number, number] {
    const place = unit > 0 ? this.#endOf(unit - 1) : unit < this.text.length ? this.#startOf(unit) : 0;
    return [place, place];
  }
}
