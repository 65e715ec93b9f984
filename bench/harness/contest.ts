/**
 * Runs contestants in processes of their own, pinned to the same cores, taking turns, and compares medians.
 *
 * A contestant is any program that prints a line `ready` when it has loaded and warmed up (and may add JSON that says
 * which version it is and what it chose), then answers each line `go` on its standard input with one line of JSON `{"units": N, "seconds": S}`: how much work it did and how long
 * that took. It ends when its standard input does. contestant.ts holds the Node side of it; in Python it is
 *
 *     print("ready", flush=True)
 *     for _ in sys.stdin: print(json.dumps({"units": n, "seconds": s}), flush=True)
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { setTimeout } from 'node:timers/promises';
import { pinned } from './pinned.js';

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
  /** Turns that other programs disturbed are repeated, up to so many in all; three times `turns` unless told. */
  mostTurns?: number;
  /** Takes what each contestant said of itself. */
  onReady?: (name: string, about: unknown) => void;
  /** Takes the share of the cores that other programs had during the turns that count, 0 to 1, the worst contestant's median. */
  onDisturbance?: (share: number) => void;
  /** Takes the most memory that each contestant's process ever had resident; on Linux. */
  onPeakMemory?: (name: string, bytes: number) => void;
}

interface Turn {
  units: number;
  seconds: number;
  /** Share of the cores that programs other than the contestant had, 0 to 1. */
  disturbance: number;
}

/** A turn counts as disturbed above this share; the clock of /proc has steps of 10 ms. */
const tolerated = 0.04;

/** USER_HZ, which every Linux has. */
const ticksPerSecond = 100;

/** Between two turns, so that threads of the last contestant that still wait actively for work go to sleep. */
const pauseMilliseconds = 50;

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
    for (const contestant of contestants) {
      const player = await Player.start(contestant, options.cpus);
      players.push(player);
      options.onReady?.(player.name, player.about);
    }
    const turns = new Map<Player, Turn[]>(players.map((player) => [player, []]));
    for (let round = 0; round < (options.mostTurns ?? 3 * options.turns); round++) {
      for (const player of players) {
        const taken = turns.get(player)!;
        if (taken.filter(({ disturbance }) => disturbance <= tolerated).length >= options.turns) continue;
        await setTimeout(pauseMilliseconds);
        taken.push(await player.turn(options.cpus));
      }
    }
    const counted = [...turns].map(([player, taken]) => {
      const best = taken.sort((a, b) => a.disturbance - b.disturbance).slice(0, options.turns);
      return { name: player.name, best };
    });
    for (const player of players) options.onPeakMemory?.(player.name, player.peakMemory());
    options.onDisturbance?.(Math.max(...counted.map(({ best }) => median(best.map((turn) => turn.disturbance)))));
    return Object.fromEntries(
      counted.map(({ name, best }) => [name, median(best.map(({ units, seconds }) => units / seconds))]),
    );
  } finally {
    players.forEach((player) => player.stop());
  }
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** Seconds that the cores were at work since the system started; 0 where there is no /proc. */
function busySeconds(cpus: number[]): number {
  if (!existsSync('/proc/stat')) return 0;
  const lines = readFileSync('/proc/stat', 'utf8').split('\n');
  const sums = cpus.map((cpu) => {
    const [user, nice, system, , , irq, softirq, steal] = lines
      .find((line) => line.startsWith(`cpu${cpu} `))!
      .split(/\s+/)
      .slice(1)
      .map(Number);
    return user! + nice! + system! + irq! + softirq! + steal!;
  });
  return sums.reduce((sum, ticks) => sum + ticks, 0) / ticksPerSecond;
}

/** CPU time of a process and all its threads; 0 where there is no /proc. */
function cpuSeconds(pid: number): number {
  if (!existsSync('/proc/stat')) return 0;
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /s, '')
    .split(' ');
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
}

class Player {
  readonly name: string;
  about: unknown;
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
    const [command, args] = pinned(cpus, contestant.command, contestant.args);
    const child = spawn(command, args, { env: { ...process.env, ...contestant.env }, stdio: 'pipe' });
    const player = new Player(contestant.name, child);
    for (;;) {
      const [word, about] = /^(ready)\b(.*)$/.exec(await player.#line())?.slice(1) ?? [];
      if (word === undefined) continue;
      player.about = JSON.parse(about!.trim() || '{}');
      return player;
    }
  }

  async turn(cpus: number[]): Promise<Turn> {
    const started = performance.now();
    const [busyBefore, ownBefore] = [busySeconds(cpus), cpuSeconds(this.#child.pid!)];
    this.#child.stdin!.write('go\n');
    const result = JSON.parse(await this.#line()) as { units: number; seconds: number };
    const others = busySeconds(cpus) - busyBefore - (cpuSeconds(this.#child.pid!) - ownBefore);
    const available = ((performance.now() - started) / 1000) * cpus.length;
    return { ...result, disturbance: Math.max(0, others / available) };
  }

  peakMemory(): number {
    const status = readFileSync(`/proc/${this.#child.pid}/status`, 'utf8');
    return 1024 * Number(/^VmHWM:\s*(\d+) kB$/m.exec(status)![1]);
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
