/**
 * Runs contestants in processes of their own, pinned to the same cores, taking turns, and compares medians.
 *
 * A contestant is any program that prints a line `ready` when it has loaded and warmed up, then answers each line
 * `go` on its standard input with one line of JSON `{"units": N, "seconds": S}`: how much work it did and how long
 * that took. It ends when its standard input does. contestant.ts holds the Node side of it; in Python it is
 *
 *     print("ready", flush=True)
 *     for _ in sys.stdin: print(json.dumps({"units": n, "seconds": s}), flush=True)
 */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';

export interface Contestant {
  name: string;
  command: string;
  args: string[];
  env?: Record<string, string>;
}

export interface ContestOptions {
  cpus: number[];
  /** Turns of each contestant; the median counts. */
  turns: number;
}

/**
 * Median units per second of each contestant, by name. All processes live through the whole contest, idle when it is
 * not their turn, so that slow changes of the machine (clock, neighbors) hit all of them alike.
 *
 * @throws Error if a contestant ends early, with what it wrote to standard error.
 */
export async function contest(contestants: Contestant[], options: ContestOptions): Promise<Record<string, number>> {
  const players: Player[] = [];
  try {
    // One after another: loading and warming up would otherwise disturb each other.
    for (const contestant of contestants) players.push(await Player.start(contestant, options.cpus));
    const speeds = new Map<string, number[]>(contestants.map(({ name }) => [name, []]));
    for (let turn = 0; turn < options.turns; turn++) {
      for (const player of players) {
        const { units, seconds } = await player.turn();
        speeds.get(player.name)!.push(units / seconds);
      }
    }
    return Object.fromEntries([...speeds].map(([name, values]) => [name, median(values)]));
  } finally {
    players.forEach((player) => player.stop());
  }
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

class Player {
  readonly name: string;
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  #errors = '';

  private constructor(name: string, child: ChildProcess) {
    this.name = name;
    this.#child = child;
    this.#lines = createInterface({ input: child.stdout! })[Symbol.asyncIterator]();
    child.stderr!.on('data', (chunk) => (this.#errors = (this.#errors + String(chunk)).slice(-4000)));
  }

  static async start(contestant: Contestant, cpus: number[]): Promise<Player> {
    const pinned = spawnSync('taskset', ['--version']).status === 0;
    const [command, args] = pinned
      ? ['taskset', ['-c', cpus.join(','), contestant.command, ...contestant.args]]
      : [contestant.command, contestant.args];
    const child = spawn(command, args, { env: { ...process.env, ...contestant.env }, stdio: 'pipe' });
    const player = new Player(contestant.name, child);
    while ((await player.#line()) !== 'ready');
    return player;
  }

  async turn(): Promise<{ units: number; seconds: number }> {
    this.#child.stdin!.write('go\n');
    return JSON.parse(await this.#line()) as { units: number; seconds: number };
  }

  stop(): void {
    this.#child.stdin!.end();
    this.#child.kill();
  }

  async #line(): Promise<string> {
    const { value, done } = await this.#lines.next();
    if (done) throw new Error(`${this.name} ended early:\n${this.#errors}`);
    return value;
  }
}
