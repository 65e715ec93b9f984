#include "kernels/vector/adamw.h"

#include "kernels/avx2/floats.h"
#include "kernels/kernel_table.h"

namespace whittle::avx2 {

void add_adamw(KernelTable& table) {
  table.adamw = vector::adamw<Floats>;
}

}  // namespace whittle::avx2
