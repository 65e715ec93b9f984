import { WhittleError } from '../../../bindings/errors.js';

/** Preprocessing left nothing of a text. */
export class EmptiedTextError extends WhittleError {
  constructor() {
    super('BAD_DATA', 'expected text to be left after preprocessing but found none');
  }
}
