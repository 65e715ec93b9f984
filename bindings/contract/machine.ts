/** What the machine offers: native/addon/machine_glue.cc. */

/** The instruction sets that whittle has kernels for, weakest first. */
export type IsaName = 'ref' | 'avx2' | 'avxvnni' | 'avx512' | 'vnni' | 'amx';

/** What the CPU, the operating system and the container allow, and what whittle chose. */
export interface MachineInfo {
  /** `AuthenticAMD`, `GenuineIntel`, ... */
  vendor: string;
  model: string;
  /** Whose kernels run, and whether the environment variable WHITTLE_ISA or detection chose them. */
  isa: IsaName;
  isaFrom: 'WHITTLE_ISA' | 'detected';
  /** Every ISA that this machine can run, weakest first. */
  isas: IsaName[];
  /** Whether bf16 products run natively; where not, bfloat16 means float32. */
  nativeBf16: boolean;
  /** CPU has it and the operating system saves its registers. */
  features: {
    avx2: boolean;
    avxvnni: boolean;
    avx512: boolean;
    avx512Vnni: boolean;
    avx512Bf16: boolean;
    amxInt8: boolean;
    amxBf16: boolean;
  };
  /** Why AMX is off although the CPU has it; empty otherwise. */
  amxNote: string;
  /**
   * CPUs (hardware threads) of the machine, those that this process may run on, the physical cores that they are, and
   * the cgroup's quota in CPUs (0: none).
   */
  logicalCpus: number;
  affinityCpus: number;
  affinityCores: number;
  cgroupCpus: number;
  /** Threads that follow from these (one a physical core, within the quota), and threads in use (the same unless `setThreads` was called). */
  defaultThreads: number;
  threads: number;
  /** Per core (l1d, l2) or shared (l3); 0 where unknown. */
  cacheBytes: { l1d: number; l2: number; l3: number };
}

/** The GPUs that whittle's own CUDA kernels may run on. */
export interface GpuSupport {
  /** Whether this build holds CUDA kernels. */
  built: boolean;
  /** CUDA that the driver serves, 1000 * major + 10 * minor; 0: no driver, or not looked for. */
  driverVersion: number;
  /** CUDA that this build needs. */
  runtimeVersion: number;
  /** Why there is none; empty if there is one. */
  problem: string;
  /** Those that CUDA_VISIBLE_DEVICES leaves; `capability` is 10 * major + minor. */
  devices: { index: number; name: string; capability: number; multiprocessors: number; memoryBytes: number }[];
}

/** native/addon/machine_glue.cc */
export interface MachineBinding {
  /** @throws WhittleError BAD_OPTION if WHITTLE_ISA names an ISA that this machine lacks. */
  machineInfo(): MachineInfo;
  /** Sets the threads of native work for the whole process, 1 to 1024; 0 goes back to the default. Returns the number. */
  setThreads(threads: number): number;
  /** Looks for GPUs at the first call of the process. */
  gpuInfo(): GpuSupport;
}
