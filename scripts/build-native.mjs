// Builds the native addon and the native tests with node-gyp, if a source changed since the last build.
// Uses the headers that came with the installed Node where they are, so that no network is needed.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..');
const stampFile = join(root, 'build', 'native.stamp');
const addon = join(root, 'build', 'Release', 'whittle.node');

const stamp = nativeStamp();
if (existsSync(addon) && existsSync(stampFile) && readFileSync(stampFile, 'utf8') === stamp) process.exit(0);

console.log('Building the native core (once; about two minutes) ...');
const nodeGyp = createRequire(import.meta.url).resolve('node-gyp/bin/node-gyp.js');
const nodePrefix = resolve(dirname(process.execPath), '..');
const args = [nodeGyp, 'configure', 'build', '--release', `--jobs=${availableParallelism()}`, '--silent'];
if (existsSync(join(nodePrefix, 'include', 'node', 'node_api.h'))) args.push(`--nodedir=${nodePrefix}`);
const result = spawnSync(process.execPath, args, { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
if (result.status !== 0) {
  process.stderr.write(`${result.stdout}\n${result.stderr}\n`);
  console.error(
    'whittle: building the native core failed (its output is above). It needs python3, make and g++ 12 or later.',
  );
  process.exit(1);
}
if (process.env.WHITTLE_BUILD_VERBOSE) process.stderr.write(result.stdout + result.stderr);
mkdirSync(dirname(stampFile), { recursive: true });
writeFileSync(stampFile, stamp);

/** A hash over everything the build reads: sources, flags, Node's version and the compiler's. */
function nativeStamp() {
  const hash = createHash('sha256');
  hash.update(`${process.version} ${process.arch} ${process.platform}`);
  hash.update(spawnSync(process.env.CXX ?? 'g++', ['--version'], { encoding: 'utf8' }).stdout ?? '');
  for (const file of ['binding.gyp', ...filesBelow(join(root, 'native'))]) {
    hash.update(file);
    hash.update(readFileSync(join(root, file)));
  }
  return hash.digest('hex');
}

function filesBelow(folder) {
  return readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(root, join(entry.parentPath ?? entry.path, entry.name)))
    .sort();
}
