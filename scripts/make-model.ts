/**
 * Writes models/minilm-l6, the encoder that the quick start begins with, from the original weights:
 *
 *     node --import tsx scripts/make-model.ts ../shared/models/minilm-l6
 *
 * The same input gives the same bytes. README.md stays as it is.
 */
import { readFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { writeFileWhole } from '../lib/atomic.js';
import { quantize } from '../lib/compress/quantize.js';

const target = resolve(dirname(fileURLToPath(import.meta.url)), '..', 'models', 'minilm-l6');
const source = process.argv[2];
if (!source) {
  console.error('usage: node --import tsx scripts/make-model.ts FOLDER');
  process.exit(1);
}
const readme = await readFile(join(target, 'README.md'));
const { record } = await quantize(source, { method: 'weight-only' }, { folder: target, threads: 0 });
await writeFileWhole(join(target, 'README.md'), readme);
console.log(`${target}: ${record.bytesBefore} bytes of weights became ${record.bytesAfter}`);
