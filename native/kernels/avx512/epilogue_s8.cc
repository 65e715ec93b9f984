#include "kernels/avx512/epilogue.h"
#include "kernels/avx512/gelu_polynomial.h"

namespace whittle::avx512 {

namespace {

constexpr auto gelu = [](__m512 x) { return gelu_polynomial_ps(x); };

// Columns j .. j + 15 of one row of sums.
struct RowOfSums {
  const SumsS8& s;
  const int32_t* row;
  __m512 row_scale;
  __m512i offset;
  const float* bias;

  __m512 scaled(__m512i sum, int64_t j, __mmask16 mask) const {
    const __m512 biases = bias ? _mm512_maskz_loadu_ps(mask, bias + j) : _mm512_set1_ps(-0.0f);  // x + -0 is x
    return _mm512_fmadd_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(sum), row_scale),
                           _mm512_maskz_loadu_ps(mask, s.column_scales + j), biases);
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

// Into the second-level cache. A linear layer goes on with the next columns, which no prefetcher of the CPU knows of.
inline void fetch(const void* p) {
  _mm_prefetch(p, _MM_HINT_T1);
}

// Columns [j, j + 16 kVectors) of all rows: what belongs to columns stays in registers.
template <int kVectors, Activation act, bool with_offsets>
void finish_columns_of_rows(const SumsS8& s, int64_t j, int64_t rows, const float* bias, const float* residual,
                            int64_t residual_stride, float* y, int64_t y_stride) {
  __m512 scales[kVectors], biases[kVectors];
  __m512i column_sums[kVectors];
#pragma GCC unroll 4
  for (int v = 0; v < kVectors; ++v) {
    scales[v] = _mm512_loadu_ps(s.column_scales + j + v * 16);
    biases[v] = bias ? _mm512_loadu_ps(bias + j + v * 16) : _mm512_set1_ps(-0.0f);  // x + -0 is x
    if (with_offsets) column_sums[v] = _mm512_loadu_si512(s.column_sums + j + v * 16);
    fetch(s.column_scales + j + 16 * kVectors + v * 16);
    if (bias) fetch(bias + j + 16 * kVectors + v * 16);
    if (with_offsets) fetch(s.column_sums + j + 16 * kVectors + v * 16);
  }
  for (int64_t r = 0; r < rows; ++r) {
    const int32_t* from = s.sums + r * s.stride + j;
    float* to = y + r * y_stride + j;
    __m512i sums[kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) sums[v] = _mm512_loadu_si512(from + v * 16);
    if (with_offsets) {
      const __m512i offset = _mm512_set1_epi32(s.offsets[r]);
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v)
        sums[v] = _mm512_add_epi32(sums[v], _mm512_mullo_epi32(offset, column_sums[v]));
    } else if (s.outliers) {
      const RowOutliers& outliers = s.outliers[r];
      for (int i = 0; i < outliers.count; ++i) {
        const int8_t* column = s.columns + outliers.columns[i] * s.columns_stride + j;
        const __m512i value = outlier_value(outliers.values[i]);
        fetch(column + 16 * kVectors);
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v) {
          sums[v] = _mm512_add_epi32(sums[v], outlier_product(column, v * 16, 0xffff, value));
        }
      }
    }
    const __m512 row_scale = _mm512_set1_ps(s.row_scales[r]);
    __m512 x[kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      const __m512 of_row = _mm512_mul_ps(_mm512_cvtepi32_ps(sums[v]), row_scale);
      x[v] = activate<act>(_mm512_fmadd_ps(of_row, scales[v], biases[v]), gelu);
    }
    if (residual) {
      const float* added = residual + r * residual_stride + j;
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) x[v] = _mm512_add_ps(x[v], _mm512_loadu_ps(added + v * 16));
    }
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) _mm512_storeu_ps(to + v * 16, x[v]);
  }
}

template <int kVectors>
void finish_columns_of_rows(const SumsS8& s, int64_t j, int64_t rows, const float* bias, Activation act,
                            const float* residual, int64_t residual_stride, float* y, int64_t y_stride) {
  const auto finish = [&]<Activation kAct>() {
    const auto kernel =
        s.offsets ? finish_columns_of_rows<kVectors, kAct, true> : finish_columns_of_rows<kVectors, kAct, false>;
    kernel(s, j, rows, bias, residual, residual_stride, y, y_stride);
  };
  if (act == Activation::gelu) {
    finish.template operator()<Activation::gelu>();
  } else if (act == Activation::tanh) {
    finish.template operator()<Activation::tanh>();
  } else {
    finish.template operator()<Activation::none>();
  }
}

void finish_narrow(const SumsS8& s, int64_t rows, int64_t cols, const float* bias, Activation act,
                   const float* residual, int64_t residual_stride, float* y, int64_t y_stride) {
  for (int64_t r = 0; r < rows; ++r) {
    const RowOfSums sums{s, s.sums + r * s.stride, _mm512_set1_ps(s.row_scales[r]),
                         _mm512_set1_epi32(s.offsets ? s.offsets[r] : 0), bias};
    const float* added = residual ? residual + r * residual_stride : nullptr;
    float* out = y + r * y_stride;
    const int count = s.outliers ? s.outliers[r].count : 0;
    const auto column = [&](int i) { return s.columns + s.outliers[r].columns[i] * s.columns_stride; };
    if (s.offsets) {
      finish_row(
          act, cols, added, out,
          [&](int64_t j, __mmask16 mask) { return sums.scaled(sums.with_offset(j, mask), j, mask); }, gelu);
    } else if (count == 0) {
      finish_row(
          act, cols, added, out, [&](int64_t j, __mmask16 mask) { return sums.scaled(sums.at(j, mask), j, mask); },
          gelu);
    } else if (count <= 2) {  // most rows after LayerNorm
      const int8_t *first = column(0), *second = column(count - 1);
      const __m512i first_value = outlier_value(s.outliers[r].values[0]);
      const __m512i second_value = outlier_value(count == 2 ? s.outliers[r].values[1] : 0);
      finish_row(
          act, cols, added, out,
          [&](int64_t j, __mmask16 mask) {
            const __m512i more = _mm512_add_epi32(outlier_product(first, j, mask, first_value),
                                                  outlier_product(second, j, mask, second_value));
            return sums.scaled(_mm512_add_epi32(sums.at(j, mask), more), j, mask);
          },
          gelu);
    } else {
      finish_row(
          act, cols, added, out,
          [&](int64_t j, __mmask16 mask) {
            __m512i sum = sums.at(j, mask);
            for (int i = 0; i < count; ++i)
              sum = _mm512_add_epi32(sum, outlier_product(column(i), j, mask, outlier_value(s.outliers[r].values[i])));
            return sums.scaled(sum, j, mask);
          },
          gelu);
    }
  }
}

void epilogue_s8(const SumsS8& s, int64_t rows, int64_t cols, const float* bias, Activation act, const float* residual,
                 int64_t residual_stride, float* y, int64_t y_stride) {
  const auto finish = [&]<int kVectors>(int64_t j) {
    finish_columns_of_rows<kVectors>(s, j, rows, bias, act, residual, residual_stride, y, y_stride);
  };
  int64_t j = 0;
  for (; j + 64 <= cols; j += 64) finish.template operator()<4>(j);
  for (; j + 32 <= cols; j += 32) finish.template operator()<2>(j);
  if (j == cols) return;
  SumsS8 rest = s;
  rest.sums += j;
  rest.column_scales += j;
  if (s.offsets) rest.column_sums += j;
  if (s.outliers) rest.columns += j;
  finish_narrow(rest, rows, cols - j, bias ? bias + j : nullptr, act, residual ? residual + j : nullptr,
                residual_stride, y + j, y_stride);
}

}  // namespace

void add_epilogue_s8(KernelTable& table) {
  table.epilogue_s8 = epilogue_s8;
}

}  // namespace whittle::avx512
