/** What of a training's options belongs to the model, so that prediction repeats it: `whittle` in config.json. */
import { z } from 'zod';
import { checkOptions } from '../options.js';

const share = z.number('a probability').min(0).max(1);

export const longTexts = z.enum(['truncate', 'windows']);
export const labelPieces = z.enum(['first', 'all', 'all-inside']);

const settingsSchema = z.looseObject({
  /** What becomes of texts with more than `maxLength` tokens. */
  longTexts: longTexts.optional(),
  /** Most tokens of a window. */
  maxLength: z.int().positive().optional(),
  /** Tokens that neighboring windows share. */
  stride: z.int().min(0).optional(),
  /** Pieces of a word that carried its tag in training. */
  labelPieces: labelPieces.optional(),
  /** The probability from which a label of several is given; `tune`: `thresholds` were found on dev. */
  threshold: z.union([z.literal('tune'), share]).optional(),
  /** `[labels]` */
  thresholds: z.array(share).optional(),
});

export interface TaskSettings {
  longTexts?: z.output<typeof longTexts> | undefined;
  maxLength?: number | undefined;
  stride?: number | undefined;
  labelPieces?: z.output<typeof labelPieces> | undefined;
  threshold?: 'tune' | number | undefined;
  thresholds?: number[] | undefined;
}

/**
 * The settings of a checkpoint; none where config.json has none.
 * @throws WhittleError `BAD_CHECKPOINT` for values that cannot be.
 */
export function readSettings(config: Readonly<Record<string, unknown>>, file: string): TaskSettings {
  if (config.whittle === undefined) return {};
  const read = checkOptions(settingsSchema, config.whittle, `${file}: whittle`, 'BAD_CHECKPOINT');
  return Object.fromEntries(Object.keys(settingsSchema.shape).map((key) => [key, read[key]]));
}

/** config.json with other settings; what else stands under `whittle` stays. */
export function withSettings(
  config: Readonly<Record<string, unknown>>,
  settings: TaskSettings,
): Record<string, unknown> {
  const { whittle, ...rest } = config;
  const others = Object.entries((whittle ?? {}) as object).filter(([key]) => !(key in settingsSchema.shape));
  const own = Object.entries(settings).filter(([, value]) => value !== undefined);
  const all = Object.fromEntries([...others, ...own]);
  return Object.keys(all).length > 0 ? { ...rest, whittle: all } : rest;
}

/** `[labels]` the probability from which each of several labels is given: as tuned, the same for all, or 0.5. */
export function thresholdsOf({ threshold, thresholds }: TaskSettings, labels: number): number[] {
  if (thresholds?.length === labels) return thresholds;
  return new Array<number>(labels).fill(typeof threshold === 'number' ? threshold : 0.5);
}
