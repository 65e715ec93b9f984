/** Preprocessing: what is done to every text before it is tokenized, in training and in prediction alike. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { WhittleError } from '../../../bindings/errors.js';
import { checkOptions } from '../../options.js';
import type { Task } from '../dataset.js';
import { MappedText, type Edit } from './mapped-text.js';
import { preprocessingSchema, type PreprocessingOptions, type PreprocessingStep } from './options.js';
import {
  htmlEntityEdits,
  lowercaseEdits,
  sentenceEdits,
  stopWordEdits,
  unicodeEdits,
  whitespaceEdits,
  wordEdits,
} from './steps.js';

/** The file of a checkpoint that keeps its preprocessing. */
export const preprocessingFile = 'preprocessing.json';

const fileSchema = z.strictObject({ version: z.literal(1), steps: preprocessingSchema });

type Editor = (text: string) => Edit[];

/**
 * Steps ready to be taken.
 *
 * @example
 * const preprocessing = await Preprocessing.create(['htmlEntities', { unicode: 'NFKC' }, 'lowercase']);
 * preprocessing.apply('Ａ &amp; B').text; // 'a & b'
 */
export class Preprocessing {
  /** With the words of their lists, so that a later version of a list changes nothing. */
  readonly steps: readonly PreprocessingStep[];
  readonly #editors: readonly Editor[];

  private constructor(steps: readonly PreprocessingStep[]) {
    this.steps = steps;
    this.#editors = steps.map(editorOf);
  }

  /** @throws WhittleError `BAD_OPTION` for steps that are none. */
  static async create(options: PreprocessingOptions): Promise<Preprocessing> {
    const steps = checkOptions(preprocessingSchema, options, 'preprocessing');
    return new Preprocessing(await Promise.all(steps.map(withWords)));
  }

  /** A text after all steps, and where its characters come from. */
  apply(text: string): MappedText {
    return this.#editors.reduce((changed, editor) => changed.edited(editor(changed.text)), new MappedText(text));
  }

  /** The contents of a checkpoint's preprocessing.json. */
  toJSON(): { version: 1; steps: readonly PreprocessingStep[] } {
    return { version: 1, steps: this.steps };
  }

  /**
   * Entities keep their words, so that no step may take words away or cut them.
   * @throws WhittleError `BAD_OPTION`
   */
  expectTask(task: Task): void {
    if (task !== 'token-classification') return;
    for (const step of this.steps) {
      const name = typeof step === 'string' ? step : Object.keys(step)[0]!;
      if (name === 'stopWords' || name === 'words' || name === 'sentences') {
        throw new WhittleError(
          'BAD_OPTION',
          `preprocessing: expected steps that leave every word in its place, as entities need them, but found "${name}"`,
        );
      }
    }
  }
}

/**
 * The preprocessing that a checkpoint's model was trained with; undefined if none.
 * @throws WhittleError `BAD_CHECKPOINT` if its file is damaged.
 */
export async function readPreprocessing(folder: string): Promise<Preprocessing | undefined> {
  const file = join(folder, preprocessingFile);
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw new WhittleError('IO', `${file} could not be read: ${message}`, { cause: error });
  }
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new WhittleError('BAD_CHECKPOINT', `${file}: expected JSON but found: ${(error as Error).message}`);
  }
  const { steps } = checkOptions(fileSchema, json, file, 'BAD_CHECKPOINT');
  return Preprocessing.create(steps);
}

async function withWords(step: PreprocessingStep): Promise<PreprocessingStep> {
  if (typeof step === 'string' || typeof step.stopWords !== 'string') return step;
  const { eng, zho } = await import('stopword');
  return { stopWords: { language: step.stopWords, words: step.stopWords === 'en' ? eng : zho } };
}

function editorOf(step: PreprocessingStep): Editor {
  if (step === 'lowercase') return lowercaseEdits;
  if (step === 'whitespace') return whitespaceEdits;
  if (step === 'htmlEntities') return htmlEntityEdits;
  const { unicode, stopWords, words, sentences } = step;
  if (unicode) return (text) => unicodeEdits(text, unicode);
  if (words) return (text) => wordEdits(text, words);
  if (sentences) return (text) => sentenceEdits(text, sentences.language, sentences.first, sentences.last);
  if (stopWords && typeof stopWords === 'object') {
    const list = new Set(stopWords.words.map((word) => word.toLowerCase()));
    return (text) => stopWordEdits(text, stopWords.language, list);
  }
  throw new WhittleError('INTERNAL', `preprocessing: expected a step but found ${JSON.stringify(step)}`);
}
