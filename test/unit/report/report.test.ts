import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { niceScale, renderLineChart } from '../../../lib/report/charts.js';
import { formatBytes, formatCount, formatSeconds, formatTable } from '../../../lib/report/format.js';
import { renderHtml } from '../../../lib/report/html.js';
import { makeReport, type StepReport } from '../../../lib/report/report.js';
import { modelTable } from '../../../lib/report/tables.js';

function step(kind: string, fields: Partial<StepReport>): StepReport {
  const empty = { name: kind, kind, seconds: 1, reused: false, metrics: {}, record: {}, from: 'model' };
  return { ...empty, bytes: 90e6, precision: 'float32', ...fields };
}

const stage = {
  train: 'head',
  steps: 20,
  seconds: 2,
  tokensPerSecond: 1000,
  stoppedEarly: true,
  curve: [
    { step: 10, loss: 2 },
    { step: 20, loss: 1 },
  ],
  evaluations: [{ step: 20, metrics: { accuracy: 0.9, loss: 1.1 } }],
};
const score = { precision: 0.5, recall: 0.5, f1: 0.5, support: 10 };
const scores = {
  perClass: [
    { label: '<b>x</b>', ...score },
    { label: 'y', ...score, f1: 0.9 },
  ],
  confusion: [
    [5, 5],
    [1, 9],
  ],
};
const report = makeReport({
  name: 'a & b',
  task: 'text-classification',
  machine: 'machine',
  seconds: 4,
  steps: [
    step('finetune', { metrics: { accuracy: 0.9 }, record: { stages: [stage, stage] } }),
    step('evaluate', {
      from: 'finetune',
      metrics: { accuracy: 0.88, macroF1: 0.87, textsPerSecond: 500 },
      record: { on: 'test', scores, labels: ['<b>x</b>', 'y'] },
    }),
    step('prune', { record: { sparsity: 0.5, tensors: [{ name: 'layers.0.output.weight', sparsity: 0.4 }] } }),
    step('evaluate', {
      name: 'evaluate-2',
      from: 'prune',
      bytes: 23e6,
      precision: 'int8',
      metrics: { accuracy: 0.87, macroF1: 0.86, textsPerSecond: 2000 },
      record: { on: 'test', scores, labels: ['<b>x</b>', 'y'] },
    }),
  ],
});

test('the page shows what each step cost and bought, curves, classes and sparsity', () => {
  const html = renderHtml(report, { model: 'm' });
  for (const part of [
    'What each step cost and bought',
    '87.00 %',
    '23.0 MB',
    '2,000',
    '÷ 3.9',
    '1: head',
    'stopped early',
  ]) {
    assert.ok(html.includes(part), part);
  }
  assert.match(html, /<small class="down">−1\.00<\/small>/);
  assert.match(html, /Confusion matrix/);
  assert.match(html, /layers\.0\.output\.weight.*40\.00 %/s);
  assert.is(html.match(/<svg/g)!.length, 2);
});

test('the page is whole in itself and escapes what it shows', () => {
  const html = renderHtml(report, { model: '<script>' });
  assert.not.match(html, /<script|<link|<img|https?:|@import|url\(/);
  assert.not.match(html, /<b>x<\/b>/);
  assert.match(html, /a &amp; b/);
  const opened = html.match(/<(table|svg|div|figure|h2|p)\b/g)!.length;
  assert.is(html.match(/<\/(table|svg|div|figure|h2|p)>/g)!.length, opened);
});

test('records of another form have no section', () => {
  const odd = { ...report, steps: [step('finetune', { record: { stages: 'none', tensors: 3 } })] };
  assert.not.match(renderHtml(odd, {}), /Learning curves|Sparsity/);
});

test('report.json has a row a model', () => {
  assert.equal(report.models[1], {
    name: 'prune',
    precision: 'int8',
    accuracy: 0.87,
    macroF1: 0.86,
    scores: { accuracy: 0.87, macroF1: 0.86 },
    bytes: 23e6,
    textsPerSecond: 2000,
    on: 'test',
  });
  assert.match(modelTable(report), /^model +precision.*\n.*\nfinetune +float32 +test +88\.00 %/);
});

test('charts stay inside their frame, whatever the values', () => {
  for (const values of [[0, 0], [1e-9, 2e-9], [5, -3, 1e6], [0.5]]) {
    const points = values.map((y, x) => ({ x, y }));
    const svg = renderLineChart({ title: 't', xTitle: 'x', series: [{ name: 's', points }] });
    for (const [, x, y] of svg.matchAll(/([\d.-]+),([\d.-]+)(?=[ "])/g)) {
      assert.ok(Number(x) >= 58 && Number(x) <= 626 && Number(y) >= 14 && Number(y) <= 226, `${x},${y} of ${values}`);
    }
  }
  assert.is(renderLineChart({ title: 't', xTitle: 'x', series: [{ name: 's', points: [{ x: 1, y: NaN }] }] }), '');
  assert.equal(niceScale(0, 10).ticks, [0, 2, 4, 6, 8, 10]);
});

test('numbers read well', () => {
  assert.is(formatBytes(91_500_000), '91.5 MB');
  assert.is(formatBytes(1234), '1.2 kB');
  assert.is(formatSeconds(185), '3 min 05 s');
  assert.is(formatSeconds(0.42), '0.4 s');
  assert.is(formatCount(1234.6), '1,235');
  assert.is(formatTable(['a', 'b'], [['long', '1']]), 'a     b\n----  -\nlong  1');
});

test.run();
