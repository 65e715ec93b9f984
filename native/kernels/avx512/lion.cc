#include "kernels/vector/lion.h"

#include "kernels/avx512/floats.h"
#include "kernels/kernel_table.h"

namespace whittle::avx512 {

void add_lion(KernelTable& table) {
  table.lion = vector::lion<Floats>;
}

}  // namespace whittle::avx512
