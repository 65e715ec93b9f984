// Prints one list of native/sources.json, an entry a line: `node scripts/list-sources.mjs kernels.avx2`.
import { readFileSync } from 'node:fs';

const manifest = JSON.parse(readFileSync(new URL('../native/sources.json', import.meta.url), 'utf8'));
const list = process.argv[2].split('.').reduce((node, key) => node?.[key], manifest);
if (!Array.isArray(list)) throw new Error(`native/sources.json has no list "${process.argv[2]}"`);
console.log(list.join('\n'));
