/** Finds the native addon, loads it once, and makes its errors WhittleErrors. */
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { WhittleError, type WhittleErrorCode } from './errors.js';
import type { NativeBinding } from './native.js';

/** Which binary was loaded, and what else was looked for; `whittle doctor` prints it. */
export interface LoadedBinary {
  path: string;
  /** Why this one: `built in this checkout`, `prebuilt, in the package`, `platform package @whittle-ml/linux-x64`. */
  reason: string;
  /** Every place in the order tried, and what was found there. */
  tried: { path: string; outcome: string }[];
}

const require = createRequire(import.meta.url);
let loaded: { binary: LoadedBinary; binding: NativeBinding } | undefined;

/**
 * The native addon, loaded at the first use of any of its functions. What it throws, or its promises reject with,
 * is a WhittleError.
 * @throws WhittleError NO_BINARY with the places searched and what to run.
 */
export const native: NativeBinding = new Proxy({} as NativeBinding, {
  get: (_, name) => Reflect.get(load().binding, name),
  has: (_, name) => Reflect.has(load().binding, name),
  ownKeys: () => Reflect.ownKeys(load().binding),
  getOwnPropertyDescriptor: (_, name) => ({
    configurable: true,
    enumerable: true,
    value: Reflect.get(load().binding, name),
  }),
});

/**
 * Which native binary this process uses.
 * @throws WhittleError NO_BINARY if there is none.
 * @example
 * console.log(loadedBinary().path, loadedBinary().reason);
 */
export function loadedBinary(): LoadedBinary {
  return load().binary;
}

function load(): { binary: LoadedBinary; binding: NativeBinding } {
  if (loaded) return loaded;
  const tried: LoadedBinary['tried'] = [];
  for (const { path, reason } of candidates()) {
    if (path === undefined || !existsSync(path)) {
      tried.push({ path: path ?? reason, outcome: 'not there' });
      continue;
    }
    try {
      const binding = wrapErrors(require(path) as NativeBinding);
      tried.push({ path, outcome: 'loaded' });
      return (loaded = { binding, binary: { path, reason, tried } });
    } catch (error) {
      tried.push({ path, outcome: `does not load: ${(error as Error).message}` });
    }
  }
  const places = tried.map((one) => `${one.path} (${one.outcome})`).join(', ');
  if (process.env.WHITTLE_BINARY)
    throw new WhittleError(
      'NO_BINARY',
      `WHITTLE_BINARY: expected the path of whittle's native binary but found ${places}`,
    );
  throw new WhittleError(
    'NO_BINARY',
    `whittle has no native binary for ${platform()}: looked for ${places}; run "npm install" again with optional ` +
      'dependencies on, or "npm run build:native" in a checkout',
  );
}

function candidates(): { path: string | undefined; reason: string }[] {
  const root = packageRoot();
  const name = `@whittle-ml/${platform()}`;
  // Whoever names a binary wants that one or an error.
  const named = process.env.WHITTLE_BINARY;
  if (named) return [{ path: resolve(named), reason: 'named by WHITTLE_BINARY' }];
  return [
    { path: join(root, 'build', 'Release', 'whittle.node'), reason: 'built in this checkout' },
    { path: join(root, 'prebuilds', platform(), 'whittle.node'), reason: 'prebuilt, in the package' },
    { path: resolvePackage(`${name}/whittle.node`), reason: `platform package ${name}` },
  ];
}

/** Name of this machine's platform package: `linux-x64`, `linux-x64-musl`, `darwin-arm64`. */
export function platform(): string {
  const report = process.platform === 'linux' ? process.report?.getReport() : undefined;
  const header = (report as { header?: { glibcVersionRuntime?: string } } | undefined)?.header;
  const musl = header !== undefined && header.glibcVersionRuntime === undefined;
  return `${process.platform}-${process.arch}${musl ? '-musl' : ''}`;
}

/** The folder of whittle's package.json, from bindings/ in a checkout and from dist/bindings/ in a package. */
function packageRoot(): string {
  const here = dirname(fileURLToPath(import.meta.url));
  for (let folder = here; folder !== dirname(folder); folder = dirname(folder)) {
    const file = join(folder, 'package.json');
    if (existsSync(file) && (JSON.parse(readFileSync(file, 'utf8')) as { name?: string }).name === 'whittle-ml')
      return folder;
  }
  return dirname(here);
}

function resolvePackage(request: string): string | undefined {
  try {
    return require.resolve(request);
  } catch {
    return undefined;
  }
}

/** The same functions, with what they throw or reject with turned into WhittleErrors. */
function wrapErrors(addon: NativeBinding): NativeBinding {
  const wrapped: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(addon) as [string, unknown][]) {
    if (typeof value !== 'function') {
      wrapped[name] = value;
      continue;
    }
    wrapped[name] = (...args: unknown[]): unknown => {
      try {
        const result: unknown = Reflect.apply(value, undefined, args);
        return result instanceof Promise ? result.catch(throwWhittleError) : result;
      } catch (error) {
        return throwWhittleError(error);
      }
    };
  }
  return wrapped as unknown as NativeBinding;
}

function throwWhittleError(error: unknown): never {
  const { code, message } = error as { code?: WhittleErrorCode; message?: string };
  throw new WhittleError(code ?? 'INTERNAL', message ?? String(error), { cause: error });
}
