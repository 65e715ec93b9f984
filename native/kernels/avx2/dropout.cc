#include "kernels/vector/dropout.h"

#include "kernels/avx2/floats.h"
#include "kernels/kernel_table.h"

namespace whittle::avx2 {

void add_dropout(KernelTable& table) {
  table.dropout = vector::dropout<Floats>;
}

}  // namespace whittle::avx2
