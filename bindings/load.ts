import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { NativeBinding } from './native.js';

const here = dirname(fileURLToPath(import.meta.url));

/** The native addon. Loaded once. */
export const native: NativeBinding = createRequire(import.meta.url)(
  join(resolve(here, '..'), 'build', 'Release', 'whittle.node'),
) as NativeBinding;
