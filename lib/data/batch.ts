/** Tokenized rows, and batches of them end to end, without padding. */

/** One tokenized row, or a window of one, or one text of a pair. */
export interface Example {
  /** `[tokens]` with special tokens. */
  inputIds: Int32Array;
  /** `[tokens]`, 0 for the first text and 1 for the second. */
  tokenTypeIds: Int32Array;
  /** Class id (text classification), or `[tokens]` with -100 where a token has no label. Absent without labels. */
  label?: number;
  tokenLabels?: Int32Array;
  /** `[1]` a number to be told, or `[labels]` 1 for each label that the row has and 0 for the others. */
  target?: Float32Array;
  /** For token classification: index in the row's words of each token, -1 for tokens that speak for none. */
  wordIds?: Int32Array;
  /** Index of its row, where a row has several examples; its own index if absent. */
  row?: number;
}

/** A ragged batch: sequences end to end. */
export interface RaggedBatch {
  /** `[tokens]` */
  inputIds: Int32Array;
  /** `[tokens]` */
  tokenTypeIds: Int32Array;
  /** `[sequences + 1]`; sequence i is tokens offsets[i] up to offsets[i + 1]. */
  offsets: Int32Array;
  /** `[sequences]` class ids, or `[tokens]` with -100 for none. Empty without labels. */
  labels: Int32Array;
  /** `[sequences with a target, numbers of a target]`, in their order. Absent without. */
  targets?: Float32Array;
}

/** Puts the examples end to end, in the order given. */
export function raggedBatch(examples: readonly Example[]): RaggedBatch {
  const tokens = examples.reduce((sum, example) => sum + example.inputIds.length, 0);
  const inputIds = new Int32Array(tokens);
  const tokenTypeIds = new Int32Array(tokens);
  const offsets = new Int32Array(examples.length + 1);
  const perToken = examples.some((example) => example.tokenLabels);
  const labelled = perToken || examples.some((example) => example.label !== undefined);
  const labels = new Int32Array(labelled ? (perToken ? tokens : examples.length) : 0).fill(-100);
  let offset = 0;
  examples.forEach((example, index) => {
    inputIds.set(example.inputIds, offset);
    tokenTypeIds.set(example.tokenTypeIds, offset);
    if (example.tokenLabels) labels.set(example.tokenLabels, offset);
    else if (labelled && example.label !== undefined) labels[index] = example.label;
    offset += example.inputIds.length;
    offsets[index + 1] = offset;
  });
  const targets = joinTargets(examples);
  return { inputIds, tokenTypeIds, offsets, labels, ...(targets && { targets }) };
}

function joinTargets(examples: readonly Example[]): Float32Array | undefined {
  const targets = examples.flatMap(({ target }) => (target ? [target] : []));
  if (targets.length === 0) return undefined;
  const joined = new Float32Array(targets.reduce((sum, target) => sum + target.length, 0));
  let offset = 0;
  for (const target of targets) {
    joined.set(target, offset);
    offset += target.length;
  }
  return joined;
}
