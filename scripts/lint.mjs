// Lints and checks the formatting of TypeScript (eslint, prettier), the layering (dependency-cruiser) and, where
// clang-format is installed, C++. `--fix-cpp` formats C++ in place.
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..');
const cppFiles = readdirSync(join(root, 'native'), { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile() && /\.(cc|h|cu|cuh)$/.test(entry.name))
  .map((entry) => join(entry.parentPath ?? entry.path, entry.name));
const hasClangFormat = spawnSync('clang-format', ['--version']).status === 0;

if (process.argv.includes('--fix-cpp')) {
  process.exit(hasClangFormat ? run('clang-format', ['-i', ...cppFiles]) : 0);
}
let failures = 0;
failures += run('npx', ['eslint', '.']);
failures += run('npx', ['prettier', '--check', '--log-level', 'warn', '.']);
failures += run('npx', ['depcruise', 'lib', 'bindings']);
if (hasClangFormat) failures += run('clang-format', ['--dry-run', '--Werror', ...cppFiles]);
else console.log('SKIPPED: C++ formatting, since clang-format is not installed');
process.exit(failures ? 1 : 0);

function run(command, args) {
  const result = spawnSync(command, args, { cwd: root, stdio: 'inherit' });
  return result.status === 0 ? 0 : 1;
}
