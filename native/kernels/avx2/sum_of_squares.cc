#include "kernels/vector/sum_of_squares.h"

#include "kernels/avx2/floats.h"
#include "kernels/kernel_table.h"

namespace whittle::avx2 {

void add_sum_of_squares(KernelTable& table) {
  table.sum_of_squares = vector::sum_of_squares<Floats>;
}

}  // namespace whittle::avx2
