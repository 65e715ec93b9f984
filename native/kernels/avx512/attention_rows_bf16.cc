#include "kernels/vector/attention_rows_bf16.h"
#include "kernels/avx512/floats.h"

namespace whittle::avx512 {

void add_attention_rows_bf16(KernelTable& table) {
  table.attention_rows_bf16_scratch = vector::attention_rows_bf16_scratch<Floats>;
  table.attention_rows_bf16 = vector::attention_rows_bf16<Floats>;
}

}  // namespace whittle::avx512
