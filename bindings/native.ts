/**
 * The typed contract between TypeScript and the native addon: every function that native/addon/ exports, one
 * section a glue file. A test holds the key list of this file against the addon's.
 */

/** What `native/cpu` found out. */
export interface MachineInfo {
  threads: number;
}

/** native/addon/machine_glue.cc */
export interface MachineBinding {
  machineInfo(): MachineInfo;
}

export type NativeBinding = MachineBinding;
