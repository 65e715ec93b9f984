#include "kernels/vector/layer_norm.h"

#include "kernels/avx2/floats.h"
#include "kernels/kernel_table.h"

namespace whittle::avx2 {

void add_layer_norm(KernelTable& table) {
  table.layer_norm = vector::layer_norm<Floats>;
}

}  // namespace whittle::avx2
