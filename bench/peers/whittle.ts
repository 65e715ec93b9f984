/** whittle as a contestant: `whittle.ts CHECKPOINT WORK.json`. */
import { describeCommit } from '../harness/machine.js';
import { answerTurns } from '../harness/contestant.js';
import { onceOf } from './whittle-work.js';

const once = await onceOf(process.argv[2]!, process.argv[3]!);
for (let warmUp = 0; warmUp < 3; warmUp++) await once();
await answerTurns(once, { version: `whittle ${describeCommit()}` });
