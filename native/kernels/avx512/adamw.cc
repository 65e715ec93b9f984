#include "kernels/vector/adamw.h"

#include "kernels/avx512/floats.h"
#include "kernels/kernel_table.h"

namespace whittle::avx512 {

void add_adamw(KernelTable& table) {
  table.adamw = vector::adamw<Floats>;
}

}  // namespace whittle::avx512
