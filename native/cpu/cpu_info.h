// What this CPU, this operating system and this container allow. Detected once.
#pragma once

#include <string>
#include <vector>

#include "cpu/isa.h"

namespace whittle {

struct CpuInfo {
  std::string vendor;
  std::string model;
  // CPU has it and the OS saves its registers (XCR0); for AMX the kernel also granted tile data (arch_prctl).
  bool avx2 = false;  // with FMA and F16C
  bool avxvnni = false;
  bool avx512 = false;  // F, BW, DQ, VL
  bool avx512_vnni = false;
  bool avx512_bf16 = false;
  bool amx_int8 = false;
  bool amx_bf16 = false;
  std::string amx_note;    // why AMX is off although the CPU has it; empty otherwise
  int logical_cpus = 1;    // of the machine
  int affinity_cpus = 1;   // this process may run on
  int affinity_cores = 1;  // physical cores among those: hardware threads of one core count once
  double cgroup_cpus = 0;  // CPU quota of the cgroup (v1 or v2) in CPUs; 0: none
  int threads = 1;         // min(affinity_cores, ceil(quota)), at least 1
  long l1d_bytes = 0, l2_bytes = 0, l3_bytes = 0;

  bool supports(Isa isa) const;
  Isa best_isa() const;
};

const CpuInfo& cpu_info();

// How many physical cores the CPUs of these numbers are; a CPU whose core the kernel does not tell counts as one.
// `cpu_root` is "/sys/devices/system/cpu" except in tests.
int physical_cores(const std::vector<int>& cpus, const std::string& cpu_root);

// The smallest CPU quota, in CPUs, on the way from this process's cgroup to the root; 0 where there is none.
// `proc_root` and `cgroup_root` are "/proc/self" and "/sys/fs/cgroup" except in tests.
double cgroup_cpu_quota(const std::string& proc_root, const std::string& cgroup_root);

}  // namespace whittle
