#include "kernels/kernel_table.h"

// One line a kernel: ADD(name) calls add_name of name.cc in this folder.
#define WHITTLE_KERNELS(ADD) \
  ADD(gemm_s8)               \
  ADD(gemm_bf16)             \
  ADD(peak)

namespace whittle {

namespace amx {
#define WHITTLE_DECLARE(name) void add_##name(KernelTable& table);
WHITTLE_KERNELS(WHITTLE_DECLARE)
}  // namespace amx

void register_amx([[maybe_unused]] KernelTable& table) {
#define WHITTLE_ADD(name) amx::add_##name(table);
  WHITTLE_KERNELS(WHITTLE_ADD)
}

}  // namespace whittle
