// Every table of kernels that this machine can run, for tests that hold them all against one oracle.
#pragma once

#include <string>
#include <vector>

#include "kernels/kernel_table.h"

namespace whittle::test {

struct KernelVariant {
  std::string name;  // "avx512", or "amx (emulated tiles)"
  const KernelTable* table;
};

// The ISAs of this CPU, and those that it lacks in the emulations that this build has.
const std::vector<KernelVariant>& kernel_variants();

}  // namespace whittle::test
