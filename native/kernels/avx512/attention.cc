#include "kernels/vector/attention.h"

#include "kernels/avx512/floats.h"
#include "kernels/kernel_table.h"

namespace whittle::avx512 {

void add_attention(KernelTable& table) {
  table.attention_scratch = vector::attention_scratch<Floats>;
  table.attention = vector::attention<Floats>;
}

}  // namespace whittle::avx512
