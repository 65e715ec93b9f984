/** `whittle doctor`: what this machine offers, and what of it whittle uses. */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Command } from 'commander';
import { loadedBinary, native, type LoadedBinary } from '../../bindings/load.js';
import type { GpuSupport, MachineInfo } from '../../bindings/native.js';
import { formatBytes } from '../report/format.js';
import { Terminal } from './terminal.js';

export function addDoctor(program: Command): Command {
  return program
    .command('doctor')
    .description('tell what this machine offers and which native binary was loaded')
    .option('--json', 'the same as a JSON line on standard output')
    .action(({ json }: { json?: boolean }) => {
      const { error, ...found } = examine();
      new Terminal({ json }).result(describe(found), { type: 'doctor', ...found });
      if (error) throw error;
    });
}

/** package.json of whittle, from lib/cli/ in a checkout and from dist/lib/cli/ in a package. */
export function packageFile(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, 'package.json'))) folder = dirname(folder);
  return join(folder, 'package.json');
}

interface Findings {
  whittle: string;
  node: string;
  platform: string;
  /** Absent if no binary loads. With a WHITTLE_ISA that the machine lacks, what would be used without it. */
  machine?: MachineInfo | undefined;
  /** Absent if no binary loads. */
  gpus?: GpuSupport;
  gpu: string;
  binary?: LoadedBinary;
  /** What keeps whittle from working here. */
  error?: unknown;
}

function examine(): Findings {
  const { version } = JSON.parse(readFileSync(packageFile(), 'utf8')) as { version: string };
  const found: Findings = {
    whittle: version,
    node: process.version,
    platform: `${process.platform}-${process.arch}`,
    gpu: 'not looked for',
  };
  try {
    found.binary = loadedBinary();
    found.gpus = native.gpuInfo();
    found.gpu = describeGpus(found.gpus);
    found.machine = native.machineInfo();
  } catch (error) {
    found.error = error;
    if (found.binary && process.env.WHITTLE_ISA) found.machine = machineWithoutForcedIsa();
  }
  return found;
}

function machineWithoutForcedIsa(): MachineInfo | undefined {
  delete process.env.WHITTLE_ISA;
  try {
    return native.machineInfo();
  } catch {
    return undefined;
  }
}

/** The GPUs, or why none is used. */
function describeGpus({ built, devices, problem, driverVersion }: GpuSupport): string {
  const found = devices.map(
    ({ index, name, capability, memoryBytes }) =>
      `cuda:${index} ${name} (sm_${capability}, ${formatBytes(memoryBytes)})`,
  );
  if (found.length > 0) return `${found.join(', ')}; CUDA ${Math.floor(driverVersion / 1000)} driver`;
  const hasDriver = !built && existsSync('/proc/driver/nvidia/version');
  const training =
    ', though an NVIDIA driver is there; training on it goes with @tensorflow/tfjs-node-gpu and `device: tensorflow`';
  return `not used: ${problem}${hasDriver ? training : ''}`;
}

function describe({ whittle, node, platform, machine, gpu, binary }: Findings): string {
  const rows = [
    ['whittle', `${whittle} on Node ${node}, ${platform}`],
    ...(machine ? describeCpu(machine) : []),
    ['GPU', gpu],
    ['binary', binary ? `${binary.path} (${binary.reason})` : 'none'],
    ...(binary?.tried.slice(0, -1) ?? []).map(({ path, outcome }) => ['  not', `${path}: ${outcome}`]),
  ];
  return rows.map(([name, value]) => `${name!.padEnd(12)}${value}`).join('\n');
}

function describeCpu(machine: MachineInfo): string[][] {
  const features = Object.entries(machine.features).filter(([, has]) => has);
  const { l1d, l2, l3 } = machine.cacheBytes;
  const { logicalCpus, affinityCpus, affinityCores, cgroupCpus } = machine;
  const quota = cgroupCpus > 0 ? `, cgroup quota ${cgroupCpus} CPUs` : '';
  const cores = affinityCores === 1 ? '1 physical core' : `${affinityCores} physical cores`;
  return [
    ['CPU', machine.model],
    ['ISA', `${machine.isa} (${machine.isaFrom === 'detected' ? 'detected' : 'forced by WHITTLE_ISA'})`],
    ['usable ISAs', machine.isas.join(', ')],
    ['features', features.map(([name]) => name).join(', ') || 'none'],
    ...(machine.amxNote ? [['AMX', machine.amxNote]] : []),
    ['bfloat16', machine.nativeBf16 ? 'native' : 'not native, float32 is used in its place'],
    ['threads', `${machine.threads} (${logicalCpus} CPUs, ${affinityCpus} allowed, which are ${cores}${quota})`],
    ['caches', `L1 ${formatBytes(l1d)}, L2 ${formatBytes(l2)} a core, L3 ${formatBytes(l3)}`],
  ];
}
