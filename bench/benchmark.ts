/** What a benchmark is, and the form of what it writes. */

/** One piece of work, done by whittle and by its peers on the same machine in the same run. */
export interface Row {
  /** What was done: `MiniLM-L6 32x128, training step`. */
  work: string;
  /** What the figures count: `tokens/s`, `texts/s`, `accuracy`. */
  unit: string;
  whittle: number;
  /** The same figure of each peer, by name. */
  peers: Record<string, number>;
  /** whittle's figure divided by the best peer's; absent without peers. */
  ratio?: number;
  /** Fraction of the measured peak of the machine, 0 to 1. */
  shareOfPeak?: number;
  /** Of whittle when the row was measured, if it is not the file's. */
  commit?: string;
}

export interface BenchmarkOptions {
  /** What followed the benchmark's name, without the options below. */
  args: string[];
  /** Cores that every contestant is pinned to: `--cpus 0,1`. */
  cpus: number[];
  /** Python with PyTorch, Transformers and ONNX Runtime: `--python FILE` or $WHITTLE_PYTHON. Absent: such peers are left out, loudly. */
  python?: string;
  /** Folder that holds data/ and models/: `--shared FOLDER`. */
  shared: string;
}

/** A file `bench/<name>.ts` exports one as `benchmark`; `npm run bench -- <name>` runs it. */
export interface Benchmark {
  /** One line for the list of benchmarks. */
  summary: string;
  run(options: BenchmarkOptions): Promise<{ rows: Row[]; notes?: Record<string, unknown> }>;
}

/** A row with its ratio filled in. For units where less is better (`ms`, `s`), the ratio is turned over: above 1 is still a win. */
export function row(entry: Omit<Row, 'ratio'>): Row {
  const values = Object.values(entry.peers);
  if (values.length === 0) return entry;
  const lessIsBetter = /^(ms|s|seconds|bytes|MB)$/.test(entry.unit);
  const best = lessIsBetter ? Math.min(...values) : Math.max(...values);
  return { ...entry, ratio: round(lessIsBetter ? best / entry.whittle : entry.whittle / best) };
}

/** Four significant digits: more would only be noise. */
export function round(value: number): number {
  return Number(value.toPrecision(4));
}

export function printRow({ work, unit, whittle, peers, ratio, shareOfPeak }: Row): void {
  const others = Object.entries(peers).map(([peer, value]) => `${peer} ${value}`);
  const tail = [
    ratio === undefined ? '' : `${ratio}x of the best peer`,
    shareOfPeak === undefined ? '' : `${(100 * shareOfPeak).toFixed(0)} % of the peak`,
  ];
  console.log([`${work}: whittle ${whittle} ${unit}`, ...others, ...tail].filter(Boolean).join(', '));
}
