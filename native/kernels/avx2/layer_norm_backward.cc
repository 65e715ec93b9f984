#include "kernels/vector/layer_norm_backward.h"

#include "kernels/avx2/floats.h"
#include "kernels/kernel_table.h"

namespace whittle::avx2 {

void add_layer_norm_backward(KernelTable& table) {
  table.layer_norm_backward = vector::layer_norm_backward<Floats>;
}

}  // namespace whittle::avx2
