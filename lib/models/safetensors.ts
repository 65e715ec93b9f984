/** Reads and makes the headers of safetensors files. Tensor data is read and written by the native core. */
import { open, stat } from 'node:fs/promises';
import { WhittleError } from '../../bindings/errors.js';
import type { StoredTensor, TensorDtype } from '../../bindings/native.js';

const elementBytes: Record<TensorDtype, number> = {
  F32: 4,
  F16: 2,
  BF16: 2,
  I8: 1,
  I16: 2,
  I32: 4,
  I64: 8,
  U8: 1,
  U16: 2,
  U32: 4,
  U64: 8,
  F64: 8,
  F8_E4M3: 1,
  F8_E5M2: 1,
  BOOL: 1,
};

/** The limit of the reference implementation. */
const maxHeaderBytes = 100_000_000;

/**
 * The tensors of a safetensors file, by name, in the order of their data. Everything that the header claims is checked:
 * lengths against the file, dtypes, shapes against byte counts, and that the tensors cover the data without gap or
 * overlap.
 * @throws WhittleError BAD_CHECKPOINT naming the file and the tensor; IO if the file cannot be read.
 * @see https://github.com/huggingface/safetensors#format
 * @example
 * const tensors = await readHeader('minilm/model.safetensors');
 * tensors.get('embeddings.LayerNorm.bias')?.shape; // [384]
 */
export async function readHeader(file: string): Promise<Map<string, StoredTensor>> {
  const { header, headerBytes, fileBytes } = await readHeaderText(file);
  const fail = (problem: string): never => {
    throw new WhittleError('BAD_CHECKPOINT', `${file}: ${problem}`);
  };
  let parsed: unknown;
  try {
    parsed = JSON.parse(header);
  } catch (error) {
    fail(`expected JSON in the header but found: ${(error as Error).message}`);
  }
  if (!isObject(parsed)) return fail('expected a JSON object in the header');
  const repeated = repeatedKey(header);
  if (repeated !== undefined) fail(`tensor ${repeated} appears twice in the header`);

  const dataStart = 8 + headerBytes;
  const tensors: StoredTensor[] = [];
  for (const [name, entry] of Object.entries(parsed)) {
    if (name === '__metadata__') {
      if (!isObject(entry) || Object.values(entry).some((value) => typeof value !== 'string'))
        fail('expected __metadata__ to map strings to strings');
      continue;
    }
    tensors.push(readEntry(file, name, entry, dataStart));
  }
  tensors.sort((a, b) => a.offset - b.offset || a.bytes - b.bytes);
  let end = dataStart;
  let previous = 'the header';
  for (const tensor of tensors) {
    if (tensor.offset !== end)
      fail(
        `tensor ${tensor.name} begins at byte ${tensor.offset - dataStart} of the data but ${previous} ends at ` +
          `${end - dataStart}: tensors must follow each other without ${tensor.offset < end ? 'overlap' : 'gap'}`,
      );
    end += tensor.bytes;
    previous = `tensor ${tensor.name}`;
    if (end > fileBytes)
      fail(
        `tensor ${tensor.name} ends at byte ${end} but the file has ${fileBytes} bytes; it is truncated or its header is wrong`,
      );
  }
  if (end !== fileBytes) fail(`the header describes ${end} bytes but the file has ${fileBytes}`);
  return new Map(tensors.map((tensor) => [tensor.name, tensor]));
}

async function readHeaderText(file: string): Promise<{ header: string; headerBytes: number; fileBytes: number }> {
  const fail = (problem: string): never => {
    throw new WhittleError('BAD_CHECKPOINT', `${file}: ${problem}`);
  };
  try {
    const fileBytes = (await stat(file)).size;
    if (fileBytes < 8) return fail(`expected a safetensors file but it has ${fileBytes} bytes`);
    const handle = await open(file, 'r');
    try {
      const length = Buffer.alloc(8);
      await handle.read(length, 0, 8, 0);
      const declared = length.readBigUInt64LE();
      if (declared > BigInt(Math.min(fileBytes - 8, maxHeaderBytes)))
        return fail(
          declared > BigInt(fileBytes - 8)
            ? `its header claims ${declared} bytes but the file has only ${fileBytes - 8} after the length`
            : `its header claims ${declared} bytes; at most ${maxHeaderBytes} are allowed`,
        );
      const bytes = Buffer.alloc(Number(declared));
      const { bytesRead } = await handle.read(bytes, 0, bytes.length, 8);
      if (bytesRead !== bytes.length) return fail(`the header ends after ${bytesRead} of ${bytes.length} bytes`);
      const header = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
      return { header, headerBytes: bytes.length, fileBytes };
    } finally {
      await handle.close();
    }
  } catch (error) {
    if (error instanceof WhittleError) throw error;
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') return fail('no such file');
    if (code === 'ERR_ENCODING_INVALID_ENCODED_DATA') return fail('expected UTF-8 in the header');
    throw new WhittleError('IO', `${file} could not be read: ${message}`, { cause: error });
  }
}

function readEntry(file: string, name: string, entry: unknown, dataStart: number): StoredTensor {
  const fail = (expected: string, found: unknown): never => {
    throw new WhittleError(
      'BAD_CHECKPOINT',
      `${file}: tensor ${name}: expected ${expected} but found ${JSON.stringify(found)}`,
    );
  };
  if (!isObject(entry)) return fail('an object with dtype, shape and data_offsets', entry);
  const { dtype, shape, data_offsets: offsets } = entry;
  if (typeof dtype !== 'string' || !Object.hasOwn(elementBytes, dtype))
    return fail(`dtype to be one of ${Object.keys(elementBytes).join(', ')}`, dtype);
  if (!isCounts(shape)) return fail('shape to be a list of whole numbers', shape);
  if (!isCounts(offsets) || offsets.length !== 2 || offsets[0]! > offsets[1]!)
    return fail('data_offsets to be [begin, end]', offsets);
  const [begin, end] = offsets as [number, number];
  const bytes = shape.reduce((product, size) => product * size, elementBytes[dtype as TensorDtype]);
  if (bytes !== end - begin) return fail(`${bytes} bytes for ${dtype} [${shape.join(', ')}]`, end - begin);
  return { name, file, dtype: dtype as TensorDtype, shape, offset: dataStart + begin, bytes };
}

/**
 * The header bytes (length, JSON, padding with spaces to a multiple of 8) of a file that holds the tensors one after
 * the other in the order given.
 */
export function makeHeader(tensors: { name: string; dtype: TensorDtype; shape: number[] }[]): Uint8Array {
  const header: Record<string, unknown> = { __metadata__: { format: 'pt' } };
  let offset = 0;
  for (const { name, dtype, shape } of tensors) {
    const end = offset + shape.reduce((product, size) => product * size, elementBytes[dtype]);
    header[name] = { dtype, shape, data_offsets: [offset, end] };
    offset = end;
  }
  const json = Buffer.from(JSON.stringify(header));
  const padded = Math.ceil(json.length / 8) * 8;
  const bytes = Buffer.alloc(8 + padded, ' ');
  bytes.writeBigUInt64LE(BigInt(padded));
  json.copy(bytes, 8);
  return bytes;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isCounts(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((one) => Number.isSafeInteger(one) && (one as number) >= 0);
}

/** The first key that stands twice in the outermost object of valid JSON; JSON.parse would keep the last silently. */
function repeatedKey(json: string): string | undefined {
  const seen = new Set<string>();
  let depth = 0;
  for (let i = 0; i < json.length; i++) {
    const char = json[i]!;
    if (char === '{' || char === '[') depth++;
    else if (char === '}' || char === ']') depth--;
    else if (char === '"') {
      const start = i;
      for (i++; json[i] !== '"'; i++) if (json[i] === '\\') i++;
      let next = i + 1;
      while (json[next] === ' ' || json[next] === '\n' || json[next] === '\t' || json[next] === '\r') next++;
      if (depth !== 1 || json[next] !== ':') continue;
      const key = JSON.parse(json.slice(start, i + 1)) as string;
      if (seen.has(key)) return key;
      seen.add(key);
    }
  }
  return undefined;
}
