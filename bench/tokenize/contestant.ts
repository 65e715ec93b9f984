/**
 * whittle's tokenizer, or @huggingface/tokenizers, as a contestant on one thread: tokens of the texts of a file, special
 * tokens included.
 *
 *     contestant.ts whittle|whittle-places|library FOLDER TEXTS.json
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Tokenizer as LibraryPipeline } from '@huggingface/tokenizers';
import { loadTokenizer } from '../../lib/data/tokenizer/tokenizer.js';
import { answerTurns } from '../harness/contestant.js';

const [who, folder, file] = process.argv.slice(2) as [string, string, string];
const inputs = JSON.parse(readFileSync(file, 'utf8')) as (string | string[])[];
const work = who === 'library' ? libraryWork() : await whittleWork(who === 'whittle-places');
work();
await answerTurns(work);

async function whittleWork(places: boolean): Promise<() => number> {
  const tokenizer = await loadTokenizer(folder);
  const given = inputs.map((input) => (typeof input === 'string' ? input : { tokens: input }));
  return () => {
    let tokens = 0;
    for (let start = 0; start < given.length; start += 1024) {
      const options = { threads: 1, words: places, places };
      tokens += tokenizer.encodeBatch(given.slice(start, start + 1024), options).inputIds.length;
    }
    return tokens;
  };
}

function libraryWork(): () => number {
  const json = JSON.parse(readFileSync(join(folder, 'tokenizer.json'), 'utf8')) as object;
  const pipeline = new LibraryPipeline(json, {});
  const idsOf = (text: string, special: boolean) => pipeline.encode(text, { add_special_tokens: special }).ids.length;
  return () => {
    let tokens = 0;
    for (const input of inputs) {
      if (typeof input === 'string') tokens += idsOf(input, true);
      else tokens += 2 + input.reduce((sum, word) => sum + idsOf(word, false), 0);
    }
    return tokens;
  };
}
