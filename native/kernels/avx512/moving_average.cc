#include "kernels/vector/moving_average.h"

#include "kernels/avx512/floats.h"
#include "kernels/kernel_table.h"

namespace whittle::avx512 {

void add_moving_average(KernelTable& table) {
  table.moving_average = vector::moving_average<Floats>;
}

}  // namespace whittle::avx512
