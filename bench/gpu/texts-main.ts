/**
 * `npm run bench -- gpu-texts` as one program, for machines that have this checkout and Node but no node_modules: bench/gpu/pack.py
 * bundles it.
 *
 *     node texts-main.mjs --device cuda --texts test.jsonl [--models MiniLM-L6,BERT-base]
 *         [--most 100000] [--repeat 4] [--seconds 1.5] [--json FILE]
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { loadedBinary } from '../../bindings/load.js';
import type { ModelName } from '../harness/made-up-model.js';
import { measureTexts, type TextsFigure } from './texts.js';

const { values } = parseArgs({
  options: {
    device: { type: 'string', default: 'cuda' },
    texts: { type: 'string' },
    models: { type: 'string', default: 'BERT-base,MiniLM-L6' },
    seconds: { type: 'string', default: '1.5' },
    repeat: { type: 'string', default: '4' },
    most: { type: 'string', default: '100000' },
    root: { type: 'string', default: '.' },
    json: { type: 'string' },
  },
});
if (!values.texts) throw new Error('Expected --texts FILE, JSON lines with a text each, but found none');
const read = readFileSync(values.texts, 'utf8')
  .trim()
  .split('\n')
  .slice(0, Number(values.most))
  .map((line) => (JSON.parse(line) as { text: string }).text);
// A few times over: filling and emptying the pipeline must weigh little.
const texts = Array.from({ length: Number(values.repeat) }, () => read).flat();
const figures: TextsFigure[] = [];
const failures: string[] = [];
try {
  console.log(`Binary: ${loadedBinary().path}; Node ${process.versions.node}`);
  const root = resolve(values.root);
  const options = { device: values.device, texts, models: values.models.split(',') as ModelName[] };
  const places = { source: root, folder: join(root, 'runs', 'bench'), seconds: Number(values.seconds) };
  for await (const figure of measureTexts({ ...options, ...places })) {
    figures.push(figure);
    console.log(JSON.stringify(figure));
    write();
  }
} catch (error) {
  failures.push(`texts: ${(error as Error).message}`);
  console.error((error as Error).message);
  process.exitCode = 1;
}
write();

function write(): void {
  if (values.json) writeFileSync(values.json, JSON.stringify({ figures, failures }, null, 2) + '\n');
}
