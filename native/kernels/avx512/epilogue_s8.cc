#include "kernels/avx512/epilogue.h"

namespace whittle::avx512 {

namespace {

// Columns j .. j + 15 of one row of sums.
struct RowOfSums {
  const SumsS8& s;
  const int32_t* row;
  __m512 row_scale;
  __m512i offset;

  __m512 scaled(__m512i sum, int64_t j, __mmask16 mask) const {
    return _mm512_mul_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(sum), row_scale),
                         _mm512_maskz_loadu_ps(mask, s.column_scales + j));
  }
  __m512i at(int64_t j, __mmask16 mask) const { return _mm512_maskz_loadu_epi32(mask, row + j); }
  __m512i with_offset(int64_t j, __mmask16 mask) const {
    return _mm512_add_epi32(at(j, mask), _mm512_mullo_epi32(offset, _mm512_maskz_loadu_epi32(mask, s.column_sums + j)));
  }
};

// One column of weights, widened, times the outlier that meets it: both fit int16, and the upper half of `value` is 0.
inline __m512i outlier_product(const int8_t* column, int64_t j, __mmask16 mask, __m512i value) {
  const __m128i weights = mask == 0xffff ? _mm_loadu_si128(reinterpret_cast<const __m128i*>(column + j))
                                         : _mm_maskz_loadu_epi8(mask, column + j);
  return _mm512_madd_epi16(_mm512_cvtepi8_epi32(weights), value);
}
inline __m512i outlier_value(int32_t value) {
  return _mm512_set1_epi32(value & 0xffff);
}

void epilogue_s8(const SumsS8& s, int64_t rows, int64_t cols, const float* bias, Activation act, const float* residual,
                 int64_t residual_stride, float* y, int64_t y_stride) {
  for (int64_t r = 0; r < rows; ++r) {
    const RowOfSums sums{s, s.sums + r * s.stride, _mm512_set1_ps(s.row_scales[r]),
                         _mm512_set1_epi32(s.offsets ? s.offsets[r] : 0)};
    const float* added = residual ? residual + r * residual_stride : nullptr;
    float* out = y + r * y_stride;
    const int count = s.outliers ? s.outliers[r].count : 0;
    const auto column = [&](int i) { return s.columns + s.outliers[r].columns[i] * s.columns_stride; };
    if (s.offsets) {
      finish_row(act, cols, bias, added, out,
                 [&](int64_t j, __mmask16 mask) { return sums.scaled(sums.with_offset(j, mask), j, mask); });
    } else if (count == 0) {
      finish_row(act, cols, bias, added, out,
                 [&](int64_t j, __mmask16 mask) { return sums.scaled(sums.at(j, mask), j, mask); });
    } else if (count <= 2) {  // most rows after LayerNorm
      const int8_t *first = column(0), *second = column(count - 1);
      const __m512i first_value = outlier_value(s.outliers[r].values[0]);
      const __m512i second_value = outlier_value(count == 2 ? s.outliers[r].values[1] : 0);
      finish_row(act, cols, bias, added, out, [&](int64_t j, __mmask16 mask) {
        const __m512i more = _mm512_add_epi32(outlier_product(first, j, mask, first_value),
                                              outlier_product(second, j, mask, second_value));
        return sums.scaled(_mm512_add_epi32(sums.at(j, mask), more), j, mask);
      });
    } else {
      finish_row(act, cols, bias, added, out, [&](int64_t j, __mmask16 mask) {
        __m512i sum = sums.at(j, mask);
        for (int i = 0; i < count; ++i) {
          sum = _mm512_add_epi32(sum, outlier_product(column(i), j, mask, outlier_value(s.outliers[r].values[i])));
        }
        return sums.scaled(sum, j, mask);
      });
    }
  }
}

}  // namespace

void add_epilogue_s8(KernelTable& table) {
  table.epilogue_s8 = epilogue_s8;
}

}  // namespace whittle::avx512
