#include "kernels/vector/layer_norm.h"

#include "kernels/avx512/floats.h"
#include "kernels/kernel_table.h"

namespace whittle::avx512 {

void add_layer_norm(KernelTable& table) {
  table.layer_norm = vector::layer_norm<Floats>;
}

}  // namespace whittle::avx512
