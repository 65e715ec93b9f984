#include "kernels/vector/layer_norm_u8.h"

#include "kernels/avx2/floats.h"
#include "kernels/avx2/quantize_row_u8.h"

namespace whittle::avx2 {

void add_layer_norm_u8(KernelTable& table) {
  table.layer_norm_u8 = vector::layer_norm_u8<Floats, quantize_row_u8>;
}

}  // namespace whittle::avx2
