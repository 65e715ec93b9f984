#include "kernels/vector/moving_average.h"

#include "kernels/avx2/floats.h"
#include "kernels/kernel_table.h"

namespace whittle::avx2 {

void add_moving_average(KernelTable& table) {
  table.moving_average = vector::moving_average<Floats>;
}

}  // namespace whittle::avx2
