/** The files that sentence-transformers keeps beside an encoder: how token states become one vector. */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { WhittleError } from '../../bindings/errors.js';
import type { Pooling } from './description.js';

const modulesFile = 'modules.json';
const modulesSchema = z.array(z.looseObject({ path: z.string(), type: z.string() }));
const poolingSchema = z.looseObject({
  pooling_mode_cls_token: z.boolean().default(false),
  pooling_mode_mean_tokens: z.boolean().default(false),
  pooling_mode_max_tokens: z.boolean().default(false),
  pooling_mode_mean_sqrt_len_tokens: z.boolean().default(false),
  pooling_mode_weightedmean_tokens: z.boolean().default(false),
  pooling_mode_lasttoken: z.boolean().default(false),
});

/**
 * How a folder of sentence-transformers pools, told by `modules.json`. Undefined without that file, and for modules or
 * kinds of pooling that whittle has not: the folder is a bare encoder then.
 *
 * @throws WhittleError `BAD_CHECKPOINT` for files that are damaged.
 */
export async function readPooling(folder: string): Promise<Pooling | undefined> {
  const listed = await readJson(join(folder, modulesFile), modulesSchema);
  if (!listed) return undefined;
  const [first, pooling, last, ...others] = listed.map(({ path, type }) => ({ path, kind: type.split('.').at(-1)! }));
  const normalize = last?.kind === 'Normalize';
  if (first?.kind !== 'Transformer' || pooling?.kind !== 'Pooling' || (last && !normalize) || others.length > 0)
    return undefined;
  const file = join(folder, pooling.path, 'config.json');
  const modes = await readJson(file, poolingSchema);
  if (!modes) throw new WhittleError('BAD_CHECKPOINT', `${file}: no such file, though ${modulesFile} names its folder`);
  const { pooling_mode_cls_token: first_token, pooling_mode_mean_tokens: mean } = modes;
  const several = Object.entries(modes).filter(([name, on]) => name.startsWith('pooling_mode_') && on === true);
  if (several.length !== 1 || !(first_token || mean)) return undefined;
  return { of: mean ? 'mean' : 'first', normalize };
}

async function readJson<S extends z.ZodType>(file: string, schema: S): Promise<z.output<S> | undefined> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw new WhittleError('IO', `${file} could not be read: ${message}`, { cause: error });
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new WhittleError('BAD_CHECKPOINT', `${file}: expected JSON but found: ${(error as Error).message}`);
  }
  const parsed = schema.safeParse(value);
  if (!parsed.success)
    throw new WhittleError(
      'BAD_CHECKPOINT',
      `${file}: expected a file of sentence-transformers but found another form`,
    );
  return parsed.data;
}

/** Writes the files that make an encoder's folder one that sentence-transformers loads. */
export async function writePooling(
  folder: string,
  { of, normalize }: Pooling,
  hidden: number,
  maxLength: number,
): Promise<void> {
  const modules = ['Transformer', 'Pooling', ...(normalize ? ['Normalize'] : [])].map((kind, idx) => ({
    idx,
    name: String(idx),
    path: idx === 0 ? '' : `${idx}_${kind}`,
    type: `sentence_transformers.models.${kind}`,
  }));
  const files: [string, unknown][] = [
    [modulesFile, modules],
    ['sentence_bert_config.json', { max_seq_length: maxLength, do_lower_case: false }],
    [
      '1_Pooling/config.json',
      {
        word_embedding_dimension: hidden,
        pooling_mode_cls_token: of === 'first',
        pooling_mode_mean_tokens: of === 'mean',
        pooling_mode_max_tokens: false,
        pooling_mode_mean_sqrt_len_tokens: false,
      },
    ],
  ];
  for (const [name, content] of files) {
    await mkdir(dirname(join(folder, name)), { recursive: true });
    await writeFile(join(folder, name), `${JSON.stringify(content, null, 2)}\n`);
  }
  if (normalize) await mkdir(join(folder, '2_Normalize'));
}
