/** Options of commands that are numbers. */
import { InvalidArgumentError } from 'commander';

/** A parser for an option between two bounds. */
export function numberBetween(low: number, high: number, whole = false): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() !== '' && value >= low && value <= high && (!whole || Number.isInteger(value))) return value;
    const kind = whole ? 'a whole number' : 'a number';
    throw new InvalidArgumentError(`Expected ${kind} from ${low} to ${high}.`);
  };
}
