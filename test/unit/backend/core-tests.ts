/**
 * Runs TensorFlow.js core's own tests (jasmine) against one backend and prints their results as a line of JSON:
 *
 *   node --import tsx test/unit/backend/core-tests.ts cpu|whittle [own-gradients]
 *
 * `own-gradients` puts whittle's gradients in place of core's. The tests are ES modules with imports that lack their
 * extension, in a package that calls itself CommonJS; tsx transpiles them as they are required.
 */
import { createRequire } from 'node:module';
import type * as tf from '@tensorflow/tfjs-core';
import { backendName } from '../../../lib/backend/whittle-backend.js';
import { gradientConfigs } from '../../../lib/backend/gradients.js';
import { useWhittleBackend } from '../../../lib/backend/register.js';

/** What one run found. */
export interface CoreTestResults {
  /** Statuses of the tests of each name: `passed`, `failed`, `pending`; names are not unique. */
  statuses: Record<string, string[]>;
  /** Why tests failed, by name. */
  failures: Record<string, string>;
  /** How often each kernel ran that the backend has in place of the CPU backend's. */
  ownKernelCalls: Record<string, number>;
}

interface Jasmine {
  boot(): { getEnv(): JasmineEnvironment };
}

interface JasmineEnvironment {
  configure(options: { random: boolean }): void;
  addReporter(reporter: { specDone(result: SpecResult): void }): void;
  execute(): Promise<unknown>;
}

interface SpecResult {
  fullName: string;
  status: string;
  failedExpectations: { message: string }[];
}

const require = createRequire(import.meta.url);
const ofCore = (path: string): unknown => require(`@tensorflow/tfjs-core/dist/${path}`);

const [backend = backendName, gradients] = process.argv.slice(2);
const environment = (require('jasmine-core') as Jasmine).boot().getEnv();
environment.configure({ random: false });

// A second copy of core beside the one that whittle imports; they share engine, kernels and gradients.
const core = ofCore('index.js') as typeof tf;
core.env().set('IS_TEST', true);
useWhittleBackend();
ofCore('public/chained_ops/register_all_chained_ops.js');
ofCore('register_all_gradients.js');
if (gradients === 'own-gradients')
  for (const gradient of gradientConfigs) {
    core.unregisterGradient(gradient.kernelName);
    core.registerGradient(gradient);
  }
const { setTestEnvs } = ofCore('jasmine_util.js') as { setTestEnvs(environments: object[]): void };
setTestEnvs([{ name: backend, backendName: backend, isDataSync: true }]);
const ownKernelCalls = countOwnKernels();
ofCore('tests.js');

const results: CoreTestResults = { statuses: {}, failures: {}, ownKernelCalls };
environment.addReporter({
  specDone({ fullName, status, failedExpectations }) {
    const name = fullName.replaceAll(` ${backend} {}`, '');
    (results.statuses[name] ??= []).push(status);
    if (failedExpectations.length) results.failures[name] = failedExpectations.map(({ message }) => message).join('; ');
  },
});
await environment.execute();
// Some tests leave timers and locks behind.
process.stdout.write(`\n${JSON.stringify(results)}\n`, () => process.exit(0));

/** Wraps the kernels that the backend `whittle` has in place of the CPU backend's. */
function countOwnKernels(): Record<string, number> {
  const calls: Record<string, number> = {};
  for (const { kernelName, kernelFunc } of core.getKernelsForBackend(backendName)) {
    const original = core.getKernel(kernelName, 'cpu');
    if (!original || original.kernelFunc === kernelFunc) continue;
    calls[kernelName] = 0;
    core.unregisterKernel(kernelName, backendName);
    core.registerKernel({
      kernelName,
      backendName,
      kernelFunc: (call) => {
        calls[kernelName]!++;
        return kernelFunc(call);
      },
    });
  }
  return calls;
}
