#include "kernels/vector/gelu.h"

#include "kernels/avx2/floats.h"
#include "kernels/kernel_table.h"

namespace whittle::avx2 {

void add_gelu(KernelTable& table) {
  table.gelu = vector::gelu<Floats>;
}

}  // namespace whittle::avx2
