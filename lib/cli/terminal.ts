/** What commands show while they work: a bar on a terminal, plain lines elsewhere, JSON lines for programs. */
import { formatCount, formatSeconds, formatSmall } from '../report/format.js';
import type { RunEvent } from '../recipe/runner.js';
import { mainMetric, type Metric } from '../report/metrics.js';
import { columnsOf, cutTo } from './columns.js';

/** A part of work that a bar stands for. */
export interface BarState {
  /** `finetune: stage 1 of 3 (head)` */
  title: string;
  /** What stands for the title where that is too wide: `finetune 1/3`. */
  shortTitle?: string | undefined;
  done: number;
  total: number;
  /** What else is known, in order. */
  notes: Note[];
}

/** `loss 0.42` */
export interface Note {
  text: string;
  /** Where a line is too wide, the note of the highest rank goes first. */
  rank: number;
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
    // Terminals that do not know their width say 0.
    const width = this.#isTty ? (this.#stream.columns || 80) - 1 : Infinity;
    const text = formatBar(this.#current, width, this.#isTty);
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
 * `finetune: stage 1 of 3 (head)  ████░░  45 %  loss 0.42  12 s left`. Where that is wider than `width` columns, the bar
 * is shorter, then the title, and then whole notes go.
 */
export function formatBar(
  { title, shortTitle, done, total, notes }: BarState,
  width: number,
  withCells: boolean,
): string {
  const share = total > 0 ? Math.min(1, done / total) : 1;
  const percent = `  ${String(Math.floor(share * 100)).padStart(3)} %`;
  const short = shortTitle ?? cutTo(title, shortestTitle);
  const kept = [...notes];
  const rest = () => percent + kept.map(({ text }) => `  ${text}`).join('');
  while (kept.length > 0 && columnsOf(short) + columnsOf(rest()) > width) {
    const highest = Math.max(...kept.map(({ rank }) => rank));
    kept.splice(
      kept.findIndex(({ rank }) => rank === highest),
      1,
    );
  }
  const titleRoom = width - columnsOf(rest());
  const shown =
    columnsOf(title) <= titleRoom ? title : (shortTitle ?? cutTo(title, Math.max(shortestTitle, titleRoom)));
  const room = Math.min(barCells, titleRoom - columnsOf(shown) - 2);
  const size = withCells && room >= fewestBarCells ? room : 0;
  const full = Math.round(share * size);
  const cells = size > 0 ? `  ${'█'.repeat(full)}${'░'.repeat(size - full)}` : '';
  return cutTo(`${shown}${cells}${rest()}`, width);
}

/** `2.0e-4`, as recipes have it. */
function formatRate(rate: number): string {
  return rate === 0 ? '0' : rate.toExponential(1);
}

/** Shows the events of a run. */
export function runDisplay(terminal: Terminal): (event: RunEvent) => void {
  const lastScores = new Map<string, string>();
  let lastLoss: { title: string; loss: number } | undefined;
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
      const title = `${event.step}: ${event.phase}`;
      // An evaluation tells its scores alone; the loss that led to them stays beside them.
      const loss = event.loss ?? (lastLoss?.title === title ? lastLoss.loss : undefined);
      if (loss !== undefined) lastLoss = { title, loss };
      const notes = [
        noteOf(1, loss, (value) => `loss ${formatSmall(value)}`),
        noteOf(4, score ?? lastScores.get(event.step), (text) => text),
        noteOf(3, event.learningRate, (rate) => `rate ${formatRate(rate)}`),
        noteOf(2, event.tokensPerSecond, (count) => `${formatCount(count)} tokens/s`),
        noteOf(0, event.done < event.total ? event.secondsLeft : undefined, (left) => `${formatSeconds(left)} left`),
      ];
      terminal.bar({
        title,
        shortTitle: shortTitleOf(event),
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

function noteOf<T>(rank: number, value: T | undefined, format: (value: T) => string): Note | undefined {
  return value === undefined ? undefined : { text: format(value), rank };
}

/** `finetune 2/3` for stages. */
function shortTitleOf({ step, phase }: { step: string; phase: string }): string | undefined {
  const [, stage, stages] = /^stage (\d+) of (\d+)\b/.exec(phase) ?? [];
  return stage === undefined ? undefined : `${step} ${stage}/${stages}`;
}

/** `accuracy 91.20 %`, if there is such a score. */
function scoreNote(metrics: Record<string, number> | undefined, metric: Metric): string | undefined {
  const score = metrics?.[metric.name];
  return score === undefined ? undefined : `${metric.title} ${metric.format(score)}`;
}
