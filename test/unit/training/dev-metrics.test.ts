/** The names of dev metrics are known before there are logits, so that early stopping is checked before training. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Example } from '../../../lib/data/batch.js';
import type { Row, Split, Task } from '../../../lib/data/dataset.js';
import { devMetricsFor } from '../../../lib/training/dev-metrics.js';
import { ImprovementWatch } from '../../../lib/training/early-stopping.js';
import { generator, normalValues } from '../../../lib/training/random.js';
import { earlyStoppingSchema } from '../../../lib/training/stages.js';

const example: Example = {
  ...{ inputIds: Int32Array.of(1, 5, 6, 2), tokenTypeIds: new Int32Array(4), wordIds: Int32Array.of(-1, 0, 1, -1) },
};
const rowsOf: Record<Task, Row[]> = {
  'text-classification': [
    { text: 'x', label: 'a' },
    { text: 'y', label: 'b' },
  ],
  'multi-label-classification': [
    { text: 'x', labels: ['a'] },
    { text: 'y', labels: ['a', 'b'] },
  ],
  regression: [
    { text: 'x', label: 1 },
    { text: 'y', label: 2 },
  ],
  'token-classification': [
    { tokens: ['x', 'y'], tags: ['O', 'B-X'] },
    { tokens: ['x', 'y'], tags: ['B-X', 'O'] },
  ],
  embedding: [
    { text: 'x', textPair: 'y', label: 1 },
    { text: 'y', textPair: 'x', label: 0 },
  ],
};

for (const [task, rows] of Object.entries(rowsOf) as [Task, Row[]][])
  test(`${task}: the names are those of the metrics`, async () => {
    const labels = { regression: ['score'], embedding: [], 'token-classification': ['O', 'B-X'] }[task as string] ?? [
      'a',
      'b',
    ];
    const examples = new Array<Example>(task === 'embedding' ? 4 : 2).fill(example);
    const split: Split = { name: 'dev', file: 'dev.jsonl', rows, lines: [1, 2] };
    const score = devMetricsFor(split, examples, { task, labels });
    const width = (task === 'token-classification' ? 4 : 1) * Math.max(2, labels.length);
    const metrics = await score(examples.map((_, at) => normalValues(width, 1, generator(at))));
    assert.equal(score.names!(), Object.keys(metrics));
    assert.ok(score.names!().length >= 2);
  });

test('errors are better when they are smaller', () => {
  for (const [metric, better] of [
    ['mse', 1],
    ['mae', 1],
    ['loss', 1],
    ['spearman', 3],
    ['accuracy', 3],
  ] as const) {
    const watch = new ImprovementWatch(earlyStoppingSchema.parse({ metric }));
    watch.observe({ [metric]: 2 });
    assert.is(watch.observe({ [metric]: better }).improved, true, metric);
  }
});

test.run();
