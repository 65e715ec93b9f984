/** The models that benchmarks run, in whittle's form and in the peers'. */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  createReadStream,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { fileURLToPath } from 'node:url';
import { quantize } from '../../lib/compress/quantize.js';
import type { BenchmarkOptions } from '../benchmark.js';

const here = dirname(fileURLToPath(import.meta.url));
const exporter = join(here, '..', 'peers', 'export.py');

/** Where made-up and trained checkpoints and the peers' forms of them are kept from run to run. */
export const modelFolder = join(here, '..', '..', 'runs', 'bench');

/** The forms that peers need; they take Python and minutes to make. */
export type PeerForm = 'onnx' | 'openvino';

/** A checkpoint in the forms that contestants need. */
export interface BenchmarkModel {
  /** float32, with a head. */
  float32: string;
  /** The same, quantized by whittle for dynamic int8. */
  int8: string;
  /**
   * Made when first asked for. `onnx`: a folder as transformers.js takes it, with onnx/model.onnx and onnx/model_quantized.onnx
   * (dynamic int8); `openvino`: a folder with float32.xml and int8.xml (static int8, NNCF). Nothing without Python.
   */
  form: (name: PeerForm) => Promise<string | undefined>;
}

const calibrationData = ['ag_news', 'banking77', 'conll2003'];
const calibrationTexts = 300;

/**
 * The forms of a float32 checkpoint. `int8`, if not given, is made here and goes when the process ends; the peers' forms are kept
 * under a hash of the checkpoint and of the program that exports it.
 */
export async function benchmarkModel(
  { shared, python }: BenchmarkOptions,
  float32: string,
  int8?: string,
): Promise<BenchmarkModel> {
  int8 ??= (await quantize(float32, { method: 'dynamic' }, { folder: temporaryFolder(), threads: 0 })).checkpoint;
  const form = async (name: PeerForm) => {
    if (!python) return undefined;
    const sources = [join(float32, 'model.safetensors'), join(float32, 'config.json'), exporter];
    return once(join(modelFolder, await hashOf(sources), name), (folder) => {
      const calibration = name === 'openvino' ? [calibrationFile(shared)] : [];
      runPython(python, [exporter, float32, folder, name, ...calibration]);
    });
  };
  return { float32, int8, form };
}

function calibrationFile(shared: string): string {
  const file = join(temporaryFolder(), 'calibration.json');
  const each = Math.floor(calibrationTexts / calibrationData.length);
  writeFileSync(file, JSON.stringify(calibrationData.flatMap((name) => sampleTexts(shared, name, each, 'train'))));
  return file;
}

/** `make` fills a folder that then appears under `target` as a whole. */
async function once(target: string, make: (folder: string) => Promise<void> | void): Promise<string> {
  if (existsSync(target)) return target;
  mkdirSync(dirname(target), { recursive: true });
  const folder = mkdtempSync(`${target}-`);
  await make(folder);
  renameSync(folder, target);
  return target;
}

function runPython(python: string, args: string[]): void {
  const { status, stderr } = spawnSync(python, args, { encoding: 'utf8', stdio: ['ignore', 'ignore', 'pipe'] });
  if (status !== 0) throw new Error(`${python} ${args.join(' ')} failed:\n${stderr}`);
}

async function hashOf(files: string[]): Promise<string> {
  const hash = createHash('sha256');
  for (const file of files) await pipeline(createReadStream(file), hash, { end: false });
  return hash.digest('hex').slice(0, 12);
}

const temporaryFolders: string[] = [];

/** A folder that goes when the process ends. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'whittle-bench-'));
  if (temporaryFolders.push(folder) === 1)
    process.on('exit', () => temporaryFolders.forEach((one) => rmSync(one, { recursive: true, force: true })));
  return folder;
}

/** `count` texts of a data set, evenly over the file, which may be sorted by label. Words are joined with spaces. */
export function sampleTexts(shared: string, dataset: string, count: number, split = 'test'): string[] {
  const lines = readFileSync(join(shared, 'data', dataset, `${split}.jsonl`), 'utf8')
    .trim()
    .split('\n');
  const step = Math.max(1, Math.floor(lines.length / count));
  return lines
    .filter((_, index) => index % step === 0)
    .slice(0, count)
    .map((line) => {
      const { text, tokens } = JSON.parse(line) as { text?: string; tokens?: string[] };
      return text ?? tokens!.join(' ');
    });
}
