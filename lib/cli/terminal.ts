/** What commands show while they work: a bar on a terminal, plain lines elsewhere, JSON lines for programs. */
import { formatCount, formatSeconds, formatSmall } from '../report/format.js';
import type { RunEvent } from '../recipe/runner.js';
import { mainMetric, type Metric } from '../report/metrics.js';

/** A part of work that a bar stands for. */
export interface BarState {
  /** `finetune: stage 1 of 3 (head)` */
  title: string;
  done: number;
  total: number;
  /** What else is known, in order: `loss 0.42`. */
  notes: string[];
}

export interface TerminalOptions {
  /** One JSON object a line on standard output, nothing else. */
  json?: boolean | undefined;
  /** Where people read; standard error unless given. */
  stream?: NodeJS.WriteStream;
}

const redrawMilliseconds = 100;
const plainMilliseconds = 15_000;
const barCells = 20;
const fewestBarCells = 6;
const shortestTitle = 12;

export class Terminal {
  readonly json: boolean;
  readonly #stream: NodeJS.WriteStream;
  readonly #isTty: boolean;
  #current: BarState | undefined;
  #drawn = '';
  #lastDraw = 0;

  constructor({ json = false, stream = process.stderr }: TerminalOptions = {}) {
    this.json = json;
    this.#stream = stream;
    this.#isTty = stream.isTTY === true && process.env.TERM !== 'dumb';
  }

  /** A line for people. */
  line(text = ''): void {
    if (this.json) return;
    this.#finishBar();
    this.#stream.write(`${text}\n`);
  }

  /** A record for programs; people do not see it. */
  record(record: object): void {
    if (this.json) process.stdout.write(`${JSON.stringify(record)}\n`);
  }

  /** A result: text on standard output for people, the record for programs. */
  result(text: string, record: object): void {
    if (this.json) return this.record(record);
    this.#finishBar();
    process.stdout.write(`${text}\n`);
  }

  /** Shows how far a part of the work is. A new title begins a new bar. */
  bar(state: BarState): void {
    if (this.json) return;
    const isNew = this.#current?.title !== state.title;
    if (isNew) this.#finishBar();
    this.#current = state;
    const now = performance.now();
    const wait = this.#isTty ? redrawMilliseconds : plainMilliseconds;
    if (!isNew && now - this.#lastDraw < wait && state.done < state.total) return;
    if (isNew && !this.#isTty) this.#lastDraw = now;
    else this.#draw(now);
  }

  /** Ends the bar at work, which stays on the screen as it was last. */
  close(): void {
    this.#finishBar();
  }

  #draw(now: number): void {
    if (!this.#current) return;
    this.#lastDraw = now;
    const text = formatBar(this.#current, this.#isTty ? (this.#stream.columns ?? 100) - 1 : Infinity, this.#isTty);
    if (text === this.#drawn) return;
    this.#stream.write(this.#isTty ? `\r\x1b[2K${text}` : `${text}\n`);
    this.#drawn = text;
  }

  #finishBar(): void {
    if (!this.#current) return;
    this.#draw(performance.now());
    if (this.#isTty) this.#stream.write('\n');
    this.#current = undefined;
    this.#drawn = '';
  }
}

/**
 * `finetune: head  ████░░  45 %  loss 0.42  12 s left`. Where that is wider than `width`, the bar is shorter, then the
 * title is cut, and last the notes.
 */
export function formatBar({ title, done, total, notes }: BarState, width: number, withCells: boolean): string {
  const share = total > 0 ? Math.min(1, done / total) : 1;
  const rest = `  ${String(Math.floor(share * 100)).padStart(3)} %${notes.map((note) => `  ${note}`).join('')}`;
  const room = Math.min(barCells, width - title.length - rest.length - 2);
  const size = withCells && room >= fewestBarCells ? room : 0;
  const full = Math.round(share * size);
  const cells = size > 0 ? `  ${'█'.repeat(full)}${'░'.repeat(size - full)}` : '';
  const titleRoom = Math.max(shortestTitle, width - cells.length - rest.length);
  const shown = title.length > titleRoom ? `${title.slice(0, titleRoom - 1)}…` : title;
  return `${shown}${cells}${rest}`.slice(0, width);
}

/** `2.0e-4`, as recipes have it. */
function formatRate(rate: number): string {
  return rate === 0 ? '0' : rate.toExponential(1);
}

/** Shows the events of a run. */
export function runDisplay(terminal: Terminal): (event: RunEvent) => void {
  const lastScores = new Map<string, string>();
  let metric = mainMetric('text-classification');
  return (event) => {
    terminal.record(event);
    if (event.type === 'run') {
      metric = mainMetric(event.task);
      terminal.line(`This machine: ${event.machine}`);
      terminal.line(`${event.name}: ${event.steps.join(', ')}\n`);
    }
    if (event.type === 'note') terminal.line(`Note: ${event.message}`);
    if (event.type === 'progress') {
      const score = scoreNote(event.metrics, metric);
      if (score) lastScores.set(event.step, score);
      const notes = [
        event.loss === undefined ? undefined : `loss ${formatSmall(event.loss)}`,
        score ?? lastScores.get(event.step),
        event.learningRate === undefined ? undefined : `rate ${formatRate(event.learningRate)}`,
        event.tokensPerSecond === undefined ? undefined : `${formatCount(event.tokensPerSecond)} tokens/s`,
        event.secondsLeft === undefined || event.done >= event.total
          ? undefined
          : `${formatSeconds(event.secondsLeft)} left`,
      ];
      terminal.bar({
        title: `${event.step}: ${event.phase}`,
        done: event.done,
        total: event.total,
        notes: notes.filter((note) => note !== undefined),
      });
    }
    if (event.type === 'stepEnd') {
      const score = scoreNote(event.metrics, metric);
      const time = event.reused ? 'done in an earlier run' : `done in ${formatSeconds(event.seconds)}`;
      terminal.line(`${event.step}: ${time}${score ? `, ${score}` : ''}`);
    }
  };
}

/** `accuracy 91.20 %`, if there is such a score. */
function scoreNote(metrics: Record<string, number> | undefined, metric: Metric): string | undefined {
  const score = metrics?.[metric.name];
  return score === undefined ? undefined : `${metric.title} ${metric.format(score)}`;
}
