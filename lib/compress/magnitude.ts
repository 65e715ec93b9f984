/** Which weights magnitude pruning takes away. */
import { withAbortCell } from '../../bindings/abort.js';
import { native } from '../../bindings/load.js';
import type { ParameterName } from '../models/description.js';
import type { Parameters } from '../models/parameters.js';

/** What became of one tensor. */
export interface PrunedTensor {
  name: ParameterName;
  shape: number[];
  zeros: number;
  /** zeros / elements */
  sparsity: number;
  /** The largest magnitude taken away, by the tensor's own cut or the global one; absent if nothing was. */
  threshold?: number;
}

export interface MagnitudePruning {
  /** 0 where a weight goes, 1 where it stays. */
  masks: Map<ParameterName, Uint8Array>;
  tensors: PrunedTensor[];
}

export interface MagnitudeOptions {
  /** Fraction of the weights that go, in [0, 1). */
  sparsity: number;
  /** `global`: one threshold for all tensors together; `tensor`: each loses the same fraction. */
  scope: 'global' | 'tensor';
  threads: number;
  /** `cpu`, also if absent, or `cuda:N`. The masks are the same. */
  device?: string | undefined;
  signal?: AbortSignal | undefined;
  onTensor?: (done: number) => void;
}

/**
 * Masks that take away the weights of smallest magnitude: round(sparsity * elements) of them, exactly. Of equal
 * magnitudes at the threshold, those that come first (by tensor in the order given, then by index) go.
 *
 * Han, Pool, Tran and Dally 2015, "Learning both Weights and Connections for Efficient Neural Networks".
 *
 * @throws WhittleError BAD_CHECKPOINT naming a tensor that holds NaN or infinity; DEVICE if a GPU was lost or is full;
 *   ABORTED.
 * @example
 * const { masks } = await magnitudeMasks(parameters, ['layers.0.output.weight'], { sparsity: 0.5, scope: 'global', threads: 0 });
 */
export async function magnitudeMasks(
  parameters: Parameters,
  names: readonly ParameterName[],
  options: MagnitudeOptions,
): Promise<MagnitudePruning> {
  const groups = options.scope === 'global' ? [names] : names.map((name) => [name]);
  const result: MagnitudePruning = { masks: new Map(), tensors: [] };
  for (const group of groups) {
    const tensors = group.map((name) => parameters.get(name)!);
    const elements = tensors.reduce((sum, { data }) => sum + data.length, 0);
    const { masks, zeros, threshold } = await withAbortCell(options.signal, (abort) =>
      native.magnitudeMasks(
        [...group],
        tensors.map(({ data }) => data),
        Math.round(options.sparsity * elements),
        options.threads,
        abort,
        options.device,
      ),
    );
    group.forEach((name, index) => {
      const { shape, data } = tensors[index]!;
      result.masks.set(name, masks[index]!);
      result.tensors.push({
        name,
        shape,
        zeros: zeros[index]!,
        sparsity: data.length ? zeros[index]! / data.length : 0,
        ...(threshold >= 0 && { threshold }),
      });
    });
    options.onTensor?.(result.tensors.length);
  }
  return result;
}
