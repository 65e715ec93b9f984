/** What the machine offers, in a line. */
import { native } from '../../bindings/load.js';

const isaNames = {
  ref: 'no vector instructions',
  avx2: 'AVX2',
  avxvnni: 'AVX2 with VNNI',
  avx512: 'AVX-512',
  vnni: 'AVX-512 with VNNI',
  amx: 'AMX',
};

/**
 * One line for terminals and reports.
 * @example
 * describeMachine(); // 'AMD EPYC 9V45 96-Core Processor, AVX-512 with VNNI and bfloat16, 4 threads, no GPU'
 */
export function describeMachine(): string {
  const { model, isa, nativeBf16, threads } = native.machineInfo();
  const bfloat16 = nativeBf16 ? ' and bfloat16' : '';
  const gpus = native.gpuInfo().devices.map(({ name }) => name);
  return [
    model.trim(),
    `${isaNames[isa]}${bfloat16}`,
    `${threads} ${threads === 1 ? 'thread' : 'threads'}`,
    gpus.length > 0 ? gpus.join(', ') : 'no GPU',
  ].join(', ');
}
