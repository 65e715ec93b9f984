#include "kernels/kernel_table.h"
#include "kernels/vector/attention.h"
#include "kernels/vnni/bf16_rows.h"

namespace whittle::vnni {

namespace {

using avx512::Floats;

constexpr int64_t kRows = 4 * Bf16Pairs::tile_rows;  // queries whose probabilities are held at once

int64_t attention_backward_bf16_scratch(int64_t length, int64_t head_size) {
  const int64_t columns = vector::whole_vectors<Floats>(length), size = vector::whole_vectors<Floats>(head_size);
  const int64_t head_pairs = whole_pairs(head_size), row_pairs = whole_pairs(length);
  return length * head_pairs + 2 * head_pairs * columns + (length + 1) / 2 * size + 2 * length * size +
         kRows * (3 * columns + row_pairs + 2 * head_pairs + 2 * size);
}

// What a row of queries has of its own.
struct Row {
  float* scores;           // [columns], before scale and bias; then P
  float* gradients;        // [columns], dD; then dP
  const float* bias;       // [length] or null
  const uint8_t* bits;     // of the elements kept, or null
  float* dbias;            // [length] or null
  float shift, share;      // P = exp(score - shift) * share
  float weighted;          // sum of P * dP
};

// Scores become P = softmax, 0 beyond length, and dD becomes dP = dropout(dD). Returns the sum of their products.
float weigh_gradients(const Row& row, int64_t length, float scale, float keep_scale) {
  const __m512 shift = _mm512_set1_ps(row.shift), share = _mm512_set1_ps(row.share), factor = _mm512_set1_ps(scale),
               kept = _mm512_set1_ps(keep_scale);
  __m512 sum = _mm512_setzero_ps();
  for (int64_t j = 0; j < length; j += 16) {
    const __mmask16 valid = first_16_of(length - j);
    __m512 score = _mm512_mul_ps(_mm512_loadu_ps(row.scores + j), factor);
    if (row.bias) score = _mm512_add_ps(score, _mm512_maskz_loadu_ps(valid, row.bias + j));
    const __m512 probability = _mm512_maskz_mul_ps(valid, avx512::exp_ps(_mm512_sub_ps(score, shift)), share);
    _mm512_storeu_ps(row.scores + j, probability);
    __m512 gradient = _mm512_loadu_ps(row.gradients + j);
    if (row.bits) {
      gradient = Floats::keep(row.bits + j / 8, _mm512_mul_ps(gradient, kept));
      _mm512_storeu_ps(row.gradients + j, gradient);
    }
    sum = _mm512_fmadd_ps(probability, gradient, sum);
  }
  return Floats::sum(sum);
}

// D and scale * dS of 16 elements of a row, `valid` of which exist; dS is added to dbias.
struct Parts {
  __m512 dropped, gradient;
};
inline Parts parts_of(const Row& row, int64_t j, __mmask16 valid, float scale, float keep_scale) {
  const __m512 probability = _mm512_loadu_ps(row.scores + j);
  const __m512 centered = _mm512_sub_ps(_mm512_loadu_ps(row.gradients + j), _mm512_set1_ps(row.weighted));
  const __m512 gradient = _mm512_mul_ps(probability, centered);
  if (row.dbias) {
    float* sums = row.dbias + j;
    _mm512_mask_storeu_ps(sums, valid, _mm512_add_ps(_mm512_maskz_loadu_ps(valid, sums), gradient));
  }
  __m512 dropped = probability;
  if (row.bits) dropped = Floats::keep(row.bits + j / 8, _mm512_mul_ps(probability, _mm512_set1_ps(keep_scale)));
  return {dropped, _mm512_mul_ps(gradient, _mm512_set1_ps(scale))};
}

// Of two rows (`odd` null: zeros in its place): D and dS as pairs of rows [columns], dS of each as pairs of columns
// [row_pairs].
void pair_gradients(const Row& even, const Row* odd, int64_t length, float scale, float keep_scale,
                    float* dropped_rows, float* gradient_rows, float* even_columns, float* odd_columns) {
  const Parts none = {_mm512_setzero_ps(), _mm512_setzero_ps()};
  for (int64_t j = 0; j < length; j += 32) {
    const __mmask16 first = first_16_of(length - j), second = first_16_of(length - j - 16);
    const Parts a = parts_of(even, j, first, scale, keep_scale);
    const Parts b = odd ? parts_of(*odd, j, first, scale, keep_scale) : none;
    Parts c = none, d = none;
    _mm512_storeu_si512(dropped_rows + j, interleave_rounded(a.dropped, b.dropped));
    _mm512_storeu_si512(gradient_rows + j, interleave_rounded(a.gradient, b.gradient));
    if (second) {
      c = parts_of(even, j + 16, second, scale, keep_scale);
      if (odd) d = parts_of(*odd, j + 16, second, scale, keep_scale);
      _mm512_storeu_si512(dropped_rows + j + 16, interleave_rounded(c.dropped, d.dropped));
      _mm512_storeu_si512(gradient_rows + j + 16, interleave_rounded(c.gradient, d.gradient));
    }
    _mm512_storeu_si512(even_columns + j / 2, (__m512i)_mm512_cvtne2ps_pbh(c.gradient, a.gradient));
    _mm512_storeu_si512(odd_columns + j / 2, (__m512i)_mm512_cvtne2ps_pbh(d.gradient, b.gradient));
  }
}

// With P = softmax(S) and D = dropout(P): dV = D^T dout, dQ = dS K, dK = dS^T Q, block by block of queries.
void attention_backward_bf16(const bf16* q, const bf16* k, const bf16* v, int64_t stride, int64_t length,
                             int64_t head_size, float scale, const ScoreBias* bias, const bf16* dout,
                             int64_t dout_stride, const float* softmax, const KeepMask* keep, float* scratch, bf16* dq,
                             bf16* dk, bf16* dv, float* dbias) {
  using vector::small_product;
  const int64_t columns = vector::whole_vectors<Floats>(length), size = vector::whole_vectors<Floats>(head_size);
  const int64_t head_pairs = whole_pairs(head_size), row_pairs = whole_pairs(length), depth = (head_size + 1) / 2;
  float* rows_copy = scratch;                                   // [length, head_pairs]
  float* keys_transposed = rows_copy + length * head_pairs;     // [head_pairs, columns]
  float* values_transposed = keys_transposed + head_pairs * columns;
  float* keys = values_transposed + head_pairs * columns;       // [ceil(length / 2), size]
  float* key_sums = keys + (length + 1) / 2 * size;             // [length, size], dK
  float* value_sums = key_sums + length * size;                 // [length, size], dV
  float* scores = value_sums + length * size;                   // [kRows, columns]
  float* gradients = scores + kRows * columns;                  // [kRows, columns], dD
  float* dropped_rows = gradients + kRows * columns;            // [kRows / 2, columns] pairs of rows of D
  float* gradient_rows = dropped_rows + kRows / 2 * columns;    // [kRows / 2, columns] pairs of rows of dS
  float* gradient_columns = gradient_rows + kRows / 2 * columns;  // [kRows, row_pairs] pairs of columns of dS
  float* queries = gradient_columns + kRows * row_pairs;        // [kRows, head_pairs]
  float* out_gradients = queries + kRows * head_pairs;          // [kRows, head_pairs]
  float* query_rows = out_gradients + kRows * head_pairs;       // [kRows / 2, size]
  float* out_rows = query_rows + kRows / 2 * size;              // [kRows / 2, size]
  float* block = out_rows + kRows / 2 * size;                   // [kRows, size], dQ
  copy_pairs(k, stride, length, head_size, rows_copy);
  vector::transpose_padded<Floats>(rows_copy, head_pairs, length, head_pairs, keys_transposed);
  copy_pairs(v, stride, length, head_size, rows_copy);
  vector::transpose_padded<Floats>(rows_copy, head_pairs, length, head_pairs, values_transposed);
  interleave_rows(k, stride, length, head_size, keys);
  for (int64_t begin = 0; begin < length; begin += kRows) {
    const int64_t rows = length - begin < kRows ? length - begin : kRows;
    copy_pairs(dout + begin * dout_stride, dout_stride, rows, head_size, out_gradients);
    copy_pairs(q + begin * stride, stride, rows, head_size, queries);
    interleave_rows(q + begin * stride, stride, rows, head_size, query_rows);
    interleave_rows(dout + begin * dout_stride, dout_stride, rows, head_size, out_rows);
    small_product<Bf16Pairs>(queries, head_pairs, 1, rows, keys_transposed, columns, columns, depth, scores, columns,
                             false);
    small_product<Bf16Pairs>(out_gradients, head_pairs, 1, rows, values_transposed, columns, columns, depth, gradients,
                             columns, false);
    const float keep_scale = keep ? keep->scale : 1;
    const auto row = [&](int64_t r) {
      const int64_t i = begin + r;
      Row result{scores + r * columns,
                 gradients + r * columns,
                 bias ? bias->data + i * bias->stride : nullptr,
                 keep ? keep->bits + i * keep->stride : nullptr,
                 dbias ? dbias + i * bias->stride : nullptr,
                 softmax[i],
                 softmax[length + i],
                 0};
      result.weighted = weigh_gradients(result, length, scale, keep_scale);
      return result;
    };
    for (int64_t r = 0; r < rows; r += 2) {
      const Row even = row(r), odd = r + 1 < rows ? row(r + 1) : even;
      pair_gradients(even, r + 1 < rows ? &odd : nullptr, length, scale, keep_scale, dropped_rows + r / 2 * columns,
                     gradient_rows + r / 2 * columns, gradient_columns + r * row_pairs,
                     gradient_columns + (r + 1) * row_pairs);
    }
    const int64_t pairs = (rows + 1) / 2;
    small_product<Bf16Pairs>(dropped_rows, 1, columns, length, out_rows, size, size, pairs, value_sums, size,
                             begin > 0);
    small_product<Bf16Pairs>(gradient_rows, 1, columns, length, query_rows, size, size, pairs, key_sums, size,
                             begin > 0);
    small_product<Bf16Pairs>(gradient_columns, row_pairs, 1, rows, keys, size, size, (length + 1) / 2, block, size,
                             false);
    round_rows(block, rows, head_size, nullptr, dq + begin * stride, stride);
  }
  round_rows(key_sums, length, head_size, nullptr, dk, stride);
  round_rows(value_sums, length, head_size, nullptr, dv, stride);
}

}  // namespace

void add_attention_backward_bf16(KernelTable& table) {
  table.attention_backward_bf16_scratch = attention_backward_bf16_scratch;
  table.attention_backward_bf16 = attention_backward_bf16;
}

}  // namespace whittle::vnni
