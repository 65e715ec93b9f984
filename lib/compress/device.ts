/** Where weights are pruned and rounded. */
import { z } from 'zod';
import { native } from '../../bindings/load.js';
import type { GpuSupport } from '../../bindings/native.js';
import { chooseDevice, devicePattern } from '../models/device.js';

/** The option `device` of steps that prune or round weights. */
export const compressDeviceSchema = z
  .string('expected a device')
  .regex(devicePattern, 'expected cpu, auto, cuda or cuda:N')
  .optional();

/**
 * The one device for a step: `cpu` unless the option asks for a GPU; of several GPUs the first. Both give the same
 * masks and the same int8, bit for bit, so where there is no GPU at all the CPU takes its place and a note says why.
 *
 * @param given the option.
 * @param onNote gets that note.
 * @param gpus what there is; asked of the machine if absent.
 * @throws WhittleError BAD_OPTION; UNSUPPORTED for an index beyond the GPUs that there are.
 * @example
 * compressDevice('cuda', console.log); // 'cuda:0', or 'cpu' after telling why
 */
export function compressDevice(
  given: string | undefined,
  onNote?: (message: string) => void,
  gpus: GpuSupport | undefined = given === undefined || given === 'cpu' ? undefined : native.gpuInfo(),
): string {
  if (given === undefined) return 'cpu';
  if (gpus && gpus.devices.length === 0 && given !== 'auto') {
    onNote?.(`device: expected a GPU for ${JSON.stringify(given)} but ${gpus.problem}; the CPU gives the same result`);
    return 'cpu';
  }
  return chooseDevice(given, gpus).split(',')[0]!;
}
