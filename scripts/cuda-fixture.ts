/**
 * Packs a model for the CUDA tests on a machine without Node: its tensors, a batch, and what the CPU's engine makes of it.
 *
 *   node --import tsx scripts/cuda-fixture.ts models/minilm-l6 fixture [--in-place]
 *
 * The folder holds `model.txt` (sizes, and where each tensor lies), the tensors' files, the batch as int32
 * (`ids.bin`, `types.bin`, `offsets.bin`), and hidden states and logits as float32 (`hidden-int8.bin`, ...). With
 * `--in-place` the tensors' files are not copied: `model.txt` names the model's own, as seen from the folder, for
 * checkouts that travel as a whole.
 */
import { copyFile, mkdir, writeFile } from 'node:fs/promises';
import { basename, join, relative, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { StoredTensor } from '../bindings/native.js';
import { raggedBatch } from '../lib/data/batch.js';
import { loadTokenizer } from '../lib/data/tokenizer/tokenizer.js';
import { openCheckpoint } from '../lib/models/checkpoint.js';
import { Engine, engineSpec } from '../lib/models/engine.js';

const texts = [
  'My card never arrived',
  'The quarterly results were better than analysts had expected, and shares rose sharply in early trading.',
  'Why?',
  'I would like to know how long a transfer to an account abroad takes, and what it costs if I am in a hurry.',
  'Ça coûte combien ?',
];

export async function packFixture(model: string, folder: string, inPlace = false): Promise<void> {
  await mkdir(folder, { recursive: true });
  const checkpoint = await openCheckpoint(model);
  const tokenizer = await loadTokenizer(model, checkpoint.description);
  const longest = checkpoint.description.positions - checkpoint.description.positionOffset;
  const batch = raggedBatch(
    texts.map((text) => {
      const { inputIds, tokenTypeIds } = tokenizer.encode(text);
      return { inputIds: inputIds.slice(0, longest), tokenTypeIds: tokenTypeIds.slice(0, longest) };
    }),
  );
  const { parameters, positionBuckets, ...sizes } = engineSpec(checkpoint, 'float32', 'cpu');
  const lines = Object.entries(sizes).map(([name, value]) => `${name}\t${value}`);
  if (positionBuckets) lines.push(`positionBuckets\t${[...positionBuckets].join('\t')}`);
  const nameOf = (file: string) => (inPlace ? relative(resolve(folder), resolve(file)) : basename(file));
  const place = ({ dtype, file, offset, bytes, shape }: StoredTensor) =>
    [dtype, nameOf(file), offset, bytes, shape.length, ...shape].join('\t');
  for (const [name, { tensor, scale }] of Object.entries(parameters)) {
    lines.push(`parameter\t${name}\t${place(tensor)}`);
    if (scale) lines.push(`scale\t${name}\t${place(scale)}`);
  }
  await writeFile(join(folder, 'model.txt'), `${lines.join('\n')}\n`);
  const files = new Set(Object.values(parameters).map(({ tensor }) => tensor.file));
  if (!inPlace) for (const file of files) await copyFile(file, join(folder, nameOf(file)));
  await writeFile(join(folder, 'ids.bin'), batch.inputIds);
  await writeFile(join(folder, 'types.bin'), batch.tokenTypeIds);
  await writeFile(join(folder, 'offsets.bin'), batch.offsets);
  for (const precision of ['float32', 'int8'] as const) {
    await using engine = await Engine.load(checkpoint, { precision, device: 'cpu' });
    for (const output of checkpoint.head ? (['hidden', 'logits'] as const) : (['hidden'] as const))
      await writeFile(join(folder, `${output}-${precision}.bin`), await engine.run(batch, { output }));
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const [model, folder, option] = process.argv.slice(2);
  if (!model || !folder || (option !== undefined && option !== '--in-place')) {
    console.error('Expected a model and a folder: node --import tsx scripts/cuda-fixture.ts MODEL FOLDER [--in-place]');
    process.exit(1);
  }
  await packFixture(model, folder, option !== undefined);
}
