/** The kinds of failure that a caller may want to tell apart. */
export type WhittleErrorCode =
  | 'BAD_OPTION' // an option or argument: unknown key, wrong type, out of range
  | 'BAD_RECIPE' // a recipe file
  | 'BAD_DATA' // a data file or row
  | 'BAD_CHECKPOINT' // config.json, safetensors, tokenizer.json: missing, truncated, inconsistent
  | 'UNSUPPORTED' // well formed, but not something whittle can do: architecture, task, dtype, device
  | 'DEVICE' // a GPU was lost, or has no memory left
  | 'NO_BINARY' // no native binary for this machine
  | 'DISPOSED' // used after dispose()
  | 'ABORTED' // stopped by an AbortSignal or Ctrl-C
  | 'DIVERGED' // the training loss became NaN or infinite
  | 'IO' // reading or writing failed: full disk, permissions
  | 'MEMORY' // the process got no more memory
  | 'INTERNAL'; // a defect of whittle

/**
 * Every error that whittle throws on purpose. `message` is one sentence that names the file and line, option or
 * tensor, what was expected and what was found.
 *
 * @example
 * try {
 *   await Predictor.load('nowhere');
 * } catch (error) {
 *   if (error instanceof WhittleError && error.code === 'BAD_CHECKPOINT') console.error(error.message);
 * }
 */
export class WhittleError extends Error {
  override readonly name = 'WhittleError';
  readonly code: WhittleErrorCode;

  constructor(code: WhittleErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}
