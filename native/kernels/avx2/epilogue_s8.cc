#include "kernels/avx2/epilogue.h"
#include "kernels/avx2/gelu_polynomial.h"

namespace whittle::avx2 {

namespace {

// One row of int32 sums times its scale and the columns' scales, plus the bias. Fixes: none, the row's zero point, or
// its outliers.
enum class Fix { none, offset, outliers };

template <Fix fix>
struct ScaledSums {
  const SumsS8& s;
  int64_t r;
  __m256 row_scale;
  const float* bias;

  __m256 whole(int64_t j) const {
    __m256i sums = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(s.sums + r * s.stride + j));
    if constexpr (fix == Fix::offset) {
      const __m256i columns = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(s.column_sums + j));
      sums = _mm256_add_epi32(sums, _mm256_mullo_epi32(_mm256_set1_epi32(s.offsets[r]), columns));
    }
    if constexpr (fix == Fix::outliers) {
      const RowOutliers& o = s.outliers[r];
      for (int i = 0; i < o.count; ++i) {
        const int8_t* column = s.columns + o.columns[i] * s.columns_stride + j;
        const __m256i wide = _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(column)));
        // Both factors fit int16, and the upper half of the second is 0.
        sums = _mm256_add_epi32(sums, _mm256_madd_epi16(wide, _mm256_set1_epi32(o.values[i] & 0xffff)));
      }
    }
    return scaled(sums, _mm256_loadu_ps(s.column_scales + j), bias ? _mm256_loadu_ps(bias + j) : no_bias());
  }
  __m256 part(int64_t j, __m256i mask) const {
    __m256i sums = _mm256_maskload_epi32(s.sums + r * s.stride + j, mask);
    if constexpr (fix != Fix::none) {
      alignas(32) int32_t lanes[8], present[8];
      _mm256_store_si256(reinterpret_cast<__m256i*>(lanes), sums);
      _mm256_store_si256(reinterpret_cast<__m256i*>(present), mask);
      for (int lane = 0; lane < 8 && present[lane]; ++lane) {
        if constexpr (fix == Fix::offset) lanes[lane] += s.offsets[r] * s.column_sums[j + lane];
        if constexpr (fix == Fix::outliers) {
          const RowOutliers& o = s.outliers[r];
          for (int i = 0; i < o.count; ++i)
            lanes[lane] += o.values[i] * s.columns[o.columns[i] * s.columns_stride + j + lane];
        }
      }
      sums = _mm256_load_si256(reinterpret_cast<const __m256i*>(lanes));
    }
    return scaled(sums, _mm256_maskload_ps(s.column_scales + j, mask),
                  bias ? _mm256_maskload_ps(bias + j, mask) : no_bias());
  }
  __m256 scaled(__m256i sums, __m256 scales, __m256 biases) const {
    return _mm256_fmadd_ps(_mm256_mul_ps(_mm256_cvtepi32_ps(sums), row_scale), scales, biases);
  }
  static __m256 no_bias() { return _mm256_set1_ps(-0.0f); }  // x + -0 is x
};

void epilogue_s8(const SumsS8& s, int64_t rows, int64_t cols, const float* bias, Activation act, const float* residual,
                 int64_t residual_stride, float* y, int64_t y_stride) {
  const auto gelu = [](__m256 x) { return gelu_polynomial_ps(x); };
  for (int64_t r = 0; r < rows; ++r) {
    const __m256 row_scale = _mm256_set1_ps(s.row_scales[r]);
    const float* added = residual ? residual + r * residual_stride : nullptr;
    float* out = y + r * y_stride;
    if (s.offsets) {
      finish_row(act, cols, added, out, ScaledSums<Fix::offset>{s, r, row_scale, bias}, gelu);
    } else if (s.outliers && s.outliers[r].count > 0) {
      finish_row(act, cols, added, out, ScaledSums<Fix::outliers>{s, r, row_scale, bias}, gelu);
    } else {
      finish_row(act, cols, added, out, ScaledSums<Fix::none>{s, r, row_scale, bias}, gelu);
    }
  }
}

}  // namespace

void add_epilogue_s8(KernelTable& table) {
  table.epilogue_s8 = epilogue_s8;
}

}  // namespace whittle::avx2
