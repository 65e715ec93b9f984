#pragma once

#include "kernels/vector/attention.h"

namespace whittle::vector {

template <typename F>
inline constexpr int64_t kBackwardRows = 4 * F::tile_rows;  // queries whose probabilities are held at once

template <typename F>
int64_t attention_backward_scratch(int64_t length, int64_t head_size) {
  const int64_t columns = whole_vectors<F>(length), size = whole_vectors<F>(head_size);
  return 2 * head_size * columns + 3 * length * size + kBackwardRows<F> * (2 * columns + 2 * size);
}

// dbias [length] += P * (dD - weighted).
template <typename F>
void add_bias_gradient(const float* probabilities, const float* gradients, typename F::Register weighted,
                       int64_t length, float* dbias) {
  const auto sum = [&](int64_t j, typename F::Register before) {
    return F::multiply_add(F::load(probabilities + j), F::subtract(F::load(gradients + j), weighted), before);
  };
  for_each_vector<F>(
      length, [&](int64_t j) { F::store(dbias + j, sum(j, F::load(dbias + j))); },
      [&](int64_t j, int64_t lanes) { F::store_first(dbias + j, lanes, sum(j, F::load_first(dbias + j, lanes))); });
}

// In: row of P and dD = dout V^T, padded to `columns`. Out: D = dropout(P) and
// dS = scale * P * (dropout(dD) - sum P * dropout(dD)); dbias [length], unless null, += dS / scale.
template <typename F>
void score_gradients(float* probabilities, float* gradients, int64_t length, int64_t columns, float scale,
                     const uint8_t* bits, float keep_scale, float* dbias) {
  using Register = typename F::Register;
  const Register factor = F::all(keep_scale);
  Register sum = F::zero();
  for (int64_t j = 0; j < columns; j += F::width) {
    Register gradient = F::load(gradients + j);
    if (bits) {
      gradient = F::keep(bits + j / 8, F::multiply(gradient, factor));
      F::store(gradients + j, gradient);
    }
    sum = F::multiply_add(F::load(probabilities + j), gradient, sum);
  }
  const Register weighted = F::all(F::sum(sum)), all_scale = F::all(scale);
  if (dbias) add_bias_gradient<F>(probabilities, gradients, weighted, length, dbias);
  for (int64_t j = 0; j < columns; j += F::width) {
    const Register probability = F::load(probabilities + j);
    const Register centered = F::subtract(F::load(gradients + j), weighted);
    F::store(gradients + j, F::multiply(F::multiply(probability, all_scale), centered));
    if (bits) F::store(probabilities + j, F::keep(bits + j / 8, F::multiply(probability, factor)));
  }
}

// With P = softmax(S) and D = dropout(P): dV = D^T dout, dQ = dS K, dK = dS^T Q, block by block of queries.
template <typename F>
void attention_backward(const float* q, const float* k, const float* v, int64_t stride, int64_t length,
                        int64_t head_size, float scale, const ScoreBias* bias, const float* dout, int64_t dout_stride,
                        const KeepMask* keep, float* scratch, float* dq, float* dk, float* dv, float* dbias) {
  constexpr int64_t kRows = kBackwardRows<F>;
  const int64_t columns = whole_vectors<F>(length), size = whole_vectors<F>(head_size);
  float* keys_transposed = scratch;                                  // [head_size, columns]
  float* values_transposed = keys_transposed + head_size * columns;  // [head_size, columns]
  float* keys = values_transposed + head_size * columns;             // [length, size]
  float* key_sums = keys + length * size;                            // [length, size], dK
  float* value_sums = key_sums + length * size;                      // [length, size], dV
  float* probabilities = value_sums + length * size;                 // [kRows, columns]
  float* gradients = probabilities + kRows * columns;                // [kRows, columns]
  float* queries = gradients + kRows * columns;                      // [kRows, size], then dQ
  float* out_gradients = queries + kRows * size;                     // [kRows, size]
  transpose_padded<F>(k, stride, length, head_size, keys_transposed);
  transpose_padded<F>(v, stride, length, head_size, values_transposed);
  copy_padded<F>(k, stride, length, head_size, keys);
  for (int64_t begin = 0; begin < length; begin += kRows) {
    const int64_t rows = length - begin < kRows ? length - begin : kRows;
    copy_padded<F>(q + begin * stride, stride, rows, head_size, queries);
    copy_padded<F>(dout + begin * dout_stride, dout_stride, rows, head_size, out_gradients);
    small_product<F>(queries, size, 1, rows, keys_transposed, columns, columns, head_size, probabilities, columns,
                     false);
    small_product<F>(out_gradients, size, 1, rows, values_transposed, columns, columns, head_size, gradients, columns,
                     false);
    for (int64_t r = 0; r < rows; ++r) {
      float* row = probabilities + r * columns;
      const float* row_bias = bias ? bias->data + (begin + r) * bias->stride : nullptr;
      const typename F::Register share = F::all(1 / exponentials<F>(row, length, scale, row_bias, nullptr));
      for (int64_t j = 0; j < columns; j += F::width) F::store(row + j, F::multiply(F::load(row + j), share));
      score_gradients<F>(row, gradients + r * columns, length, columns, scale,
                         keep ? keep->bits + (begin + r) * keep->stride : nullptr, keep ? keep->scale : 1,
                         dbias ? dbias + (begin + r) * bias->stride : nullptr);
    }
    small_product<F>(probabilities, 1, columns, length, out_gradients, size, size, rows, value_sums, size, begin > 0);
    small_product<F>(gradients, 1, columns, length, queries, size, size, rows, key_sums, size, begin > 0);
    small_product<F>(gradients, columns, 1, rows, keys, size, size, length, queries, size, false);
    copy_unpadded<F>(queries, rows, head_size, nullptr, dq + begin * stride, stride);
  }
  copy_unpadded<F>(key_sums, length, head_size, nullptr, dk, stride);
  copy_unpadded<F>(value_sums, length, head_size, nullptr, dv, stride);
}

}  // namespace whittle::vector
