/** The steps of a recipe's `preprocessing`, and the same as a model keeps them. */
import { z } from 'zod';
import { languages } from './segment.js';

const language = z.enum(languages, 'Expected "en" or "zh"');
const sentenceCount = z.int('Expected a number of sentences').min(0).max(100_000).default(0);

const namedSteps = ['lowercase', 'whitespace', 'htmlEntities'] as const;

const optionStep = z
  .strictObject({
    /** Normalization form of Unicode. */
    unicode: z.enum(['NFC', 'NFD', 'NFKC', 'NFKD']).optional(),
    /** A language's own list, or yours. */
    stopWords: z.union([language, z.strictObject({ language, words: z.array(z.string().min(1)).min(1) })]).optional(),
    /** White space between the words of a language, for Chinese with a tokenizer that needs it. */
    words: language.optional(),
    /** Only so many sentences at the beginning and at the end stay. */
    sentences: z
      .strictObject({ language, first: sentenceCount, last: sentenceCount })
      .refine(({ first, last }) => first + last > 0, 'Expected "first" or "last", how many sentences stay')
      .optional(),
  })
  .refine(
    (step) => Object.values(step).filter((value) => value !== undefined).length === 1,
    'Expected exactly one of unicode, stopWords, words, sentences',
  );

/** Steps in the order that they are taken. */
export const preprocessingSchema = z.array(
  z.union(
    [z.enum(namedSteps), optionStep],
    `Expected ${namedSteps.join(', ')}, or an object with unicode, stopWords, words or sentences`,
  ),
);

/** The steps that a text goes through before it is tokenized, in order. */
export type PreprocessingOptions = z.input<typeof preprocessingSchema>;
export type PreprocessingStep = z.output<typeof preprocessingSchema>[number];
