#include "kernels/vector/softmax.h"

#include "kernels/avx2/floats.h"
#include "kernels/kernel_table.h"

namespace whittle::avx2 {

void add_softmax(KernelTable& table) {
  table.softmax = vector::softmax<Floats>;
}

}  // namespace whittle::avx2
