#include "kernels/vector/softmax_u8.h"

#include "kernels/avx512/floats.h"

namespace whittle::avx512 {

void add_softmax_u8(KernelTable& table) {
  table.softmax_u8 = vector::softmax_u8<Floats>;
}

}  // namespace whittle::avx512
