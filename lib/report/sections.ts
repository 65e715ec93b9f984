/** The parts of the page that are read out of the steps' own records. A record of another form has no section. */
import { z } from 'zod';
import type { Task } from '../data/dataset.js';
import { escapeHtml, renderLineChart, type Series } from './charts.js';
import { formatCount, formatSeconds, formatShare, formatSmall } from './format.js';
import type { Report, StepReport } from './report.js';

const stageRecord = z.looseObject({
  train: z.string(),
  steps: z.number(),
  seconds: z.number(),
  tokensPerSecond: z.number(),
  stoppedEarly: z.boolean(),
  curve: z.array(z.looseObject({ step: z.number(), loss: z.number() })),
  evaluations: z.array(z.looseObject({ step: z.number(), metrics: z.record(z.string(), z.number()) })),
});
const trainingRecord = z.union([
  z.looseObject({ stages: z.array(stageRecord).min(1) }).transform(({ stages }) => stages),
  z.looseObject({ recovery: stageRecord }).transform(({ recovery }) => [recovery]),
  z.looseObject({ training: stageRecord }).transform(({ training }) => [training]),
]);

const classScore = { precision: z.number(), recall: z.number(), f1: z.number(), support: z.number() };
const scores = z.union([
  z.looseObject({ perClass: z.array(z.looseObject({ label: z.string(), ...classScore })) }),
  z
    .looseObject({ perType: z.array(z.looseObject({ type: z.string(), ...classScore })) })
    .transform(({ perType }) => ({ perClass: perType.map((one) => ({ ...one, label: one.type })) })),
]);
const confusion = z.looseObject({ labels: z.array(z.string()), confusion: z.array(z.array(z.number())) });

const sparsityRecord = z.looseObject({
  sparsity: z.number(),
  tensors: z.array(z.looseObject({ name: z.string(), sparsity: z.number() })).min(1),
});

const worstClasses = 15;

/** Dev scores that have a curve. `f1` is the macro average of classes, or over all entities. */
const shownScores: Record<Task, string[]> = {
  'text-classification': ['accuracy', 'f1'],
  'multi-label-classification': ['microF1', 'macroF1'],
  regression: ['pearson', 'spearman'],
  embedding: ['spearman'],
  'token-classification': ['f1'],
};

/** Loss and dev scores over the training steps, stage after stage. */
export function renderCurves(step: StepReport, task: Task): string {
  const parsed = trainingRecord.safeParse(step.record);
  if (!parsed.success) return '';
  const stages = parsed.data;
  const loss: Series = { name: 'training loss', points: [] };
  const devLoss: Series = { name: 'dev loss', points: [] };
  const devScores = new Map<string, Series>();
  const marks: { x: number; name: string }[] = [];
  let start = 0;
  for (const [index, stage] of stages.entries()) {
    if (stages.length > 1) marks.push({ x: start, name: `${index + 1}: ${stage.train}` });
    for (const point of stage.curve) loss.points.push({ x: start + point.step, y: point.loss });
    for (const { step: at, metrics } of stage.evaluations) {
      for (const [name, value] of Object.entries(metrics)) {
        if (name === 'loss') devLoss.points.push({ x: start + at, y: value });
        else if (shownScores[task].includes(name)) {
          if (!devScores.has(name)) devScores.set(name, { name: `dev ${name}`, points: [] });
          devScores.get(name)!.points.push({ x: start + at, y: value });
        }
      }
    }
    start += stage.steps;
  }
  const rows = stages.map((stage, index) => [
    `${index + 1}: ${escapeHtml(stage.train)}`,
    formatCount(stage.steps) + (stage.stoppedEarly ? ' <small>stopped early</small>' : ''),
    formatSmall(stage.curve.at(-1)?.loss ?? NaN),
    formatCount(stage.tokensPerSecond),
    formatSeconds(stage.seconds),
  ]);
  return (
    `<h2>Learning curves of ${escapeHtml(step.name)}</h2>` +
    htmlTable(['stage', 'steps', 'last loss', 'tokens/s', 'took'], rows) +
    renderLineChart({ title: 'Loss', xTitle: 'training steps', series: nonEmpty([loss, devLoss]), marks }) +
    renderLineChart({
      title: 'Scores on dev',
      xTitle: 'training steps',
      series: nonEmpty([...devScores.values()]),
      marks,
      formatY: (value) => `${Number((value * 100).toFixed(1))} %`,
    })
  );
}

/** The hardest classes of the last evaluation, and which classes it mixes up. */
export function renderClasses({ steps }: Report): string {
  const last = steps.findLast((step) => step.kind === 'evaluate');
  if (!last) return '';
  const found = scores.safeParse(last.record.scores ?? last.record);
  if (!found.success || found.data.perClass.length === 0) return '';
  const hardest = [...found.data.perClass].sort((a, b) => a.f1 - b.f1).slice(0, worstClasses);
  const rows = hardest.map((one) => [
    escapeHtml(one.label),
    formatShare(one.precision),
    formatShare(one.recall),
    formatShare(one.f1),
    formatCount(one.support),
  ]);
  const all = hardest.length === found.data.perClass.length;
  const title = all
    ? 'Classes, hardest first'
    : `The ${hardest.length} hardest of ${found.data.perClass.length} classes`;
  return (
    `<h2>${title}</h2><p class="note">As ${escapeHtml(last.from)} scores in step ${escapeHtml(last.name)}.</p>` +
    htmlTable(['class', 'precision', 'recall', 'F1', 'rows'], rows) +
    renderConfusion(last.record)
  );
}

/** A small confusion matrix whole; of a large one the pairs that are mixed up most. */
function renderConfusion(record: Record<string, unknown>): string {
  const inner = typeof record.scores === 'object' && record.scores !== null ? record.scores : {};
  const parsed = confusion.safeParse({ ...inner, labels: record.labels ?? (inner as { labels?: unknown }).labels });
  if (!parsed.success) return '';
  const { labels, confusion: counts } = parsed.data;
  if (labels.length <= 10) {
    const rows = counts.map((row, gold) => [escapeHtml(labels[gold] ?? ''), ...row.map((count) => formatCount(count))]);
    return `<h2>Confusion matrix</h2><p class="note">Rows: what is right. Columns: what was said.</p>${htmlTable(['', ...labels], rows)}`;
  }
  const pairs = counts
    .flatMap((row, gold) => row.map((count, said) => ({ gold, said, count })))
    .filter(({ gold, said, count }) => gold !== said && count > 0)
    .sort((a, b) => b.count - a.count)
    .slice(0, worstClasses)
    .map(({ gold, said, count }) => [escapeHtml(labels[gold]!), escapeHtml(labels[said]!), formatCount(count)]);
  if (pairs.length === 0) return '';
  return `<h2>What is mixed up most</h2>${htmlTable(['right', 'said', 'rows'], pairs)}`;
}

/** The share of zeros of every pruned tensor. */
export function renderSparsity(step: StepReport): string {
  const parsed = sparsityRecord.safeParse(step.record);
  if (!parsed.success) return '';
  const { sparsity, tensors } = parsed.data;
  const rows = tensors.map((tensor) => [
    escapeHtml(tensor.name),
    `<span class="bar" style="width:${(tensor.sparsity * 8).toFixed(2)}em"></span> ${formatShare(tensor.sparsity)}`,
  ]);
  const table = htmlTable(['tensor', 'zeros'], rows);
  return `<h2>Sparsity of ${escapeHtml(step.name)}</h2><p class="note">${formatShare(sparsity)} of all chosen weights are zero.</p>${table}`;
}

/** Cells are HTML already, titles are text. */
export function htmlTable(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const head = header.map((title) => `<th>${escapeHtml(title)}</th>`).join('');
  const body = rows.map((row) => `<tr>${row.map((cell) => `<td>${cell}</td>`).join('')}</tr>`).join('\n');
  return `<div class="scroll"><table><thead><tr>${head}</tr></thead><tbody>\n${body}\n</tbody></table></div>`;
}

function nonEmpty(series: Series[]): Series[] {
  return series.filter(({ points }) => points.length > 0);
}
