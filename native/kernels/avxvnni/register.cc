#include "kernels/kernel_table.h"

namespace whittle {

void register_avxvnni(KernelTable&) {}

}  // namespace whittle
