#include "kernels/kernel_table.h"
#include "kernels/vnni/bf16_rows.h"

namespace whittle::vnni {

namespace {

void epilogue_bf16(const float* c, int64_t c_stride, int64_t rows, int64_t cols, const float* bias, bf16* y,
                   bf16* activated, int64_t y_stride) {
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t j = 0; j < padded_k(cols); j += 16) {
      const __mmask16 mask = first_16_of(cols - j);
      const __m512 sum =
          _mm512_add_ps(_mm512_maskz_loadu_ps(mask, c + r * c_stride + j), _mm512_maskz_loadu_ps(mask, bias + j));
      bf16* out = y + r * y_stride + j;
      store_rounded(out, 16, sum);
      if (activated) store_rounded(activated + r * y_stride + j, 16, avx512::gelu_ps(load_16_as_floats(out)));
    }
  }
}

}  // namespace

void add_epilogue_bf16(KernelTable& table) {
  table.epilogue_bf16 = epilogue_bf16;
}

}  // namespace whittle::vnni
