/** Where special tokens go around one text or two: tokenizer.json's post-processor. */

/** A special token, or the place of a text. */
export type TemplateItem = { special: number; typeId: number } | { sequence: 'A' | 'B'; typeId: number };

export interface Templates {
  single: TemplateItem[];
  pair: TemplateItem[];
}

interface PostProcessor {
  type: string;
  single?: TemplateProcessingItem[];
  pair?: TemplateProcessingItem[];
  special_tokens?: Record<string, { ids: number[] }>;
  cls?: [string, number];
  sep?: [string, number];
}

interface TemplateProcessingItem {
  SpecialToken?: { id: string; type_id: number };
  Sequence?: { id: 'A' | 'B'; type_id: number };
}

/** @returns undefined for a kind that whittle does not know. */
export function readTemplates(postProcessor: PostProcessor | null | undefined): Templates | undefined {
  if (postProcessor === null || postProcessor === undefined) {
    return { single: [text('A', 0)], pair: [text('A', 0), text('B', 1)] };
  }
  const [cls, sep] = [postProcessor.cls?.[1] ?? -1, postProcessor.sep?.[1] ?? -1];
  switch (postProcessor.type) {
    case 'TemplateProcessing': {
      const tokens = postProcessor.special_tokens ?? {};
      return {
        single: readItems(postProcessor.single ?? [], tokens),
        pair: readItems(postProcessor.pair ?? [], tokens),
      };
    }
    case 'BertProcessing':
      return {
        single: [token(cls, 0), text('A', 0), token(sep, 0)],
        pair: [token(cls, 0), text('A', 0), token(sep, 0), text('B', 1), token(sep, 1)],
      };
    case 'RobertaProcessing':
      return {
        single: [token(cls, 0), text('A', 0), token(sep, 0)],
        pair: [token(cls, 0), text('A', 0), token(sep, 0), token(sep, 0), text('B', 0), token(sep, 0)],
      };
    default:
      return undefined;
  }
}

/** How many tokens the template adds. */
export function specialTokens(template: readonly TemplateItem[]): number {
  return template.filter((item) => 'special' in item).length;
}

/**
 * How many tokens of two texts remain when both together may have `room`: the longer one is cut first, then both alike
 * (Hugging Face's `longest_first`).
 */
export function truncatePair(first: number, second: number, room: number): [number, number] {
  if (first + second <= room) return [first, second];
  const shorter = Math.min(first, second);
  let kept: [number, number] = [shorter, Math.max(shorter, room - shorter)];
  if (shorter > room || kept[0] + kept[1] > room) kept = [Math.floor(room / 2), Math.ceil(room / 2)];
  return first <= second ? kept : [kept[1], kept[0]];
}

function token(special: number, typeId: number): TemplateItem {
  return { special, typeId };
}

function text(sequence: 'A' | 'B', typeId: number): TemplateItem {
  return { sequence, typeId };
}

function readItems(items: TemplateProcessingItem[], tokens: Record<string, { ids: number[] }>): TemplateItem[] {
  return items.flatMap((item) => {
    if (item.Sequence) return [text(item.Sequence.id, item.Sequence.type_id)];
    const { id, type_id } = item.SpecialToken!;
    return (tokens[id]?.ids ?? []).map((special) => token(special, type_id));
  });
}
