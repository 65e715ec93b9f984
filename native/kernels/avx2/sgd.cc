#include "kernels/vector/sgd.h"

#include "kernels/avx2/floats.h"
#include "kernels/kernel_table.h"

namespace whittle::avx2 {

void add_sgd(KernelTable& table) {
  table.sgd = vector::sgd<Floats>;
}

}  // namespace whittle::avx2
