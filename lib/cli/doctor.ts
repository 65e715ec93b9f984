/** `whittle doctor`: what this machine offers, and what of it whittle uses. */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Command } from 'commander';
import { loadedBinary, native } from '../../bindings/load.js';
import { formatBytes } from '../report/format.js';
import { Terminal } from './terminal.js';

export function addDoctor(program: Command): Command {
  return program
    .command('doctor')
    .description('tell what this machine offers and which native binary was loaded')
    .option('--json', 'the same as a JSON line on standard output')
    .action(({ json }: { json?: boolean }) => {
      const found = examine();
      new Terminal({ json }).result(describe(found), { type: 'doctor', ...found });
    });
}

/** package.json of whittle, from lib/cli/ in a checkout and from dist/lib/cli/ in a package. */
export function packageFile(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, 'package.json'))) folder = dirname(folder);
  return join(folder, 'package.json');
}

function examine() {
  const { version } = JSON.parse(readFileSync(packageFile(), 'utf8')) as { version: string };
  const binary = loadedBinary();
  return {
    whittle: version,
    node: process.version,
    platform: `${process.platform}-${process.arch}`,
    machine: native.machineInfo(),
    gpu: findGpu(),
    binary,
  };
}

/** Whether an NVIDIA driver is there; whittle itself runs on the CPU. */
function findGpu(): string {
  const driver = '/proc/driver/nvidia/version';
  return existsSync(driver) ? `NVIDIA driver found, not used: this build has CPU kernels only` : 'none found';
}

function describe({ whittle, node, platform, machine, gpu, binary }: ReturnType<typeof examine>): string {
  const features = Object.entries(machine.features).filter(([, has]) => has);
  const { l1d, l2, l3 } = machine.cacheBytes;
  const quota = machine.cgroupCpus > 0 ? `, cgroup quota ${machine.cgroupCpus}` : '';
  const rows = [
    ['whittle', `${whittle} on Node ${node}, ${platform}`],
    ['CPU', machine.model],
    ['ISA', `${machine.isa} (${machine.isaFrom === 'detected' ? 'detected' : 'forced by WHITTLE_ISA'})`],
    ['usable ISAs', machine.isas.join(', ')],
    ['features', features.map(([name]) => name).join(', ') || 'none'],
    ...(machine.amxNote ? [['AMX', machine.amxNote]] : []),
    ['bfloat16', machine.nativeBf16 ? 'native' : 'not native, float32 is used in its place'],
    ['threads', `${machine.threads} (${machine.logicalCpus} CPUs, ${machine.affinityCpus} allowed${quota})`],
    ['caches', `L1 ${formatBytes(l1d)}, L2 ${formatBytes(l2)} a core, L3 ${formatBytes(l3)}`],
    ['GPU', gpu],
    ['binary', `${binary.path} (${binary.reason})`],
    ...binary.tried.slice(0, -1).map(({ path, outcome }) => ['  not', `${path}: ${outcome}`]),
  ];
  return rows.map(([name, value]) => `${name!.padEnd(12)}${value}`).join('\n');
}
