/**
 * The typed contract between TypeScript and the native addon: every function that native/addon/ exports, by
 * glue file. A test holds the key list of NativeBinding against the addon's.
 *
 * Everything that takes long returns a promise and runs off the JavaScript thread. `abort` is an `Int32Array(1)`:
 * writing 1 into it makes the work stop soon and reject with ABORTED.
 */
import type { CompressBinding } from './contract/compress.js';
import type { EngineBinding } from './contract/engine.js';
import type { FormatsBinding } from './contract/formats.js';
import type { MachineBinding } from './contract/machine.js';
import type { OptimizerBinding } from './contract/optimizers.js';
import type { TextBinding } from './contract/text.js';
import type { DropoutBinding, TensorBinding, TrainingBinding } from './contract/training.js';

export * from './contract/machine.js';
export * from './contract/formats.js';
export * from './contract/engine.js';
export * from './contract/training.js';
export * from './contract/optimizers.js';
export * from './contract/compress.js';
export * from './contract/text.js';

export type NativeBinding = MachineBinding &
  FormatsBinding &
  EngineBinding &
  TextBinding &
  TensorBinding &
  TrainingBinding &
  OptimizerBinding &
  DropoutBinding &
  CompressBinding;
