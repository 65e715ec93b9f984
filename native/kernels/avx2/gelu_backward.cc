#include "kernels/vector/gelu_backward.h"

#include "kernels/avx2/floats.h"
#include "kernels/kernel_table.h"

namespace whittle::avx2 {

void add_gelu_backward(KernelTable& table) {
  table.gelu_backward = vector::gelu_backward<Floats>;
}

}  // namespace whittle::avx2
