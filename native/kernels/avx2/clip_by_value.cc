#include "kernels/vector/clip_by_value.h"

#include "kernels/avx2/floats.h"
#include "kernels/kernel_table.h"

namespace whittle::avx2 {

void add_clip_by_value(KernelTable& table) {
  table.clip_by_value = vector::clip_by_value<Floats>;
}

}  // namespace whittle::avx2
