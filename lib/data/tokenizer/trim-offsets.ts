/** Offsets without the spaces at a token's ends: `trim_offsets` of tokenizer.json's RobertaProcessing. */
import { byteCharacters } from './byte-pairs.js';
import type { TokenBuffer } from './token-buffer.js';

/** How many spaces a token begins and ends with. */
export interface Spaces {
  leading: number;
  trailing: number;
}

export interface OffsetTrimming {
  /** A single space in front of a text's first token stays: `add_prefix_space`. */
  keepFirstSpace: boolean;
}

/** Of a token as the vocabulary writes it, or as it stands in the text. */
export function spacesOf(token: string): Spaces {
  const isSpace = (character: string) => character === byteCharacters[0x20] || /\p{White_Space}/u.test(character);
  const characters = [...token];
  const leading = characters.findIndex((character) => !isSpace(character));
  if (leading < 0) return { leading: characters.length, trailing: characters.length };
  return { leading, trailing: characters.length - 1 - characters.findLastIndex((character) => !isSpace(character)) };
}

/** Moves the ends of the token in this row of the buffer inwards, by a character of `text` for each of its spaces. */
export function trimOffsets(
  text: string,
  into: TokenBuffer,
  row: number,
  spaces: Spaces,
  { keepFirstSpace }: OffsetTrimming,
): void {
  let { leading, trailing } = spaces;
  if (keepFirstSpace && leading === 1 && (row === 0 || into.starts[row] === 0)) leading = 0;
  for (; leading > 0 && into.starts[row]! < into.ends[row]!; leading--)
    into.starts[row]! += text.codePointAt(into.starts[row]!)! > 0xffff ? 2 : 1;
  for (; trailing > 0 && into.ends[row]! > into.starts[row]!; trailing--)
    into.ends[row]! -= isLowSurrogate(text, into.ends[row]! - 1) ? 2 : 1;
}

function isLowSurrogate(text: string, at: number): boolean {
  return at > 0 && text.charCodeAt(at) >= 0xdc00 && text.charCodeAt(at) <= 0xdfff;
}
