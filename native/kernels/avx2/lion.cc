#include "kernels/vector/lion.h"

#include "kernels/avx2/floats.h"
#include "kernels/kernel_table.h"

namespace whittle::avx2 {

void add_lion(KernelTable& table) {
  table.lion = vector::lion<Floats>;
}

}  // namespace whittle::avx2
