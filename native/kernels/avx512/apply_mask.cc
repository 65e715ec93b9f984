#include "kernels/vector/apply_mask.h"

#include "kernels/avx512/floats.h"
#include "kernels/kernel_table.h"

namespace whittle::avx512 {

void add_apply_mask(KernelTable& table) {
  table.apply_mask = vector::apply_mask<Floats>;
}

}  // namespace whittle::avx512
