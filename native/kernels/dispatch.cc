#include "kernels/kernel_table.h"

namespace whittle {

const char* isa_name(Isa isa) {
  static const char* const names[kIsaCount] = {"ref", "avx2", "avxvnni", "avx512", "vnni", "amx"};
  return names[static_cast<int>(isa)];
}

}  // namespace whittle
