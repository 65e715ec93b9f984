/** `whittle tune RECIPE` */
import type { Command } from 'commander';
import { formatSmall } from '../report/format.js';
import type { TuneEvent } from '../tune/study.js';
import { trialTable } from '../tune/table.js';
import { tune } from '../tune/tune.js';
import { abortOnInterrupt } from './interrupt.js';
import { runDisplay, Terminal } from './terminal.js';

interface TuneFlags {
  folder?: string;
  overwrite?: boolean;
  json?: boolean;
}

export function addTune(program: Command): Command {
  return program
    .command('tune')
    .description("search over the fields that the recipe's study names; finished trials are kept")
    .argument('<recipe>', 'YAML or JSON file with a study')
    .option('--folder <folder>', 'where to write (default: runs/<name of the recipe>-study)')
    .option('--overwrite', 'throw away what an earlier study left in the folder')
    .option('--json', 'events as JSON lines on standard output')
    .action(async (recipe: string, { folder, overwrite, json }: TuneFlags) => {
      const terminal = new Terminal({ json });
      const { signal, release } = abortOnInterrupt();
      try {
        const result = await tune(recipe, { folder, overwrite, signal, onProgress: tuneDisplay(terminal) });
        const best = `Best: trial ${result.best.trial + 1}, ${result.metric} ${formatSmall(result.best.value!)}, in ${result.best.folder}`;
        terminal.result(`\n${trialTable(result)}\n\n${best}`, { type: 'result', ...result });
      } finally {
        terminal.close();
        release();
      }
    });
}

function tuneDisplay(terminal: Terminal): (event: TuneEvent) => void {
  const showRun = runDisplay(terminal);
  return (event) => {
    if (event.type === 'run') return terminal.json ? terminal.record(event) : showRun(event.event);
    terminal.record(event);
    if (event.type === 'study' && event.finished > 0) {
      terminal.line(`${event.finished} of ${event.trials} trials are in the journal already`);
    }
    if (event.type === 'note') terminal.line(`Note: ${event.message}`);
    if (event.type === 'trial') {
      const values = Object.entries(event.parameters).map(([path, value]) => `${path} ${JSON.stringify(value)}`);
      terminal.line(`\nTrial ${event.trial + 1} of ${event.trials}: ${values.join(', ')}`);
    }
    if (event.type === 'trialEnd' && event.error !== undefined) terminal.line(`Trial failed: ${event.error}`);
  };
}
