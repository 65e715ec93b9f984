/** What is trained for the scores, and the two ways of whittle to train it. */
import type { Task } from '../../lib/data/dataset.js';
import type { StageOptions } from '../../lib/training/stages.js';

export interface Work {
  /** Folder of shared/models, and of shared/data; minilm-l6, and the work's own name, if absent. */
  model?: string;
  data?: string;
  /** The data's; told by their first row if absent. */
  task?: Task;
  /** Of dev for the best epoch, and of test. */
  metric: 'accuracy' | 'f1' | 'spearman';
  /** Of plain fine-tuning, and of Transformers. */
  learningRate: number;
  epochs: number;
  /**
   * The same number of epochs in stages; empty: plain alone. The last has the rate of plain fine-tuning, those of the
   * others were not searched for.
   */
  staged: Omit<StageOptions, 'earlyStopping'>[];
}

const top = ['head', 'layers.3-5'];

export const works: Record<string, Work> = {
  banking77: {
    ...{ metric: 'accuracy', learningRate: 2e-4, epochs: 8 },
    staged: [
      { train: 'head', epochs: 1, learningRate: 2e-3 },
      { train: top, epochs: 2, learningRate: 4e-4 },
      { train: 'all', epochs: 5, learningRate: 2e-4 },
    ],
  },
  conll2003: {
    ...{ metric: 'f1', learningRate: 2e-4, epochs: 4 },
    staged: [
      { train: 'head', epochs: 0.5, learningRate: 2e-3 },
      { train: top, epochs: 0.5, learningRate: 4e-4 },
      { train: 'all', epochs: 3, learningRate: 2e-4 },
    ],
  },
  sst2: {
    ...{ metric: 'accuracy', learningRate: 5e-5, epochs: 3 },
    staged: [
      { train: 'head', epochs: 0.5, learningRate: 1e-3 },
      { train: top, epochs: 0.5, learningRate: 2e-4 },
      { train: 'all', epochs: 2, learningRate: 5e-5 },
    ],
  },
  stsb: {
    ...{ task: 'regression', metric: 'spearman', learningRate: 5e-5, epochs: 4 },
    staged: [
      { train: 'head', epochs: 0.5, learningRate: 1e-3 },
      { train: top, epochs: 0.5, learningRate: 2e-4 },
      { train: 'all', epochs: 3, learningRate: 5e-5 },
    ],
  },
  ag_news: {
    ...{ metric: 'accuracy', learningRate: 5e-5, epochs: 2 },
    staged: [
      { train: 'head', epochs: 0.25, learningRate: 1e-3 },
      { train: top, epochs: 0.25, learningRate: 2e-4 },
      { train: 'all', epochs: 1.5, learningRate: 5e-5 },
    ],
  },
  'mpnet-banking77': {
    ...{ model: 'mpnet-base', data: 'banking77' },
    ...{ metric: 'accuracy', learningRate: 5e-5, epochs: 3, staged: [] },
  },
};

/** As users know the models. */
export const modelTitles: Record<string, string> = { 'minilm-l6': 'MiniLM-L6', 'mpnet-base': 'MPNet-base' };

export const ways = ['plain', 'staged'] as const;
export type Way = (typeof ways)[number];

/** The stages of a way; the last keeps its best epoch on dev, as Transformers' side does. */
export function stagesOf({ metric, learningRate, epochs, staged }: Work, way: Way): StageOptions[] {
  const stages = way === 'plain' ? [{ train: 'all', epochs, learningRate }] : staged;
  const keepBest = { metric, patience: 1000 };
  return stages.map((stage, index) => (index === stages.length - 1 ? { ...stage, earlyStopping: keepBest } : stage));
}
