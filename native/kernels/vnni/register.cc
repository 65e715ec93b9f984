#include "kernels/kernel_table.h"

// One line a kernel: ADD(name) calls add_name of name.cc in this folder.
#define WHITTLE_KERNELS(ADD)

namespace whittle {

namespace vnni {
#define WHITTLE_DECLARE(name) void add_##name(KernelTable& table);
WHITTLE_KERNELS(WHITTLE_DECLARE)
}  // namespace vnni

void register_vnni(KernelTable& table, bool) {
#define WHITTLE_ADD(name) vnni::add_##name(table);
  WHITTLE_KERNELS(WHITTLE_ADD)
}

}  // namespace whittle
