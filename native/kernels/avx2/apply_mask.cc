#include "kernels/vector/apply_mask.h"

#include "kernels/avx2/floats.h"
#include "kernels/kernel_table.h"

namespace whittle::avx2 {

void add_apply_mask(KernelTable& table) {
  table.apply_mask = vector::apply_mask<Floats>;
}

}  // namespace whittle::avx2
