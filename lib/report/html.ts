/** report.html: one file that opens from the disk, with nothing fetched from anywhere. */
import { stringify } from 'yaml';
import { escapeHtml } from './charts.js';
import { formatBytes, formatCount, formatSeconds } from './format.js';
import { shownMetrics } from './metrics.js';
import type { Report, StepReport } from './report.js';
import { htmlTable, renderClasses, renderCurves, renderSparsity } from './sections.js';
import { style } from './style.js';

/**
 * The page of a run: in its first screen what each step cost and bought, then the learning curves, the classes, the
 * sparsity of tensors and the recipe.
 * @param recipe as written in the run folder.
 */
export function renderHtml(report: Report, recipe: unknown): string {
  const finished = report.finishedAt.slice(0, 16).replace('T', ' ');
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(report.name)}: whittle report</title>
<style>${style}</style>
</head>
<body>
<h1>${escapeHtml(report.name)}</h1>
<p class="note">${escapeHtml(`${report.task} · ${finished} UTC · ${report.machine}`)}</p>
${renderCards(report)}
${renderSteps(report)}
${renderModels(report)}
${report.steps.map((step) => renderCurves(step, report.task)).join('\n')}
${renderClasses(report)}
${report.steps.map(renderSparsity).join('\n')}
<h2>Recipe</h2>
<pre>${escapeHtml(stringify(recipe))}</pre>
</body>
</html>
`;
}

/** The last model against the first, in four numbers. */
function renderCards({ models, steps, task }: Report): string {
  const first = models[0];
  const last = models.at(-1);
  if (!first || !last) return '';
  const cards: [string, string][] = [];
  const [metric] = shownMetrics(task, [last.scores]);
  const score = last.scores[metric!.name];
  if (score !== undefined) cards.push([metric!.format(score), `${metric!.title} of ${last.name}`]);
  cards.push([formatBytes(last.bytes), last === first ? 'on disk' : `on disk, ${formatBytes(first.bytes)} before`]);
  if (last.textsPerSecond !== undefined) {
    const before = last !== first && first.textsPerSecond ? `, ${formatCount(first.textsPerSecond)} before` : '';
    cards.push([formatCount(last.textsPerSecond), `texts/s${before}`]);
  }
  cards.push([formatSeconds(steps.reduce((sum, step) => sum + step.seconds, 0)), 'for all steps']);
  const items = cards.map(
    ([value, name]) => `<div class="card"><b>${escapeHtml(value)}</b><span>${escapeHtml(name)}</span></div>`,
  );
  return `<div class="cards">${items.join('')}</div>`;
}

function renderSteps({ steps, task }: Report): string {
  const [metric] = shownMetrics(
    task,
    steps.map(({ metrics }) => metrics),
  );
  const { name, title, format } = metric!;
  const previous = new Map<string, number>();
  const rows = steps.map((step, index) => {
    const split = splitOf(step);
    const score = step.metrics[name];
    const before = previous.get(split);
    if (score !== undefined) previous.set(split, score);
    const change = score !== undefined && before !== undefined ? signed(score - before) : '';
    const larger = (steps[index - 1]?.bytes ?? 0) / step.bytes;
    return [
      escapeHtml(step.name),
      score === undefined ? '' : `${format(score)} <small>${escapeHtml(split)}</small> ${change}`,
      formatBytes(step.bytes) + (larger > 1.05 ? ` <small>÷ ${larger.toFixed(1)}</small>` : ''),
      step.metrics.textsPerSecond === undefined ? '' : formatCount(step.metrics.textsPerSecond),
      formatSeconds(step.seconds) + (step.reused ? ' <small>earlier</small>' : ''),
    ];
  });
  const table = htmlTable(['step', title, 'size', 'texts/s', 'took'], rows);
  return `<h2>What each step cost and bought</h2>${table}`;
}

function renderModels({ models, task }: Report): string {
  if (models.length < 2) return '';
  const metrics = shownMetrics(
    task,
    models.map(({ scores }) => scores),
  );
  const rows = models.map((model) => [
    escapeHtml(model.name),
    escapeHtml(model.precision),
    ...metrics.map(({ name, format }) => (model.scores[name] === undefined ? '' : format(model.scores[name]))),
    formatBytes(model.bytes),
    model.textsPerSecond === undefined ? '' : formatCount(model.textsPerSecond),
  ]);
  return `<h2>Models</h2>${htmlTable(['model', 'precision', ...metrics.map(({ title }) => title), 'size', 'texts/s'], rows)}`;
}

/** Which rows a step's score is of. */
function splitOf({ kind, record }: StepReport): string {
  if (kind !== 'evaluate') return 'dev';
  return typeof record.on === 'string' ? record.on : 'test';
}

function signed(change: number): string {
  const points = Math.abs(change * 100).toFixed(2);
  if (Number(points) === 0) return '';
  return `<small class="${change > 0 ? 'up' : 'down'}">${change > 0 ? '+' : '−'}${points}</small>`;
}
