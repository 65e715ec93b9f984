#include "kernels/vector/gelu_backward.h"

#include "kernels/avx512/floats.h"
#include "kernels/kernel_table.h"

namespace whittle::avx512 {

void add_gelu_backward(KernelTable& table) {
  table.gelu_backward = vector::gelu_backward<Floats>;
}

}  // namespace whittle::avx512
