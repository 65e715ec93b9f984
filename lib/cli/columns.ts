/** How wide texts are on a terminal. */

/** East Asian wide and full-width characters and emoji, which take two columns. */
const wide =
  /[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\ua960-\ua97f\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{20000}-\u{3fffd}]|\p{Emoji_Presentation}/u;
const narrowest = /\p{M}|\p{Cf}/u;

function columnsOfCharacter(character: string): number {
  if (character < '\u0300') return 1;
  if (narrowest.test(character)) return 0;
  return wide.test(character) ? 2 : 1;
}

/** Columns that a line takes. */
export function columnsOf(text: string): number {
  let columns = 0;
  for (const character of text) columns += columnsOfCharacter(character);
  return columns;
}

/** The text if it takes at most `width` columns, else its beginning and an ellipsis. */
export function cutTo(text: string, width: number): string {
  if (columnsOf(text) <= width) return text;
  let columns = 0;
  let cut = '';
  for (const character of text) {
    columns += columnsOfCharacter(character);
    if (columns > width - 1) break;
    cut += character;
  }
  return width < 1 ? '' : `${cut}…`;
}
