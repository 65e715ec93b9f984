/** Texts to labels through the Predictor on a device, beside what the engine does of the same token ids. */
import { setTimeout } from 'node:timers/promises';
import { raggedBatch } from '../../lib/data/batch.js';
import { encodingOf } from '../../lib/data/tokenizer/encoded-batch.js';
import { openCheckpoint } from '../../lib/models/checkpoint.js';
import { chooseDevice } from '../../lib/models/device.js';
import { Engine } from '../../lib/models/engine.js';
import { Predictor, type PredictorEngine } from '../../lib/predict/predictor.js';
import { makeUpModel, type ModelName } from '../harness/made-up-model.js';

export interface TextsOptions {
  /** As `Predictor.load` takes it. */
  device: string;
  texts: readonly string[];
  models: readonly ModelName[];
  /** Folder that holds models/minilm-l6, whose tokenizer and configuration made-up models take. */
  source: string;
  /** Where made-up models are kept. */
  folder: string;
  /** Turns of a figure take about so long together. */
  seconds: number;
}

/** All rates are texts/s. */
export interface TextsFigure {
  part: 'texts';
  work: string;
  unit: 'texts/s';
  /** `predict` over all texts. */
  value: number;
  /** `predictStream` over them. */
  stream: number;
  /** The engine alone, of the token ids, two batches under way on a GPU. */
  engine: number;
  shareOfEngine: number;
  /** `predict` with an engine that answers at once: what everything around the engine could serve. */
  withoutEngine: number;
  texts: number;
  tokensPerText: number;
}

/**
 * Rates of each model, told as they are found. Weights are made up (MiniLM-L6's encoder is the real one), int8.
 * @throws WhittleError UNSUPPORTED if there is no such device.
 */
export async function* measureTexts(options: TextsOptions): AsyncGenerator<TextsFigure, void, undefined> {
  const device = chooseDevice(options.device);
  for (const name of options.models) {
    const folder = await makeUpModel(name, options.source, options.folder);
    yield await measureModel(`${name} int8`, folder, device, options);
  }
}

async function measureModel(
  work: string,
  folder: string,
  device: string,
  { texts, seconds }: TextsOptions,
): Promise<TextsFigure> {
  await using predictor = await Predictor.load(folder, { device, precision: 'int8' });
  await using engine = await Engine.load(await openCheckpoint(folder), { device, precision: 'int8' });
  const encoded = await predictor.tokenizer.encodeBatchAsync(texts, { maxLength: predictor.maxLength });
  const batch = raggedBatch(texts.map((_, row) => encodingOf(encoded, row)));
  const under = device === 'cpu' ? 1 : 2;
  const runEngine = async () => {
    await Promise.all(Array.from({ length: under }, () => engine.run(batch, { output: 'logits' })));
  };
  const around = new Predictor(instantEngine(predictor, engine), predictor.tokenizer, {}, folder);
  const consume = async () => {
    for await (const { label } of predictor.predictStream(texts)) if (label === undefined) throw new Error('no label');
  };
  const [value, stream, alone, withoutEngine] = await ratesOf(seconds, [
    { run: () => predictor.predict(texts), units: texts.length },
    { run: consume, units: texts.length },
    { run: runEngine, units: under * texts.length },
    { run: () => around.predict(texts), units: texts.length },
  ]);
  return {
    ...{ part: 'texts', work: `${work}, AG News`, unit: 'texts/s', value: value!, stream: stream!, engine: alone! },
    ...{ shareOfEngine: round(value! / alone!), withoutEngine: withoutEngine! },
    ...{ texts: texts.length, tokensPerText: round(batch.inputIds.length / texts.length) },
  };
}

/**
 * An engine of the same model that computes nothing: all texts get the same made-up logits. It takes its batches one after
 * the other, as a GPU does, at so many tokens a second.
 */
function instantEngine(
  predictor: Pick<Predictor, 'labels'>,
  { info, description, head, settings }: Pick<Engine, 'info' | 'description' | 'head' | 'settings'>,
  tokensPerSecond = Infinity,
): PredictorEngine {
  const labels = predictor.labels.length;
  const logits = Float32Array.from({ length: labels }, (_, label) => Math.sin(label));
  let busyUntil = 0;
  const run: PredictorEngine['run'] = async ({ offsets }) => {
    const now = performance.now();
    busyUntil = Math.max(now, busyUntil) + (1000 * offsets.at(-1)!) / tokensPerSecond;
    const outputs = new Float32Array((offsets.length - 1) * labels);
    for (let at = 0; at < outputs.length; at += labels) outputs.set(logits, at);
    if (busyUntil > now) await setTimeout(busyUntil - now);
    return outputs;
  };
  return { run, dispose: async () => {}, info, description, head, settings };
}

/**
 * Without a GPU: whether the Predictor keeps engines of these rates, in tokens/s, busy. They stand for GPUs: batches are a
 * GPU's, and two are under way.
 */
export async function* measurePretended(
  { texts, models, source, folder, seconds }: Omit<TextsOptions, 'device'>,
  rates: readonly number[],
): AsyncGenerator<{ rate: number; value: number; engine: number }, void, undefined> {
  const model = await makeUpModel(models[0]!, source, folder);
  await using real = await Predictor.load(model, { device: 'cpu', precision: 'int8' });
  await using engine = await Engine.load(await openCheckpoint(model), { device: 'cpu', precision: 'int8' });
  const { inputIds } = await real.tokenizer.encodeBatchAsync(texts, { maxLength: real.maxLength });
  const like = { ...{ description: engine.description, head: engine.head, settings: engine.settings } };
  for (const rate of rates) {
    const pretended = instantEngine(real, { ...like, info: { ...engine.info, device: 'cuda:0' } }, rate);
    const predictor = new Predictor(pretended, real.tokenizer, {}, model);
    const [value] = await ratesOf(seconds, [{ run: () => predictor.predict(texts), units: texts.length }]);
    yield { rate, value: value!, engine: round((rate * texts.length) / inputIds.length) };
  }
}

/**
 * Units a second of each, medians of turns, so that whatever disturbs hits all alike: four turns at least, after one to warm up,
 * and as many as take `seconds` each.
 */
async function ratesOf(
  seconds: number,
  works: readonly { run: () => Promise<unknown>; units: number }[],
): Promise<number[]> {
  const times = works.map((): number[] => []);
  for (let turn = 0, spent = 0; turn < 5 || spent < seconds * works.length; turn++)
    for (const [index, { run }] of works.entries()) {
      const started = performance.now();
      await run();
      if (turn < 1) continue;
      times[index]!.push((performance.now() - started) / 1000);
      spent += times[index]!.at(-1)!;
    }
  return works.map(({ units }, index) => {
    const sorted = times[index]!.sort((a, b) => a - b);
    return round(units / sorted[sorted.length >> 1]!);
  });
}

function round(value: number): number {
  return Number(value.toPrecision(4));
}
