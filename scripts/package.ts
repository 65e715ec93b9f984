/**
 * `npm run package [FOLDER]`: makes the packages that are published, as tarballs in build/packages or the folder given.
 * `whittle-ml` holds the compiled TypeScript; `@whittle-ml/<platform>` holds the native binary built here and is an optional
 * dependency of the first, so that installing runs nothing and downloads one binary. Prints the tarballs' paths.
 */
import { execFileSync } from 'node:child_process';
import { copyFileSync, cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { platform } from '../bindings/load.js';

/** Platforms that releases have binaries for. */
const platforms = ['linux-x64'];

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..');
const target = resolve(process.argv[2] ?? join(root, 'build', 'packages'));
const source = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as Record<string, unknown>;

rmSync(target, { recursive: true, force: true });
console.log(pack(stageLibrary()));
console.log(pack(stageBinary()));

/** The library: compiled into the staging folder, with the fields of package.json that users need. */
function stageLibrary(): string {
  const folder = join(target, 'whittle-ml');
  mkdirSync(folder, { recursive: true });
  const compiler = join(root, 'node_modules', 'typescript', 'bin', 'tsc');
  const project = join(root, 'tsconfig.build.json');
  execFileSync(process.execPath, [compiler, '-p', project, '--outDir', join(folder, 'dist')], { stdio: 'inherit' });
  for (const name of ['README.md', 'CHANGELOG.md', 'LICENSE']) copyFileSync(join(root, name), join(folder, name));
  const fields = { ...source };
  for (const key of ['scripts', 'devDependencies', 'binary']) delete fields[key];
  const optionalDependencies = Object.fromEntries(platforms.map((name) => [`@whittle-ml/${name}`, source.version]));
  writeJson(join(folder, 'package.json'), { ...fields, optionalDependencies });
  return folder;
}

/** The native binary of this machine's platform. */
function stageBinary(): string {
  const folder = join(target, platform());
  mkdirSync(folder, { recursive: true });
  cpSync(join(root, 'build', 'Release', 'whittle.node'), join(folder, 'whittle.node'));
  copyFileSync(join(root, 'LICENSE'), join(folder, 'LICENSE'));
  const isMusl = platform().endsWith('-musl');
  writeJson(join(folder, 'package.json'), {
    name: `@whittle-ml/${platform()}`,
    version: source.version,
    description: `The native binary of whittle-ml for ${platform()}`,
    license: source.license,
    os: [process.platform],
    cpu: [process.arch],
    ...(process.platform === 'linux' && { libc: [isMusl ? 'musl' : 'glibc'] }),
    files: ['whittle.node', 'LICENSE'],
  });
  return folder;
}

/** @returns the tarball's path. */
function pack(folder: string): string {
  const npm = process.platform === 'win32' ? 'npm.cmd' : 'npm';
  const args = ['pack', '--json', '--ignore-scripts', '--pack-destination', target];
  const output = execFileSync(npm, args, { cwd: folder, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
  const [{ filename }] = JSON.parse(output) as [{ filename: string }];
  return join(target, filename.replace('@', '').replace('/', '-'));
}

function writeJson(file: string, value: unknown): void {
  writeFileSync(file, `${JSON.stringify(value, null, 2)}\n`);
}
