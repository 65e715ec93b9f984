#include "kernels/vector/scale_sums_f16.h"

#include "kernels/avx2/floats.h"

namespace whittle::avx2 {

void add_scale_sums_f16(KernelTable& table) {
  table.scale_sums_f16 = vector::scale_sums_f16<Floats>;
}

}  // namespace whittle::avx2
