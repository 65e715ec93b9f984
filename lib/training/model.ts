/** An encoder with a head whose parameters are TensorFlow.js variables. */
import * as tf from '@tensorflow/tfjs-core';
import { WhittleError } from '../../bindings/errors.js';
import type { DropoutSpec, TrainingPrecision } from '../../bindings/native.js';
import { gelu } from '../backend/operations.js';
import { useWhittleBackend } from '../backend/register.js';
import { headKind, type ModelDescription, type ParameterName, type TaskHead } from '../models/description.js';
import { parameterShapes, type Parameters } from '../models/parameters.js';
import { dropFeatures } from './composite-dropout.js';
import { compositeEncoder } from './composite-encoder.js';
import type { Encoder, Pass, RaggedTokens } from './encoder.js';
import { fusedEncoder, isOffTape } from './fused-encoder.js';
import { PackedWeights } from './packed-weights.js';
import { generator, normalValues } from './random.js';
import { WordTable } from './word-table.js';

export interface ModelOptions {
  description: ModelDescription;
  head: TaskHead;
  /** Those that the model lacks (a new head) are initialized; those that it has no use for are left out. */
  parameters: Parameters;
  seed: number;
  /**
   * `fused`: one native kernel a layer over ragged batches, on the backend `whittle`. `composite`: ordinary operations
   * over padded batches, on any backend.
   */
  form?: 'fused' | 'composite';
  /** TensorFlow.js's backend of the composite form; the current one by default. */
  backend?: string;
  /** Of the fused form's matrix products; bfloat16 is float32 where the machine lacks it. */
  precision?: TrainingPrecision;
}

/** What the frozen lower part of the model gives for a batch. */
export interface FrozenOutput {
  /** The first layer still to run; the number of layers if only the head is. */
  depth: number;
  /** `[tokens, hidden]`, or `[sequences, hidden]` of the first tokens if that is all the head reads. */
  hidden: tf.Tensor2D;
}

/** A pass that trains nothing: no dropout, no gradients. */
export const evaluation: Pass = { trained: new Set(), hiddenDropout: 0, attentionDropout: 0, seed: 0, step: 0 };

const poolerActivations: Record<ModelDescription['poolerActivation'], (x: tf.Tensor2D) => tf.Tensor2D> = {
  tanh: tf.tanh,
  relu: tf.relu,
  gelu: (x) => gelu(x) as tf.Tensor2D,
};
let models = 0;

export class TrainableModel {
  readonly description: ModelDescription;
  readonly head: TaskHead;
  readonly form: 'fused' | 'composite';
  readonly #variables = new Map<ParameterName, tf.Variable>();
  readonly #encoder: Encoder;
  readonly #noTokenTypes: tf.Tensor;
  /** See CallParameters. */
  readonly #anchor: tf.Variable;
  /** What the optimizer packs for the encoder's products, if it does. */
  readonly packed: PackedWeights | undefined;
  /** TensorFlow.js's backend that the model lives on. */
  readonly #backend: string;
  #words: WordTable | undefined;

  constructor(options: ModelOptions) {
    const { head, seed, form = 'fused', precision = 'float32' } = options;
    this.head = head;
    this.form = form;
    this.description = { ...options.description, hasPooler: headKind(head.task) === 'sequence' };
    if (form === 'fused') useWhittleBackend();
    else if (options.backend) tf.setBackend(options.backend);
    this.#backend = tf.getBackend();
    const prefix = `whittle/${models++}`;
    for (const [index, [name, shape]] of [...parameterShapes(this.description, head)].entries()) {
      const found = options.parameters.get(name);
      const fits = found && found.shape.join() === shape.join();
      if (!fits && (!/^(pooler|classifier)\./.test(name) || (found && name.startsWith('pooler.'))))
        throw new WhittleError(
          'BAD_CHECKPOINT',
          `Expected parameter ${name} of shape [${shape.join(', ')}] but found ${found ? `[${found.shape.join(', ')}]` : 'none'}`,
        );
      const values = fits ? found.data.slice() : initialValues(name, shape, seed, index);
      const initial = tf.tensor(values, shape, 'float32');
      this.#variables.set(name, tf.variable(initial, true, `${prefix}/${name}`));
      initial.dispose();
    }
    this.#noTokenTypes = tf.keep(tf.zeros([0, this.description.hidden]));
    this.#anchor = tf.tidy(() => tf.variable(tf.scalar(0), true, `${prefix}/anchor`));
    if (form === 'fused') this.packed = PackedWeights.for(this.description, precision);
    const context = {
      description: this.description,
      precision,
      packed: this.packed,
      anchor: this.#anchor,
      parameter: (name: ParameterName) =>
        this.#variables.get(name) ?? (name === 'embeddings.tokenType' ? this.#noTokenTypes : missing(name)),
    };
    this.#encoder = form === 'fused' ? fusedEncoder(context) : compositeEncoder(context);
  }

  /**
   * The trainable parameters by whittle's names. While the vocabulary is restricted, `embeddings.word` holds only the
   * rows in use.
   */
  get parameters(): ReadonlyMap<ParameterName, tf.Variable> {
    return this.#variables;
  }

  /** Makes the model's backend TensorFlow.js's current one: other code may have changed it since. */
  activate(): void {
    if (tf.getBackend() !== this.#backend) tf.setBackend(this.#backend);
  }

  /** The rate that the description has for this kind of head. */
  get headDropout(): number {
    const { sequence, token } = this.description.headDropout;
    return headKind(this.head.task) === 'token' ? token : sequence;
  }

  /** The word table's rows in use, while it is restricted. */
  get words(): WordTable | undefined {
    return this.#words;
  }

  /**
   * Logits `[sequences, labels]` (heads of sequences) or `[tokens, labels]` (token classification); vectors `[sequences,
   * hidden]` (embeddings), not scaled to length 1.
   * @param frozen in place of running what lies below `frozen.depth`.
   */
  forward(tokens: RaggedTokens, pass: Pass, frozen?: FrozenOutput): tf.Tensor2D {
    this.activate();
    const { layers } = this.description;
    const { offsets } = tokens;
    let hidden = frozen?.hidden ?? this.#encoder.embed(this.#remapped(tokens), pass);
    hidden = this.#encoder.layers(hidden, offsets, frozen?.depth ?? 0, layers, pass);
    return this.#headLogits(hidden, offsets, pass);
  }

  /**
   * The gradients of a loss by what the pass trains, by the names of the variables; what the loss does not hang on has
   * none.
   * @param lossOf gets the pass that `forward` is to be called with.
   */
  gradients(pass: Pass, lossOf: (pass: Pass) => tf.Scalar): { value: tf.Scalar; gradients: tf.NamedTensorMap } {
    this.activate();
    const taken: tf.NamedTensorMap = {};
    const take = (name: ParameterName, gradient: tf.Tensor) => {
      const { name: key } = this.#variables.get(name)!;
      const before = taken[key];
      taken[key] = before ? tf.keep(tf.add(before, gradient)) : gradient;
      if (before) tf.dispose([before, gradient]);
    };
    const isFused = this.form === 'fused';
    const onTape = [...pass.trained].filter((name) => !isFused || !isOffTape(name));
    const variables = onTape.map((name) => this.#variables.get(name)!);
    if (isFused) variables.push(this.#anchor);
    const { value, grads } = tf.variableGrads(() => lossOf({ ...pass, take }), variables);
    const { [this.#anchor.name]: ofAnchor, ...others } = grads;
    if (ofAnchor) ofAnchor.dispose();
    return { value, gradients: { ...taken, ...others } };
  }

  /** What the layers below `depth` give, dropout off; the first tokens alone where the head reads no others. */
  frozenOutput(tokens: RaggedTokens, depth: number): FrozenOutput {
    this.activate();
    const hidden = tf.tidy(() => {
      const embedded = this.#encoder.embed(this.#remapped(tokens), evaluation);
      const output = this.#encoder.layers(embedded, tokens.offsets, 0, depth, evaluation);
      return this.readsFirstTokens(depth) ? firstTokens(output, tokens.offsets) : output;
    });
    return { depth, hidden };
  }

  /** True if of the output of the layers below `depth` only each sequence's first token is read. */
  readsFirstTokens(depth: number): boolean {
    return depth === this.description.layers && headKind(this.head.task) === 'sequence';
  }

  /** Keeps only the rows of these ids in the word table's variable until `releaseVocabulary`. */
  restrictVocabulary(ids: Iterable<Int32Array>): void {
    if (this.#words) throw new Error('the vocabulary is restricted already');
    this.activate();
    this.#words = new WordTable(this.#variables.get('embeddings.word')!, ids);
    this.#replaceWords(this.#words.rows);
  }

  releaseVocabulary(): void {
    if (!this.#words) return;
    this.activate();
    const whole = this.#words.whole(this.#variables.get('embeddings.word')!);
    this.#words = undefined;
    this.#replaceWords(whole);
  }

  /** A copy of all parameters, for writing a checkpoint. */
  toParameters(): Parameters {
    const result: Parameters = new Map();
    for (const [name, variable] of this.#variables) {
      if (name === 'embeddings.word' && this.#words) result.set(name, this.#words.whole(variable));
      else result.set(name, { shape: [...variable.shape], data: Float32Array.from(variable.dataSync()) });
    }
    return result;
  }

  dispose(): void {
    for (const variable of this.#variables.values()) variable.dispose();
    this.#variables.clear();
    this.#noTokenTypes.dispose();
    this.#anchor.dispose();
  }

  #headLogits(hidden: tf.Tensor2D, offsets: Int32Array, pass: Pass): tf.Tensor2D {
    const linear = (x: tf.Tensor2D, name: string) => {
      const weight = this.#variables.get(`${name}.weight`)! as tf.Tensor as tf.Tensor2D;
      return tf.add(tf.matMul(x, weight, false, true), this.#variables.get(`${name}.bias`)!) as tf.Tensor2D;
    };
    // To dropout's generator, a head is one more layer.
    const drop = (x: tf.Tensor2D, site: DropoutSpec['site']) =>
      dropFeatures(x, {
        ...{ rate: pass.headDropout ?? pass.hiddenDropout, layer: this.description.layers, site },
        ...{ seed: pass.seed, step: pass.step },
      });
    let features = hidden;
    const kind = headKind(this.head.task);
    if (kind === 'none')
      return this.head.pooling?.of === 'first' ? firstTokens(hidden, offsets) : meanOfTokens(hidden, offsets);
    if (kind === 'sequence') {
      // A frozen lower part may have left the first tokens alone.
      if (hidden.shape[0] !== offsets.length - 1) features = firstTokens(hidden, offsets);
      if (this.description.dropsPoolerInput) features = drop(features, 'attentionOutput');
      features = poolerActivations[this.description.poolerActivation](linear(features, 'pooler'));
    }
    return linear(drop(features, 'output'), 'classifier');
  }

  #remapped(tokens: RaggedTokens): RaggedTokens {
    return this.#words ? { ...tokens, inputIds: this.#words.remap(tokens.inputIds) } : tokens;
  }

  #replaceWords({ shape, data }: { shape: number[]; data: Float32Array }): void {
    const old = this.#variables.get('embeddings.word')!;
    const { name } = old;
    old.dispose();
    const initial = tf.tensor(data, shape, 'float32');
    this.#variables.set('embeddings.word', tf.variable(initial, true, name));
    initial.dispose();
  }
}

/** `[tokens, hidden]` to `[sequences, hidden]` */
function firstTokens(hidden: tf.Tensor2D, offsets: Int32Array): tf.Tensor2D {
  return tf.gather(hidden, tf.tensor1d(offsets.slice(0, -1), 'int32'));
}

/** `[tokens, hidden]` to `[sequences, hidden]`: the mean of each sequence's tokens, as a product with their shares. */
function meanOfTokens(hidden: tf.Tensor2D, offsets: Int32Array): tf.Tensor2D {
  const [sequences, tokens] = [offsets.length - 1, hidden.shape[0]];
  const shares = new Float32Array(sequences * tokens);
  for (let sequence = 0; sequence < sequences; sequence++) {
    const [from, to] = [offsets[sequence]!, offsets[sequence + 1]!];
    shares.fill(1 / (to - from), sequence * tokens + from, sequence * tokens + to);
  }
  return tf.matMul(tf.tensor2d(shares, [sequences, tokens]), hidden);
}

/** As BERT initializes a new head: weights from a normal distribution with deviation 0.02, biases 0. */
function initialValues(name: ParameterName, shape: number[], seed: number, stream: number): Float32Array {
  const count = shape.reduce((product, length) => product * length, 1);
  return name.endsWith('.bias') ? new Float32Array(count) : normalValues(count, 0.02, generator(seed, 0x1417, stream));
}

function missing(name: ParameterName): never {
  throw new Error(`the model has no parameter ${name}`);
}
