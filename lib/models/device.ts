/** Where the inference engine runs. */
import { WhittleError } from '../../bindings/errors.js';
import { native } from '../../bindings/load.js';
import type { GpuSupport } from '../../bindings/native.js';

/** `cpu`, `auto`, `cuda` (GPU 0), `cuda:N`, or several GPUs: `cuda:0,cuda:1`. */
export const devicePattern = /^(cpu|auto|cuda|cuda:\d+(,cuda:\d+)*)$/;

/**
 * The device to use: the one given, else what the environment variable WHITTLE_DEVICE names, else `cpu`. `auto` is the
 * first GPU if this build and machine have one that whittle can use, else `cpu`.
 * @param gpus what there is; asked of the machine if absent.
 * @throws WhittleError BAD_OPTION for a spelling that is none; UNSUPPORTED if a GPU is asked for and there is none that
 *   can be used (`whittle doctor` says why).
 * @example
 * chooseDevice('auto'); // 'cuda:0', or 'cpu'
 */
export function chooseDevice(given?: string, gpus?: GpuSupport): string {
  const named = given ?? (process.env.WHITTLE_DEVICE || 'cpu');
  if (!devicePattern.test(named)) {
    const place = given === undefined ? 'WHITTLE_DEVICE' : 'device';
    throw new WhittleError(
      'BAD_OPTION',
      `${place}: expected cpu, auto, cuda, cuda:N or several such as cuda:0,cuda:1 but found ${JSON.stringify(named)}`,
    );
  }
  if (named === 'cpu') return named;
  const { devices, problem } = gpus ?? native.gpuInfo();
  if (named === 'auto') return devices.length > 0 ? 'cuda:0' : 'cpu';
  const wanted = named === 'cuda' ? [0] : named.split(',').map((one) => Number(one.slice('cuda:'.length)));
  if (devices.length === 0)
    throw new WhittleError('UNSUPPORTED', `device: expected a GPU for ${JSON.stringify(named)} but ${problem}`);
  const missing = wanted.find((index) => index >= devices.length);
  if (missing !== undefined) {
    throw new WhittleError(
      'UNSUPPORTED',
      `device: expected cuda:0 to cuda:${devices.length - 1}, the GPUs of this machine, but found cuda:${missing}`,
    );
  }
  return wanted.map((index) => `cuda:${index}`).join(',');
}
