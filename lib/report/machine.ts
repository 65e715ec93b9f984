/** What the machine offers, in a line. */
import { native } from '../../bindings/load.js';

/**
 * One line for terminals and reports.
 * @example
 * describeMachine(); // '4 threads, no GPU'
 */
export function describeMachine(): string {
  const { threads } = native.machineInfo();
  return `${threads} ${threads === 1 ? 'thread' : 'threads'}, no GPU`;
}
