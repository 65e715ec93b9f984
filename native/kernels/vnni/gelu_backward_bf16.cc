#include "kernels/kernel_table.h"
#include "kernels/vnni/bf16_rows.h"

namespace whittle::vnni {

namespace {

void gelu_backward_bf16(const bf16* x, int64_t x_stride, const float* dy, int64_t dy_stride, int64_t rows, int64_t cols,
                        bf16* dx, bf16* activated, float* sums) {
  for (int64_t c = 0; c < padded_k(cols); c += 16) {
    const __mmask16 mask = first_16_of(cols - c);
    __m512 sum = _mm512_maskz_loadu_ps(mask, sums + c);
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t at = r * x_stride + c;
      const __m512 value = load_16_as_floats(x + at), gradient = _mm512_maskz_loadu_ps(mask, dy + r * dy_stride + c);
      const __m512 cdf = avx512::normal_cdf_ps(value);
      const __m512 density = avx512::exp_ps(_mm512_mul_ps(_mm512_mul_ps(value, value), _mm512_set1_ps(-0.5f)));
      const __m512 slope =
          _mm512_fmadd_ps(_mm512_mul_ps(value, _mm512_set1_ps(0.39894228040143267794f)), density, cdf);
      const __m512 result = _mm512_mul_ps(gradient, slope);
      sum = _mm512_add_ps(sum, result);
      store_rounded(dx + at, 16, result);
      if (activated) store_rounded(activated + at, 16, _mm512_mul_ps(value, cdf));
    }
    _mm512_mask_storeu_ps(sums + c, mask, sum);
  }
}

}  // namespace

void add_gelu_backward_bf16(KernelTable& table) {
  table.gelu_backward_bf16 = gelu_backward_bf16;
}

}  // namespace whittle::vnni
