#include "kernels/vector/gelu.h"

#include "kernels/avx512/floats.h"
#include "kernels/kernel_table.h"

namespace whittle::avx512 {

void add_gelu(KernelTable& table) {
  table.gelu = vector::gelu<Floats>;
}

}  // namespace whittle::avx512
