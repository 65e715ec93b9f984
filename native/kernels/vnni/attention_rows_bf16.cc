// Attention for inference: bf16 in, dpbf16ps products, float32 softmax in base 2.
#include <limits>

#include "kernels/kernel_table.h"
#include "kernels/vector/attention.h"
#include "kernels/vnni/bf16_pairs.h"

namespace whittle::vnni {

namespace {

using avx512::Floats;

constexpr int64_t kRows = Bf16Pairs::tile_rows;  // queries whose scores are held at once
constexpr float kLog2E = 1.44269504088896341f;

// What lies where in the scratch memory; pairs of bf16 count as floats.
struct Layout {
  int64_t columns, size, head_pairs, row_pairs;
  Layout(int64_t length, int64_t head_size)
      : columns(vector::whole_vectors<Floats>(length)),
        size(vector::whole_vectors<Floats>(head_size)),
        head_pairs((head_size + 1) / 2),
        row_pairs(whole_pairs(length)) {}
  int64_t keys() const { return head_pairs * columns; }                     // [head_pairs, columns]
  int64_t values(int64_t length) const { return (length + 1) / 2 * size; }  // [ceil(length / 2), size]
  int64_t block() const { return kRows * (columns + row_pairs + size); }
};

int64_t attention_rows_bf16_scratch(int64_t length, int64_t head_size) {
  const Layout layout(length, head_size);
  return layout.keys() + layout.values(length) + layout.block();
}

// The lanes of 32 below `count`, which may be negative or above 32.
inline __mmask32 first_32_of(int64_t count) {
  return count >= 32 ? ~__mmask32{0} : count > 0 ? (__mmask32{1} << count) - 1 : 0;
}

// keys [head_pairs, columns]: pair p of row j of k at [p, j], zeros beyond length and head_size.
void transpose_keys(const bf16* k, int64_t stride, int64_t length, int64_t head_size, const Layout& layout,
                    float* keys) {
  for (int64_t j = 0; j < length; j += 16) {
    for (int64_t p = 0; p < layout.head_pairs; p += 16) {
      const __mmask32 mask = first_32_of(head_size - 2 * p);
      __m512 t[16];
#pragma GCC unroll 16
      for (int r = 0; r < 16; ++r) {
        t[r] = j + r < length ? _mm512_castsi512_ps(_mm512_maskz_loadu_epi16(mask, k + (j + r) * stride + 2 * p))
                              : _mm512_setzero_ps();
      }
      avx512::transpose_16x16(t);
      float* to = keys + p * layout.columns + j;
#pragma GCC unroll 16
      for (int i = 0; i < 16; ++i) {
        if (p + i < layout.head_pairs) _mm512_storeu_ps(to + i * layout.columns, t[i]);
      }
    }
  }
}

// values [ceil(length / 2), size]: rows 2 r and 2 r + 1 of v as pairs, zeros beyond length and head_size.
void pair_values(const bf16* v, int64_t stride, int64_t length, int64_t head_size, const Layout& layout,
                 float* values) {
  const __m512i low = _mm512_set_epi16(47, 15, 46, 14, 45, 13, 44, 12, 43, 11, 42, 10, 41, 9, 40, 8, 39, 7, 38, 6, 37,
                                       5, 36, 4, 35, 3, 34, 2, 33, 1, 32, 0);
  const __m512i high = _mm512_add_epi16(low, _mm512_set1_epi16(16));
  for (int64_t r = 0; r < length; r += 2) {
    for (int64_t c = 0; c < layout.size; c += 32) {
      const __mmask32 mask = first_32_of(head_size - c);
      const bf16* row = v + r * stride + c;
      const __m512i even = _mm512_maskz_loadu_epi16(mask, row);
      const __m512i odd = r + 1 < length ? _mm512_maskz_loadu_epi16(mask, row + stride) : _mm512_setzero_si512();
      float* to = values + r / 2 * layout.size + c;
      _mm512_storeu_si512(to, _mm512_permutex2var_epi16(even, low, odd));
      if (c + 16 < layout.size) _mm512_storeu_si512(to + 16, _mm512_permutex2var_epi16(even, high, odd));
    }
  }
}

// scores [columns] * scale + bias, in place.
void add_bias(float* scores, int64_t length, float scale, const float* bias) {
  for (int64_t j = 0; j < length; j += 16) {
    const __m512 sum = _mm512_fmadd_ps(_mm512_loadu_ps(scores + j), _mm512_set1_ps(scale),
                                       _mm512_maskz_loadu_ps(first_16_of(length - j), bias + j));
    _mm512_storeu_ps(scores + j, sum);
  }
}

// The lanes that exist of the last 16 scores of a row.
inline __mmask16 last_lanes(int64_t length, int64_t columns) {
  return first_16_of(length - (columns - 16));
}

float highest_score(const float* scores, int64_t length, int64_t columns) {
  const __m512 lowest = _mm512_set1_ps(-std::numeric_limits<float>::infinity());
  const __mmask16 rest = last_lanes(length, columns);
  __m512 top = _mm512_mask_loadu_ps(lowest, rest, scores + columns - 16), second = top;
  int64_t j = 0;
  for (; j + 32 < columns; j += 32) {
    top = _mm512_max_ps(top, _mm512_loadu_ps(scores + j));
    second = _mm512_max_ps(second, _mm512_loadu_ps(scores + j + 16));
  }
  if (j + 16 < columns) top = _mm512_max_ps(top, _mm512_loadu_ps(scores + j));
  return _mm512_reduce_max_ps(_mm512_max_ps(top, second));
}

// pairs [row_pairs]: 2^(factor * (score - highest)) of one row of scores [columns], rounded to bf16, 0 beyond length.
// Returns 1 / the sum of all before rounding.
float exponentials(const float* scores, int64_t length, int64_t columns, float factor, float highest, float* pairs) {
  const __mmask16 rest = last_lanes(length, columns);
  const __m512 scale = _mm512_set1_ps(factor), shift = _mm512_set1_ps(highest * factor);
  const auto part = [&](int64_t at) {
    return avx512::power_of_two_ps(_mm512_fmsub_ps(_mm512_loadu_ps(scores + at), scale, shift));
  };
  __m512 sum = _mm512_setzero_ps(), sum2 = sum;
  int64_t j = 0;
  for (; j + 32 < columns; j += 32) {
    const __m512 first = part(j), next = part(j + 16);
    sum = _mm512_add_ps(sum, first);
    sum2 = _mm512_add_ps(sum2, next);
    _mm512_storeu_si512(pairs + j / 2, (__m512i)_mm512_cvtne2ps_pbh(next, first));
  }
  const bool two = j + 16 < columns;
  const __m512 first = two ? part(j) : _mm512_maskz_mov_ps(rest, part(j));
  const __m512 next = two ? _mm512_maskz_mov_ps(rest, part(j + 16)) : _mm512_setzero_ps();
  _mm512_storeu_si512(pairs + j / 2, (__m512i)_mm512_cvtne2ps_pbh(next, first));
  sum = _mm512_add_ps(_mm512_add_ps(sum, first), _mm512_add_ps(sum2, next));
  return 1 / _mm512_reduce_add_ps(sum);
}

void attention_rows_bf16(const bf16* q, const bf16* k, const bf16* v, int64_t stride, int64_t queries, int64_t length,
                         int64_t head_size, float scale, const ScoreBias* bias, float* scratch, float* out,
                         int64_t out_stride) {
  const Layout layout(length, head_size);
  const int64_t columns = layout.columns, size = layout.size, row_pairs = layout.row_pairs;
  float* keys = scratch;
  float* values = keys + layout.keys();
  float* scores = values + layout.values(length);    // [kRows, columns]
  float* probabilities = scores + kRows * columns;   // [kRows, row_pairs]
  float* block = probabilities + kRows * row_pairs;  // [kRows, size]
  transpose_keys(k, stride, length, head_size, layout, keys);
  pair_values(v, stride, length, head_size, layout, values);
  const float factor = bias ? kLog2E : scale * kLog2E;
  const int64_t blocks = (queries + kRows - 1) / kRows;
  for (int64_t b = 0; b < blocks; ++b) {
    const int64_t begin = queries * b / blocks, rows = queries * (b + 1) / blocks - begin;
    // Rows of q seen as pairs: stride is even.
    vector::small_product<Bf16Pairs>(reinterpret_cast<const float*>(q + begin * stride), stride / 2, 1, rows, keys,
                                     columns, columns, layout.head_pairs, scores, columns, false);
    // All maxima first: exponentials would wait for that of their row.
    float highest[kRows], factors[kRows];
    for (int64_t r = 0; r < rows; ++r) {
      if (bias) add_bias(scores + r * columns, length, scale, bias->data + (begin + r) * bias->stride);
      highest[r] = highest_score(scores + r * columns, length, columns);
    }
    for (int64_t r = 0; r < rows; ++r) {
      factors[r] =
          exponentials(scores + r * columns, length, columns, factor, highest[r], probabilities + r * row_pairs);
    }
    vector::small_product<Bf16Pairs>(probabilities, row_pairs, 1, rows, values, size, size, (length + 1) / 2, block,
                                     size, false);
    vector::copy_unpadded<Floats>(block, rows, head_size, factors, out + begin * out_stride, out_stride);
  }
}

}  // namespace

void add_attention_rows_bf16(KernelTable& table) {
  table.attention_rows_bf16_scratch = attention_rows_bf16_scratch;
  table.attention_rows_bf16 = attention_rows_bf16;
}

}  // namespace whittle::vnni
