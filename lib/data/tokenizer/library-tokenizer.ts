/** Tokenizers of other kinds than BERT's, by way of @huggingface/tokenizers: ids, but no places in the text. */
import { Tokenizer as LibraryPipeline } from '@huggingface/tokenizers';
import { WhittleError } from '../../../bindings/errors.js';
import type { Templates } from './template.js';
import { assembleEncoding, roomFor } from './assemble.js';
import { TokenBuffer } from './token-buffer.js';
import { encodeEach, type EncodedBatch } from './encoded-batch.js';
import type { BatchOptions, EncodeOptions, Encoding, Tokenizer, TokenizerInput } from './tokenizer.js';

export class LibraryTokenizer implements Tokenizer {
  readonly hasOffsets = false;
  private readonly pipeline: LibraryPipeline;
  private readonly first = new TokenBuffer();
  private readonly second = new TokenBuffer();

  /**
   * @param json contents of tokenizer.json.
   * @throws WhittleError `UNSUPPORTED` for kinds that the library does not know.
   */
  constructor(
    json: object,
    private readonly templates: Templates,
    file: string,
  ) {
    try {
      // Special tokens are added by the templates, which know where to cut.
      this.pipeline = new LibraryPipeline({ ...json, post_processor: null }, {});
    } catch (cause) {
      if (cause instanceof TypeError)
        throw new WhittleError(
          'BAD_CHECKPOINT',
          `${file}: model: expected what its type needs but found other fields`,
          {
            cause,
          },
        );
      throw new WhittleError(
        'UNSUPPORTED',
        `${file}: expected a tokenizer of a known kind but found: ${(cause as Error).message}`,
        { cause },
      );
    }
  }

  encode(text: string, { textPair, maxLength = Infinity }: EncodeOptions = {}): Encoding {
    const template = textPair === undefined ? this.templates.single : this.templates.pair;
    const room = roomFor(template, maxLength);
    this.first.clear();
    this.second.clear();
    this.addText(text, this.first);
    if (textPair !== undefined) this.addText(textPair, this.second);
    return assembleEncoding(template, room, this.first, this.second);
  }

  encodeWords(words: readonly string[], { maxLength = Infinity }: { maxLength?: number | undefined } = {}): Encoding {
    const room = roomFor(this.templates.single, maxLength);
    this.first.clear();
    this.second.clear();
    for (let word = 0; word < words.length && this.first.length <= room; word++) {
      this.addText(words[word]!, this.first, word);
    }
    return assembleEncoding(this.templates.single, room, this.first, this.second);
  }

  encodeBatch(inputs: readonly TokenizerInput[], options: BatchOptions = {}): EncodedBatch {
    return encodeEach(this, inputs, options);
  }

  async encodeBatchAsync(inputs: readonly TokenizerInput[], options?: BatchOptions): Promise<EncodedBatch> {
    return this.encodeBatch(inputs, options);
  }

  /** Without a word's number, all of a text counts as its word 0. */
  private addText(text: string, into: TokenBuffer, word = 0): void {
    const { ids } = this.pipeline.encode(text.replace(/\p{Surrogate}/gu, '\ufffd'), { add_special_tokens: false });
    const nowhere = ids.map(() => 0);
    into.addWord({ ids, starts: nowhere, ends: nowhere }, 0, word);
  }
}
