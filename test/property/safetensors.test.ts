/** Damaged safetensors files: 10,000 seeded mutations are read or refused with one clear error, never more. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { WhittleError } from '../../bindings/errors.js';
import { native } from '../../bindings/load.js';
import { makeHeader, readHeader } from '../../lib/models/safetensors.js';
import { temporaryFolder } from '../harness.js';

const seed = Number(process.env.WHITTLE_TEST_SEED ?? 20240607);
const mutations = Number(process.env.WHITTLE_MUTATIONS ?? 10_000);
const folder = temporaryFolder();

/** Marsaglia's xorshift, 32 bits. */
function generator(state: number): (below: number) => number {
  let x = state >>> 0 || 1;
  return (below) => {
    x ^= x << 13;
    x >>>= 0;
    x ^= x >>> 17;
    x ^= x << 5;
    x >>>= 0;
    return x % below;
  };
}

async function sample(): Promise<Buffer> {
  const file = join(folder, 'sample.safetensors');
  const tensors = [
    {
      name: 'a.weight',
      dtype: 'F32' as const,
      shape: [3, 5],
      data: Float32Array.from({ length: 15 }, (_, i) => i / 7),
    },
    { name: 'a.bias', dtype: 'F16' as const, shape: [3], data: Float32Array.of(1, -2.5, 0) },
    { name: 'empty', dtype: 'BF16' as const, shape: [0, 4], data: new Float32Array(0) },
    { name: 'q', dtype: 'I8' as const, shape: [2, 3], data: Int8Array.of(-127, 0, 1, 2, 3, 127) },
    { name: 'q_scale', dtype: 'BF16' as const, shape: [2, 1], data: Float32Array.of(0.5, 0.25) },
  ];
  await native.writeTensors(file, makeHeader(tensors), tensors);
  return readFileSync(file);
}

/** One to three edits: bytes, digits and structure of the header, its length, the end of the file. */
function mutate(original: Buffer, random: (below: number) => number): Buffer {
  let bytes = Buffer.from(original);
  for (let edits = 1 + random(3); edits > 0; edits--) {
    const headerEnd = Math.min(bytes.length, 8 + Number(original.readBigUInt64LE()));
    const kind = random(8);
    if (bytes.length < 16 || kind === 0) bytes[random(Math.max(1, bytes.length))] = random(256);
    else if (kind === 1) bytes = bytes.subarray(0, random(bytes.length));
    else if (kind === 2) bytes.writeBigUInt64LE(BigInt(random(2 ** 31)) << BigInt(random(33)));
    else if (kind === 3) bytes = Buffer.concat([bytes, Buffer.alloc(1 + random(9), random(256))]);
    else if (kind === 4) {
      const digits = [...bytes.subarray(8, headerEnd).entries()].filter(([, byte]) => byte >= 48 && byte <= 57);
      const digit = digits[random(Math.max(1, digits.length))];
      if (digit) bytes[8 + digit[0]] = 48 + random(10);
    } else if (kind === 5) bytes[8 + random(headerEnd - 8)] = '{}[],:"-0eE. \\'.charCodeAt(random(14));
    else {
      const text = bytes.subarray(8, headerEnd).toString('latin1');
      const swaps: [string, string][] = [
        ['F32', 'F64'],
        ['F32', 'Q4'],
        ['[3,5]', '[5,3]'],
        ['[3,5]', '[9007199254740993,1]'],
        ['[3]', '[-3]'],
        ['[3]', '[3.5]'],
        ['a.bias', 'a.weight'],
        ['a.bias', '__proto__'],
        ['data_offsets', 'dataoffsets'],
        ['"pt"', '7'],
        ['[2,3]', '[2,3,1e300]'],
        ['[0,60]', '[60,0]'],
      ];
      const [from, to] = swaps[random(swaps.length)]!;
      const header = Buffer.from(text.replace(from, to), 'latin1');
      const length = Buffer.alloc(8);
      length.writeBigUInt64LE(BigInt(header.length));
      bytes = Buffer.concat([length, header, bytes.subarray(headerEnd)]);
    }
  }
  return bytes;
}

test(`${mutations} mutations (WHITTLE_TEST_SEED=${seed})`, async () => {
  const original = await sample();
  const random = generator(seed);
  const file = join(folder, 'mutated.safetensors');
  let refused = 0;
  for (let i = 0; i < mutations; i++) {
    const bytes = mutate(original, random);
    writeFileSync(file, bytes);
    try {
      const tensors = await readHeader(file);
      for (const [name, tensor] of tensors) {
        assert.ok(tensor.offset + tensor.bytes <= bytes.length, `${name} ends beyond the file`);
        const scale = tensors.get(`${name}_scale`);
        const [values] = await native.readParameters([scale ? { tensor, scale } : { tensor }]);
        assert.is(
          values!.length,
          tensor.shape.reduce((product, size) => product * size, 1),
        );
      }
    } catch (error) {
      if (!(error instanceof WhittleError)) throw new Error(`mutation ${i}: ${(error as Error).stack}`);
      assert.ok(
        ['BAD_CHECKPOINT', 'UNSUPPORTED'].includes(error.code),
        `mutation ${i}: ${error.code} ${error.message}`,
      );
      assert.match(error.message, file, `mutation ${i}: ${error.message}`);
      refused++;
    }
  }
  assert.ok(refused > mutations / 2, `only ${refused} were refused`);
});

test.run();
