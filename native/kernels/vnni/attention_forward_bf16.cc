#include "kernels/kernel_table.h"
#include "kernels/vector/attention.h"
#include "kernels/vnni/bf16_rows.h"

namespace whittle::vnni {

namespace {

using avx512::Floats;

constexpr int64_t kRows = 2 * Bf16Pairs::tile_rows;  // queries whose scores are held at once

int64_t attention_forward_bf16_scratch(int64_t length, int64_t head_size) {
  const int64_t columns = vector::whole_vectors<Floats>(length), size = vector::whole_vectors<Floats>(head_size);
  return length * whole_pairs(head_size) + whole_pairs(head_size) * columns + (length + 1) / 2 * size +
         kRows * (columns + whole_pairs(length) + whole_pairs(head_size) + size + 1);
}

// pairs [whole_pairs(length)]: the exponentials of a row of scores, rounded, 0 beyond length and where `bits` (null:
// all set) are not set. Returns the sum of all before rounding, those not kept too.
float exponential_pairs(const float* scores, int64_t length, const vector::Exponent<Floats>& exponent,
                        const uint8_t* bits, float* pairs) {
  __m512 sum = _mm512_setzero_ps();
  const auto part = [&](int64_t j) {
    const __mmask16 mask = first_16_of(length - j);
    if (mask == 0) return _mm512_setzero_ps();
    const __m512 value = _mm512_maskz_mov_ps(mask, exponent(_mm512_loadu_ps(scores + j)));
    sum = _mm512_add_ps(sum, value);
    return bits ? Floats::keep(bits + j / 8, value) : value;
  };
  for (int64_t j = 0; j < length; j += 32) {
    const __m512 first = part(j), second = part(j + 16);
    _mm512_storeu_si512(pairs + j / 2, (__m512i)_mm512_cvtne2ps_pbh(second, first));
  }
  return Floats::sum(sum);
}

void attention_forward_bf16(const bf16* q, const bf16* k, const bf16* v, int64_t stride, int64_t length,
                            int64_t head_size, float scale, const ScoreBias* bias, float* scratch, bf16* out,
                            int64_t out_stride, float* softmax, const KeepMask* keep) {
  const int64_t columns = vector::whole_vectors<Floats>(length), size = vector::whole_vectors<Floats>(head_size);
  const int64_t head_pairs = whole_pairs(head_size), row_pairs = whole_pairs(length);
  float* key_rows = scratch;                          // [length, head_pairs]
  float* keys = key_rows + length * head_pairs;       // [head_pairs, columns]
  float* values = keys + head_pairs * columns;        // [ceil(length / 2), size]
  float* queries = values + (length + 1) / 2 * size;  // [kRows, head_pairs]
  float* scores = queries + kRows * head_pairs;       // [kRows, columns]
  float* probabilities = scores + kRows * columns;    // [kRows, row_pairs]
  float* block = probabilities + kRows * row_pairs;   // [kRows, size]
  float* factors = block + kRows * size;              // [kRows]
  copy_pairs(k, stride, length, head_size, key_rows);
  vector::transpose_padded<Floats>(key_rows, head_pairs, length, head_pairs, keys);
  interleave_rows(v, stride, length, head_size, values);
  for (int64_t begin = 0; begin < length; begin += kRows) {
    const int64_t rows = length - begin < kRows ? length - begin : kRows;
    copy_pairs(q + begin * stride, stride, rows, head_size, queries);
    vector::small_product<Bf16Pairs>(queries, head_pairs, 1, rows, keys, columns, columns, (head_size + 1) / 2, scores,
                                     columns, false);
    for (int64_t r = 0; r < rows; ++r) {
      float* row = scores + r * columns;
      const float* row_bias = bias ? bias->data + (begin + r) * bias->stride : nullptr;
      const auto exponent = vector::exponent<Floats>(row, length, scale, row_bias);
      const float sum =
          exponential_pairs(row, length, exponent, keep ? keep->bits + (begin + r) * keep->stride : nullptr,
                            probabilities + r * row_pairs);
      softmax[begin + r] = exponent.highest;
      softmax[length + begin + r] = 1 / sum;
      factors[r] = (keep ? keep->scale : 1) / sum;
    }
    vector::small_product<Bf16Pairs>(probabilities, row_pairs, 1, rows, values, size, size, (length + 1) / 2, block,
                                     size, false);
    round_rows(block, rows, head_size, factors, out + begin * out_stride, out_stride);
  }
}

}  // namespace

void add_attention_forward_bf16(KernelTable& table) {
  table.attention_forward_bf16_scratch = attention_forward_bf16_scratch;
  table.attention_forward_bf16 = attention_forward_bf16;
}

}  // namespace whittle::vnni
