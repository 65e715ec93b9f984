/**
 * Runs every test file in a process of its own: `test/**` files ending in `.test.ts`, and each suite of the native
 * test program. A file that crashes or hangs fails alone. The last line is `N passed, N failed, N skipped`.
 *
 *   npm test                 everything
 *   npm test -- predictor    only the files and suites whose name contains "predictor"
 */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..');
const nativeTests = join(root, 'build', 'Release', 'whittle_native_tests');
const timeLimitSeconds = 600;

interface Job {
  name: string;
  command: string;
  args: string[];
}

interface Outcome {
  passed: number;
  failed: number;
  skipped: number;
}

const filters = process.argv.slice(2);
const jobs = [...nativeJobs(), ...fileJobs()].filter(
  (job) => filters.length === 0 || filters.some((filter) => job.name.includes(filter)),
);
const total: Outcome = { passed: 0, failed: 0, skipped: 0 };
const queue = [...jobs];
await Promise.all(Array.from({ length: Math.min(2, availableParallelism()) }, worker));
if (jobs.length === 0) console.log(`No test file matches ${filters.join(', ')}`);
console.log(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
process.exit(total.failed > 0 || jobs.length === 0 ? 1 : 0);

async function worker(): Promise<void> {
  for (let job = queue.shift(); job; job = queue.shift()) {
    const started = performance.now();
    const { outcome, output } = await runJob(job);
    total.passed += outcome.passed;
    total.failed += outcome.failed;
    total.skipped += outcome.skipped;
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    const skipped = outcome.skipped ? `, ${outcome.skipped} skipped` : '';
    console.log(`${outcome.failed ? 'FAIL' : ' ok '} ${job.name} (${outcome.passed} passed${skipped}, ${seconds} s)`);
    if (outcome.failed) console.log(output.trimEnd().replace(/^/gm, '     | '));
    else for (const line of output.match(/^(SKIPPED|NOTE).*$/gm) ?? []) console.log(`     ${line}`);
  }
}

function runJob(job: Job): Promise<{ outcome: Outcome; output: string }> {
  return new Promise((done) => {
    const child = spawn(job.command, job.args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'], detached: true });
    let output = '';
    child.stdout.on('data', (chunk) => (output += chunk));
    child.stderr.on('data', (chunk) => (output += chunk));
    const killGroup = () => {
      try {
        process.kill(-child.pid!, 'SIGKILL');
      } catch {
        // already gone
      }
    };
    const timer = setTimeout(() => {
      output += `\nstopped after ${timeLimitSeconds} seconds\n`;
      killGroup();
    }, timeLimitSeconds * 1000);
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      killGroup();
      const outcome = countResults(output);
      if (code !== 0 && outcome.failed === 0) {
        outcome.failed = 1;
        output += `\nended with ${signal ? `signal ${signal}` : `exit code ${code}`}\n`;
      }
      if (outcome.passed + outcome.failed + outcome.skipped === 0) {
        outcome.failed = 1;
        output += '\nran no test\n';
      }
      done({ outcome, output });
    });
  });
}

/** Reads uvu's summary, or the closing line of the native tests. */
function countResults(output: string): Outcome {
  const plain = [...output.matchAll(/^(\d+) passed, (\d+) failed, (\d+) skipped$/gm)].at(-1);
  if (plain) return { passed: Number(plain[1]), failed: Number(plain[2]), skipped: Number(plain[3]) };
  const number = (label: string) => Number(new RegExp(`^\\s+${label}:\\s+(\\d+)`, 'm').exec(output)?.[1] ?? 0);
  const passed = number('Passed');
  const skipped = number('Skipped') + (output.match(/^SKIPPED/gm)?.length ?? 0);
  // uvu counts a test that announced SKIPPED among the passed ones.
  const announced = output.match(/^SKIPPED/gm)?.length ?? 0;
  return { passed: Math.max(0, passed - announced), failed: number('Total') - passed, skipped };
}

function fileJobs(): Job[] {
  return readdirSync(join(root, 'test'), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.test.ts'))
    .map((entry) => relative(root, join(entry.parentPath ?? entry.path, entry.name)))
    .sort()
    .map((file) => ({ name: file, command: process.execPath, args: ['--import', 'tsx', file] }));
}

/** `whittle_native_tests --list` prints a suite a line; `whittle_native_tests SUITE` runs one. */
function nativeJobs(): Job[] {
  if (!existsSync(nativeTests)) throw new Error(`Expected ${nativeTests}, built by npm run setup, but it is missing`);
  const list = spawnSync(nativeTests, ['--list'], { encoding: 'utf8' });
  return list.stdout
    .split('\n')
    .filter(Boolean)
    .map((suite) => ({ name: `native/${suite}`, command: nativeTests, args: [suite] }));
}
