/** `whittle run RECIPE` */
import type { Command } from 'commander';
import { WhittleError } from '../../bindings/errors.js';
import { run } from '../recipe/run.js';
import { modelTable, stepTable } from '../report/tables.js';
import { abortOnInterrupt } from './interrupt.js';
import { runDisplay, Terminal } from './terminal.js';

interface RunFlags {
  folder?: string;
  resume: boolean;
  restart?: boolean;
  overwrite?: boolean;
  json?: boolean;
}

export function addRun(program: Command): Command {
  return program
    .command('run')
    .description('run the steps of a recipe; an earlier run that was stopped goes on where it was')
    .argument('<recipe>', 'YAML or JSON file')
    .option('--folder <folder>', 'where to write (default: runs/<name of the recipe>)')
    .option('--resume', 'go on where an earlier run of this recipe stopped (the default)', true)
    .option('--no-resume', 'refuse a folder that holds finished steps or training checkpoints')
    .option('--restart', 'start the steps that are not finished anew, without their training checkpoints')
    .option('--overwrite', 'throw away what an earlier run left in the folder')
    .option('--json', 'events as JSON lines on standard output')
    .action(async (recipe: string, { folder, resume, restart, overwrite, json }: RunFlags) => {
      if (overwrite && !resume) {
        throw new WhittleError('BAD_OPTION', 'expected --overwrite or --no-resume but found both');
      }
      const terminal = new Terminal({ json });
      const { signal, release } = abortOnInterrupt();
      try {
        const result = await run(recipe, {
          folder,
          resume,
          restart,
          overwrite,
          signal,
          onProgress: runDisplay(terminal),
        });
        const table = modelTable(result.report) || stepTable(result.report);
        terminal.result(`\n${table}\n\nReport: ${result.reportFile}`, { type: 'report', report: result.report });
      } finally {
        terminal.close();
        release();
      }
    });
}
