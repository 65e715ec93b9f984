/** The packages as users get them: packed, installed with scripts off in an empty folder, used. */
import { spawnSync } from 'node:child_process';
import { existsSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { root, skip, temporaryFolder } from '../harness.js';

const model = join(root, 'test', 'fixtures', 'tiny-bert');
const folder = temporaryFolder();

function runIn(cwd: string, command: string, args: string[]) {
  return spawnSync(command, args, { cwd, encoding: 'utf8', timeout: 300_000 });
}

function node(...args: string[]) {
  return runIn(folder, process.execPath, args);
}

const packages = join(folder, 'packages');
const packed = runIn(root, process.execPath, ['--import', 'tsx', join('scripts', 'package.ts'), packages]);
const tarballs = packed.stdout.trim().split('\n');

/** Installs from npm's cache, or from the registry where the cache lacks something. */
function install(): string | undefined {
  writeFileSync(join(folder, 'package.json'), '{ "name": "user", "private": true, "type": "module" }');
  const args = ['install', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error', ...tarballs];
  for (const network of ['--offline', '--prefer-offline']) {
    const { status, stderr } = runIn(folder, 'npm', [...args, network]);
    if (status === 0) return undefined;
    if (network === '--prefer-offline') return stderr.trim().split('\n')[0] ?? 'npm install failed';
  }
  return undefined;
}

const problem = packed.status === 0 ? install() : undefined;

test('both packages are packed, and are small', () => {
  assert.is(packed.status, 0, packed.stderr);
  assert.is(tarballs.length, 2);
  for (const tarball of tarballs) assert.ok(existsSync(tarball), tarball);
  assert.ok(statSync(tarballs[0]!).size < 1_000_000, 'the library is below 1 MB');
});

test('an installed package predicts', () => {
  if (problem) return skip(`npm could not install the packages' dependencies: ${problem}`);
  const program = `
    import { Predictor, WhittleError, run, tune, loadDataset, evaluate, quantize, prune, distill, finetune } from 'whittle-ml';
    for (const one of [run, tune, loadDataset, evaluate, quantize, prune, distill, finetune, WhittleError])
      if (typeof one !== 'function') throw new Error('an export is missing');
    const predictor = await Predictor.load(${JSON.stringify(model)});
    console.log(JSON.stringify(await predictor.predict(['lost card', 'top up'])));
    await predictor.dispose();
  `;
  const { status, stdout, stderr } = node('--input-type=module', '--eval', program);
  assert.is(status, 0, stderr);
  const predictions = JSON.parse(stdout) as { label: string; score: number }[];
  assert.is(predictions.length, 2);
  assert.ok(predictions.every(({ label, score }) => typeof label === 'string' && score > 0 && score <= 1));
});

test('its command tells that the platform package was loaded', () => {
  if (problem) return skip(`npm could not install the packages' dependencies: ${problem}`);
  const { status, stdout, stderr } = runIn(folder, join(folder, 'node_modules', '.bin', 'whittle'), ['doctor']);
  assert.is(status, 0, stderr);
  assert.match(stdout, /platform package @whittle-ml\//);
});

test('its types are there', () => {
  if (problem) return skip(`npm could not install the packages' dependencies: ${problem}`);
  writeFileSync(
    join(folder, 'user.ts'),
    `import { Predictor, run, type Recipe } from 'whittle-ml';
const recipe: Recipe = { model: 'm', task: 'text-classification', data: { path: 'd' }, steps: [{ quantize: {} }] };
// @ts-expect-error: a misspelt option is an error of the compiler
const wrong: Recipe = { ...recipe, steps: [{ finetune: { stages: [{ train: 'all', epochs: 1, learningrate: 1 }] } }] };
export async function use(): Promise<string | null> {
  const { checkpoint } = await run(recipe);
  const predictor = await Predictor.load(checkpoint);
  const { label, score } = await predictor.predict('hello');
  return score > 0.5 ? label : String(wrong);
}
`,
  );
  const options = ['--noEmit', '--strict', '--module', 'nodenext', '--target', 'es2022', '--skipLibCheck'];
  const types = ['--types', 'node', '--typeRoots', join(root, 'node_modules', '@types')];
  const { status, stdout } = node(
    join(root, 'node_modules', 'typescript', 'bin', 'tsc'),
    ...options,
    ...types,
    'user.ts',
  );
  assert.is(status, 0, stdout);
});

test.run();
