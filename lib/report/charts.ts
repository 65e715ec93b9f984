/** Charts as inline SVG: no script, no external resource, colors from the page's style. */
import { formatSmall } from './format.js';

export interface Series {
  name: string;
  points: { x: number; y: number }[];
}

export interface LineChart {
  title: string;
  /** What x counts, e.g. `training steps`. */
  xTitle: string;
  series: Series[];
  /** Vertical lines with a name, e.g. where stages begin. */
  marks?: { x: number; name: string }[];
  formatY?: (y: number) => string;
}

const [width, height] = [640, 270];
const margin = { left: 66, right: 22, top: 18, bottom: 46 };

/** A line chart with axes. Empty for charts without points. */
export function renderLineChart({ title, xTitle, series, marks = [], formatY = formatSmall }: LineChart): string {
  const all = series.flatMap(({ points }) => points).filter(({ x, y }) => Number.isFinite(x) && Number.isFinite(y));
  if (all.length === 0) return '';
  const xs = niceScale(0, Math.max(...all.map(({ x }) => x)));
  const ys = niceScale(Math.min(...all.map(({ y }) => y)), Math.max(...all.map(({ y }) => y)));
  const [right, bottom] = [width - margin.right, height - margin.bottom];
  const toX = (x: number) => round(margin.left + ((x - xs.low) / (xs.high - xs.low)) * (right - margin.left));
  const toY = (y: number) => round(bottom - ((y - ys.low) / (ys.high - ys.low)) * (bottom - margin.top));
  const text = (x: number, y: number, anchor: string, content: string) =>
    `<text x="${x}" y="${y}" text-anchor="${anchor}">${escapeHtml(content)}</text>`;
  const line = (kind: string, x1: number, y1: number, x2: number, y2: number) =>
    `<line class="${kind}" x1="${x1}" y1="${y1}" x2="${x2}" y2="${y2}"/>`;
  const parts = [
    ...ys.ticks.map((tick) => line('grid', margin.left, toY(tick), right, toY(tick))),
    ...ys.ticks.map((tick) => text(margin.left - 6, toY(tick) + 4, 'end', formatY(tick))),
    ...xs.ticks.map((tick) => text(toX(tick), bottom + 19, 'middle', tick.toLocaleString('en-US'))),
    text((right + margin.left) / 2, height - 5, 'middle', xTitle),
    ...marks.map(({ x }) => line('mark', toX(x), margin.top, toX(x), bottom)),
    ...marks.map(({ x, name }) => text(toX(x) + 4, margin.top + 14, 'start', name)),
    ...series.map(({ points }, index) => renderSeries(points, index, toX, toY)),
  ];
  const keys = series.map(({ name }, index) => `<span class="key s${index % 4}">${escapeHtml(name)}</span>`);
  const legend = series.length > 1 ? `<p class="legend">${keys.join(' ')}</p>` : '';
  const svg = `<svg viewBox="0 0 ${width} ${height}" role="img" aria-label="${escapeHtml(title)}">${parts.join('')}</svg>`;
  return `<figure><figcaption>${escapeHtml(title)}</figcaption>${svg}${legend}</figure>`;
}

function renderSeries(
  points: readonly { x: number; y: number }[],
  index: number,
  toX: (x: number) => number,
  toY: (y: number) => number,
): string {
  const color = `s${index % 4}`;
  const places = points.map(({ x, y }) => [toX(x), toY(y)] as const);
  const dots =
    places.length <= 40 ? places.map(([x, y]) => `<circle class="${color}" cx="${x}" cy="${y}" r="2.5"/>`) : [];
  return `<polyline class="${color}" points="${places.map((place) => place.join(',')).join(' ')}"/>${dots.join('')}`;
}

/** A range of round numbers around [low, high] with about five ticks. */
export function niceScale(low: number, high: number): { low: number; high: number; ticks: number[] } {
  if (high <= low) {
    const room = Math.max(Math.abs(high) * 0.05, 1e-6);
    [low, high] = [low - room, high + room];
  }
  const rough = (high - low) / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5].map((factor) => factor * power).find((size) => size >= rough * 0.999) ?? 10 * power;
  const first = Math.floor(low / step + 1e-9);
  const last = Math.ceil(high / step - 1e-9);
  const ticks = Array.from({ length: last - first + 1 }, (_, index) =>
    Number(((first + index) * step).toPrecision(12)),
  );
  return { low: ticks[0]!, high: ticks.at(-1)!, ticks };
}

export function escapeHtml(text: string): string {
  const entities: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };
  return text.replace(/[&<>"']/g, (character) => entities[character]!);
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
