#include "kernels/vector/softmax.h"

#include "kernels/avx512/floats.h"
#include "kernels/kernel_table.h"

namespace whittle::avx512 {

void add_softmax(KernelTable& table) {
  table.softmax = vector::softmax<Floats>;
}

}  // namespace whittle::avx512
