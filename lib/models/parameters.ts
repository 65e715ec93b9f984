/** Which parameters a model has, and their shapes. */
import { WhittleError } from '../../bindings/errors.js';
import { headKind, type ModelDescription, type ParameterName, type TaskHead } from './description.js';

/** A parameter in memory; int8 data goes with one scale a row: `value = data * scale`. */
export interface Parameter {
  shape: number[];
  /** Row-major, as many elements as `shape` says. */
  data: Float32Array;
}

export interface QuantizedParameter {
  /** `[out, in]` */
  shape: number[];
  data: Int8Array;
  /** `[out]` */
  scale: Float32Array;
}

export type Parameters = Map<ParameterName, Parameter>;

/**
 * Every parameter of the model with its shape, embeddings first, head last. Heads of sequences have the pooler and the
 * classifier, those of tokens the classifier alone; without a head, and for embeddings, the pooler belongs to the encoder
 * if it has one.
 *
 * @example
 * parameterShapes(description, head).get('layers.0.intermediate.weight'); // [1536, 384]
 */
export function parameterShapes(description: ModelDescription, head?: TaskHead): Map<ParameterName, number[]> {
  const { hidden, intermediate } = description;
  const shapes = new Map<ParameterName, number[]>();
  const linear = (name: string, out: number, input: number) =>
    shapes.set(`${name}.weight`, [out, input]).set(`${name}.bias`, [out]);
  const norm = (name: string) => shapes.set(`${name}.weight`, [hidden]).set(`${name}.bias`, [hidden]);

  shapes.set('embeddings.word', [description.vocabulary, hidden]);
  shapes.set('embeddings.position', [description.positions, hidden]);
  if (description.tokenTypes > 0) shapes.set('embeddings.tokenType', [description.tokenTypes, hidden]);
  if (description.positionBuckets > 0)
    shapes.set('embeddings.positionBias', [description.positionBuckets, description.heads]);
  norm('embeddings.norm');
  for (let layer = 0; layer < description.layers; layer++) {
    for (const part of ['query', 'key', 'value', 'output']) linear(`layers.${layer}.attention.${part}`, hidden, hidden);
    norm(`layers.${layer}.attention.norm`);
    linear(`layers.${layer}.intermediate`, intermediate, hidden);
    linear(`layers.${layer}.output`, hidden, intermediate);
    norm(`layers.${layer}.output.norm`);
  }
  const kind = head ? headKind(head.task) : 'none';
  const pools = kind === 'none' ? description.hasPooler : kind === 'sequence';
  if (pools) linear('pooler', hidden, hidden);
  if (head && kind !== 'none') linear('classifier', head.labels.length, hidden);
  return shapes;
}

/** True for weights of linear layers, the ones that int8 checkpoints store as int8 beside the word embeddings. */
export function isLinearWeight(name: ParameterName): boolean {
  return name.endsWith('.weight') && !name.endsWith('norm.weight');
}

/**
 * Checks that `parameters` are exactly those of the model, each of its shape.
 * @throws WhittleError BAD_CHECKPOINT naming the first parameter that is missing, unknown or mis-shaped.
 */
export function checkParameters(
  parameters: ReadonlyMap<ParameterName, Parameter | QuantizedParameter>,
  description: ModelDescription,
  head?: TaskHead,
): void {
  const shapes = parameterShapes(description, head);
  for (const [name, shape] of shapes) {
    const parameter = parameters.get(name);
    if (!parameter) throw new WhittleError('BAD_CHECKPOINT', `Expected parameter ${name} ${format(shape)}: missing`);
    if (format(parameter.shape) !== format(shape))
      throw new WhittleError(
        'BAD_CHECKPOINT',
        `Expected shape ${format(shape)} for parameter ${name} but found ${format(parameter.shape)}`,
      );
    const count = shape.reduce((product, size) => product * size, 1);
    if (parameter.data.length !== count)
      throw new WhittleError(
        'BAD_CHECKPOINT',
        `Expected ${count} elements for parameter ${name} but found ${parameter.data.length}`,
      );
  }
  for (const name of parameters.keys())
    if (!shapes.has(name))
      throw new WhittleError('BAD_CHECKPOINT', `Parameter ${name} does not belong to the model being written`);
}

/** `[384, 1536]` */
export function format(shape: readonly number[]): string {
  return `[${shape.join(', ')}]`;
}
