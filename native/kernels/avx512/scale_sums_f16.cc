#include "kernels/vector/scale_sums_f16.h"

#include "kernels/avx512/floats.h"

namespace whittle::avx512 {

void add_scale_sums_f16(KernelTable& table) {
  table.scale_sums_f16 = vector::scale_sums_f16<Floats>;
}

}  // namespace whittle::avx512
