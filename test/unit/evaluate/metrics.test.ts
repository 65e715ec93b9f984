/** Scores and reports against scikit-learn's and seqeval's (golden file of test/fixtures/make_metrics.py). */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { findEntities } from '../../../lib/data/bio.js';
import type { Averages, Score } from '../../../lib/evaluate/averages.js';
import { formatClassificationReport, scoreClassification } from '../../../lib/evaluate/classification.js';
import { formatEntityReport, scoreEntities } from '../../../lib/evaluate/entities.js';
import { formatFixed } from '../../../lib/evaluate/report-table.js';
import { root } from '../../harness.js';

type ClassRow = [string, number, number, number, number];
interface Averaged {
  name: string;
  digits: number;
  micro: number[];
  macro: number[];
  weighted: number[];
}

const golden = JSON.parse(readFileSync(join(root, 'test/fixtures/metrics.json'), 'utf8')) as {
  classification: (Averaged & {
    labels: string[];
    gold: number[];
    predicted: number[];
    accuracy: number;
    perClass: ClassRow[];
    confusion: number[][];
    report: string;
  })[];
  entities: (Averaged & {
    gold: string[][];
    predicted: string[][];
    tagAccuracy: number;
    perType: ClassRow[];
    report: string | null;
  })[];
};

const figures = ({ precision, recall, f1 }: Score) => [precision, recall, f1];
const averages = ({ micro, macro, weighted }: Averages) => [micro, macro, weighted].map(figures);

for (const one of golden.classification) {
  test(`classification: ${one.name}`, () => {
    const scores = scoreClassification(one.gold, one.predicted, one.labels);
    assert.is(scores.accuracy, one.accuracy);
    assert.equal(
      scores.perClass.map((score) => [score.label, ...figures(score), score.support]),
      one.perClass,
    );
    assert.equal(averages(scores), [one.micro, one.macro, one.weighted]);
    assert.equal(scores.confusion, one.confusion);
    assert.is(formatClassificationReport(scores, one.digits), one.report);
  });
}

for (const one of golden.entities) {
  test(`entities: ${one.name}`, () => {
    const scores = scoreEntities(one.gold, one.predicted);
    assert.is(scores.tagAccuracy, one.tagAccuracy);
    assert.equal(
      scores.perType.map((score) => [score.type, ...figures(score), score.support]),
      one.perType,
    );
    assert.equal(averages(scores), [one.micro, one.macro, one.weighted]);
    if (one.report !== null) assert.is(formatEntityReport(scores, one.digits), one.report);
  });
}

test('nothing to score gives zeros and a report', () => {
  const none = scoreClassification([], [], ['a', 'b']);
  assert.equal([none.accuracy, ...averages(none).flat()], Array(10).fill(0));
  assert.match(formatClassificationReport(none), /accuracy +0\.00 +0/);
  assert.match(formatEntityReport(scoreEntities([], [])), /micro avg +0\.00 +0\.00 +0\.00 +0/);
});

test('findEntities gives spans that end before `end`', () => {
  assert.equal(findEntities(['I-PER', 'I-PER', 'B-PER', 'I-LOC']), [
    { type: 'PER', start: 0, end: 2 },
    { type: 'PER', start: 2, end: 3 },
    { type: 'LOC', start: 3, end: 4 },
  ]);
});

test('formatFixed rounds ties to even and nothing else', () => {
  assert.equal(
    [0.125, 0.375, 0.625, 0.875, 0.005, 0.015, 0, 1, 1e-300, 0.995].map((value) => formatFixed(value, 2)),
    ['0.12', '0.38', '0.62', '0.88', '0.01', '0.01', '0.00', '1.00', '0.00', '0.99'],
  );
});

test.run();
