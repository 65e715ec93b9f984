#include "kernels/vector/attention_backward.h"

#include "kernels/avx512/floats.h"
#include "kernels/kernel_table.h"

namespace whittle::avx512 {

void add_attention_backward(KernelTable& table) {
  table.attention_backward_scratch = vector::attention_backward_scratch<Floats>;
  table.attention_backward = vector::attention_backward<Floats>;
}

}  // namespace whittle::avx512
