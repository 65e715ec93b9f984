#include "kernels/vector/square_sums.h"

#include "kernels/avx512/floats.h"
#include "kernels/kernel_table.h"

namespace whittle::avx512 {

void add_square_sums(KernelTable& table) {
  table.square_sums = vector::square_sums<Floats>;
}

}  // namespace whittle::avx512
