#include "kernels/kernel_table.h"

namespace whittle {

void register_avx512(KernelTable&) {}

}  // namespace whittle
