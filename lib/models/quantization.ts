/** `quantization_config` of config.json in the convention of compressed-tensors, the int8 part of it. */
import { z } from 'zod';
import { WhittleError } from '../../bindings/errors.js';
import { checkOptions } from '../options.js';

/**
 * `int8-dynamic`: int8 weights, activations quantized token by token while the model runs.
 * `int8-weight-only`: int8 weights, computed with in floating point.
 */
export type Quantization = 'int8-dynamic' | 'int8-weight-only';

const scheme = z.looseObject({
  num_bits: z.number(),
  type: z.string(),
  symmetric: z.boolean(),
  strategy: z.string().nullish(),
  dynamic: z.union([z.boolean(), z.string()]).nullish(),
});

const quantMethod = z.looseObject({ quant_method: z.string() });

const quantizationConfig = z.looseObject({
  config_groups: z.record(
    z.string(),
    z.looseObject({ targets: z.array(z.string()), weights: scheme.nullish(), input_activations: scheme.nullish() }),
  ),
});

/**
 * How the checkpoint is quantized, or undefined if config.json has no `quantization_config`.
 * @throws WhittleError UNSUPPORTED for schemes other than symmetric int8 weights with one scale a row, alone or with
 *   dynamic symmetric int8 activations with one scale a token.
 */
export function readQuantization(config: Record<string, unknown>, file: string): Quantization | undefined {
  if (config.quantization_config === undefined || config.quantization_config === null) return undefined;
  const what = `${file}: quantization_config`;
  const { quant_method: found } = checkOptions(quantMethod, config.quantization_config, what, 'BAD_CHECKPOINT');
  const refuse = (where: string, expected: string, found: unknown): never => {
    throw new WhittleError(
      'UNSUPPORTED',
      `${what}${where}: expected ${expected} but found ${JSON.stringify(found) ?? 'nothing'}`,
    );
  };
  if (found !== 'compressed-tensors') refuse('.quant_method', '"compressed-tensors"', found);
  const read = checkOptions(quantizationConfig, config.quantization_config, what, 'BAD_CHECKPOINT');
  let dynamic = false;
  for (const [name, group] of Object.entries(read.config_groups)) {
    const where = `.config_groups.${name}`;
    const { weights, input_activations: activations } = group;
    if (!weights || weights.num_bits !== 8 || weights.type !== 'int' || !weights.symmetric)
      refuse(`${where}.weights`, 'symmetric 8-bit int', weights);
    if (weights!.strategy !== 'channel') refuse(`${where}.weights.strategy`, '"channel"', weights!.strategy);
    if (!activations) continue;
    if (activations.num_bits !== 8 || activations.type !== 'int' || !activations.symmetric || activations.dynamic !== true)
      refuse(`${where}.input_activations`, 'dynamic symmetric 8-bit int', activations);
    if (activations.strategy !== 'token') refuse(`${where}.input_activations.strategy`, '"token"', activations.strategy);
    dynamic = true;
  }
  return dynamic ? 'int8-dynamic' : 'int8-weight-only';
}

/**
 * The `quantization_config` of a checkpoint that whittle writes.
 * @param quantized module names (`encoder.layer.0.output.dense`) whose weight is int8.
 * @param ignored modules of the same classes whose weight stays floating point.
 */
export function makeQuantizationConfig(
  quantization: Quantization,
  quantized: { linear: string[]; embedding: string[] },
  ignored: string[],
): Record<string, unknown> {
  const weights = {
    num_bits: 8,
    type: 'int',
    symmetric: true,
    strategy: 'channel',
    dynamic: false,
  };
  const activations = { num_bits: 8, type: 'int', symmetric: true, strategy: 'token', dynamic: true };
  const group = (target: string, inputs: object | null) => ({
    targets: [target],
    weights,
    input_activations: inputs,
    output_activations: null,
    format: 'int-quantized',
  });
  const groups = [
    ...(quantized.linear.length ? [group('Linear', quantization === 'int8-dynamic' ? activations : null)] : []),
    ...(quantized.embedding.length ? [group('Embedding', null)] : []),
  ];
  return {
    quant_method: 'compressed-tensors',
    format: 'int-quantized',
    quantization_status: 'compressed',
    config_groups: Object.fromEntries(groups.map((one, index) => [`group_${index}`, one])),
    ignore: ignored,
    kv_cache_scheme: null,
    global_compression_ratio: null,
  };
}
