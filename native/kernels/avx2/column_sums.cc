#include "kernels/vector/column_sums.h"

#include "kernels/avx2/floats.h"
#include "kernels/kernel_table.h"

namespace whittle::avx2 {

void add_column_sums(KernelTable& table) {
  table.column_sums = vector::column_sums<Floats>;
}

}  // namespace whittle::avx2
