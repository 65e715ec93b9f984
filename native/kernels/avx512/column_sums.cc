#include "kernels/vector/column_sums.h"

#include "kernels/avx512/floats.h"
#include "kernels/kernel_table.h"

namespace whittle::avx512 {

void add_column_sums(KernelTable& table) {
  table.column_sums = vector::column_sums<Floats>;
}

}  // namespace whittle::avx512
