#include "kernels/vector/attention_rows_bf16.h"
#include "kernels/avx2/floats.h"

namespace whittle::avx2 {

void add_attention_rows_bf16(KernelTable& table) {
  table.attention_rows_bf16_scratch = vector::attention_rows_bf16_scratch<Floats>;
  table.attention_rows_bf16 = vector::attention_rows_bf16<Floats>;
}

}  // namespace whittle::avx2
