/** What contestants do in a turn; they read it from a JSON file (the Python side is peers/contestant.py). */

/**
 * Sequences of made-up token ids to logits (`madeUpIds` says which), or texts to class ids or entities, with everything
 * between, by the tokenizer of a checkpoint folder. Contestants may form batches as they like; the results have the order of the work.
 */
export type Work = IdsWork | TextWork;

export interface IdsWork {
  lengths: readonly number[];
}

export interface TextWork {
  texts: readonly string[];
  /** Folder with tokenizer.json and tokenizer_config.json. */
  tokenizer: string;
  /** Tokens that longer texts are cut to. */
  maxLength: number;
}

export function fixedLengths(sequences: number, length: number): IdsWork {
  return { lengths: Array.from({ length: sequences }, () => length) };
}

export function madeUpIds(row: number, length: number): number[] {
  return Array.from({ length }, (_, column) => 1000 + ((row * 131 + column * 31) % 20000));
}

/**
 * Lengths like those of SQuAD v1.1 with BERT's tokenizer, question and passage together, as the MLPerf inference benchmark has them
 * at most 384: about log-normal, mean 180. The quantiles are taken, so that few sequences have the mean already.
 */
export function squadLengths(sequences: number): IdsWork {
  const quantiles = Array.from({ length: sequences }, (_, i) => inverseNormal((i + 0.5) / sequences));
  const lengths = quantiles.map((z) => Math.min(384, Math.round(168 * Math.exp(0.38 * z))));
  // Neighbors in the work should not have neighboring lengths: take them in steps that share no factor with the count.
  return { lengths: lengths.map((_, i) => lengths[(i * 29) % sequences]!) };
}

/** Logistic approximation of the normal distribution's quantiles, good to a hundredth. */
function inverseNormal(p: number): number {
  return Math.log(p / (1 - p)) / 1.702;
}
