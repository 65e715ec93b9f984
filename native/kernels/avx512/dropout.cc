#include "kernels/vector/dropout.h"

#include "kernels/avx512/floats.h"
#include "kernels/kernel_table.h"

namespace whittle::avx512 {

void add_dropout(KernelTable& table) {
  table.dropout = vector::dropout<Floats>;
}

}  // namespace whittle::avx512
