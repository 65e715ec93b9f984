#include "kernels/vector/sgd.h"

#include "kernels/avx512/floats.h"
#include "kernels/kernel_table.h"

namespace whittle::avx512 {

void add_sgd(KernelTable& table) {
  table.sgd = vector::sgd<Floats>;
}

}  // namespace whittle::avx512
