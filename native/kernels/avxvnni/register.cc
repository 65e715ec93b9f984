#include "kernels/kernel_table.h"

// One line a kernel: ADD(name) calls add_name of name.cc in this folder.
#define WHITTLE_KERNELS(ADD) \
  ADD(gemm_s8)               \
  ADD(peak)

namespace whittle {

namespace avxvnni {
#define WHITTLE_DECLARE(name) void add_##name(KernelTable& table);
WHITTLE_KERNELS(WHITTLE_DECLARE)
}  // namespace avxvnni

void register_avxvnni([[maybe_unused]] KernelTable& table) {
#define WHITTLE_ADD(name) avxvnni::add_##name(table);
  WHITTLE_KERNELS(WHITTLE_ADD)
}

}  // namespace whittle
