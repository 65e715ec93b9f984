/** Special tokens around the tokens of one text or two, cut to the room there is. */
import { WhittleError } from '../../../bindings/errors.js';
import { specialTokens, truncatePair, type TemplateItem } from './template.js';
import type { TokenBuffer } from './token-buffer.js';
import type { Encoding } from './tokenizer.js';

/** The buffers' tokens with special tokens around them. The second buffer is empty for a single text. */
export function assembleEncoding(
  template: readonly TemplateItem[],
  room: number,
  firstBuffer: TokenBuffer,
  secondBuffer: TokenBuffer,
): Encoding {
  const [first, second] = truncatePair(firstBuffer.length, secondBuffer.length, room);
  const length = specialTokens(template) + first + second;
  const inputIds = new Int32Array(length);
  const tokenTypeIds = new Int32Array(length);
  const offsets = new Int32Array(2 * length);
  const wordIds = new Int32Array(length);
  let row = 0;
  for (const item of template) {
    if ('special' in item) {
      inputIds[row] = item.special;
      tokenTypeIds[row] = item.typeId;
      wordIds[row] = -1;
      row++;
      continue;
    }
    const [source, count] = item.sequence === 'A' ? [firstBuffer, first] : [secondBuffer, second];
    inputIds.set(source.ids.subarray(0, count), row);
    wordIds.set(source.wordIds.subarray(0, count), row);
    if (item.typeId !== 0) tokenTypeIds.fill(item.typeId, row, row + count);
    for (let index = 0; index < count; index++) {
      offsets[2 * (row + index)] = source.starts[index]!;
      offsets[2 * (row + index) + 1] = source.ends[index]!;
    }
    row += count;
  }
  return {
    inputIds,
    tokenTypeIds,
    offsets,
    wordIds,
    truncated: first + second < firstBuffer.length + secondBuffer.length,
  };
}

/**
 * How many tokens of texts fit beside the special ones.
 * @throws WhittleError `BAD_OPTION` if not even one does.
 */
export function roomFor(template: readonly TemplateItem[], maxLength: number): number {
  const room = maxLength - specialTokens(template);
  if (!(room >= 1)) {
    throw new WhittleError(
      'BAD_OPTION',
      `maxLength: expected at least ${specialTokens(template) + 1}, room for the special tokens and one more, but found ${maxLength}`,
    );
  }
  return room;
}
