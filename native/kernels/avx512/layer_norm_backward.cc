#include "kernels/vector/layer_norm_backward.h"

#include "kernels/avx512/floats.h"
#include "kernels/kernel_table.h"

namespace whittle::avx512 {

void add_layer_norm_backward(KernelTable& table) {
  table.layer_norm_backward = vector::layer_norm_backward<Floats>;
}

}  // namespace whittle::avx512
