/** Tokens that stand whole in a text, such as `[MASK]`: found before the text is cut into words. */

/** An entry of tokenizer.json's `added_tokens`. */
export interface AddedToken {
  id: number;
  content: string;
  /** Only where no word character touches it. */
  single_word: boolean;
  /** Takes the white space on its left, or right, with it. */
  lstrip: boolean;
  rstrip: boolean;
  /** Looked for in the normalized text, not in the text as given. */
  normalized: boolean;
}

/** A part of a text: an added token, or text between them (`id` -1). */
export interface Section {
  id: number;
  start: number;
  end: number;
}

/** Finds the tokens of one list, the longest at each place, from the left. */
export class AddedTokenFinder {
  private readonly pattern: RegExp | undefined;
  private readonly byContent: Map<string, AddedToken>;

  constructor(tokens: readonly AddedToken[]) {
    this.byContent = new Map(tokens.map((token) => [token.content, token]));
    const contents = [...this.byContent.keys()].filter(Boolean).sort((a, b) => b.length - a.length);
    if (contents.length > 0) {
      this.pattern = new RegExp(
        contents.map((content) => content.replace(/[\\^$.*+?()[\]{}|/-]/g, '\\$&')).join('|'),
        'gu',
      );
    }
  }

  /** `text` in sections, or undefined if no added token is in it. */
  sections(text: string): Section[] | undefined {
    if (this.pattern === undefined) return undefined;
    if (text.search(this.pattern) < 0) return undefined;
    const sections: Section[] = [];
    let done = 0;
    for (const match of text.matchAll(this.pattern)) {
      const token = this.byContent.get(match[0])!;
      let [start, end] = [match.index, match.index + match[0].length];
      if (
        token.single_word &&
        (/[\p{L}\p{N}\p{M}\p{Pc}]$/u.test(text.slice(0, start)) || /^[\p{L}\p{N}\p{M}\p{Pc}]/u.test(text.slice(end)))
      ) {
        continue;
      }
      if (token.lstrip) start = Math.max(done, text.slice(0, start).trimEnd().length);
      if (token.rstrip) end = text.length - text.slice(end).trimStart().length;
      if (start > done) sections.push({ id: -1, start: done, end: start });
      sections.push({ id: token.id, start, end });
      done = end;
    }
    if (done < text.length) sections.push({ id: -1, start: done, end: text.length });
    return sections;
  }
}
