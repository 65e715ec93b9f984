#pragma once

#include <limits>

#include "kernels/kernel_table.h"
#include "kernels/vector/for_each_vector.h"
#include "kernels/vector/small_product.h"

namespace whittle::vector {

template <typename F>
constexpr int64_t whole_vectors(int64_t count) {
  return (count + F::width - 1) / F::width * F::width;
}

// y [rows, whole_vectors(cols)] = x [rows, cols], padded with zeros.
template <typename F>
void copy_padded(const float* x, int64_t x_stride, int64_t rows, int64_t cols, float* y) {
  const int64_t padded = whole_vectors<F>(cols);
  for (int64_t r = 0; r < rows; ++r) {
    for_each_vector<F>(
        cols, [&](int64_t c) { F::store(y + r * padded + c, F::load(x + r * x_stride + c)); },
        [&](int64_t c, int64_t lanes) { F::store(y + r * padded + c, F::load_first(x + r * x_stride + c, lanes)); });
  }
}

// y [rows, cols] = x [rows, whole_vectors(cols)] * factors[r]; factors null: 1.
template <typename F>
void copy_unpadded(const float* x, int64_t rows, int64_t cols, const float* factors, float* y, int64_t y_stride) {
  const int64_t padded = whole_vectors<F>(cols);
  for (int64_t r = 0; r < rows; ++r) {
    const typename F::Register factor = F::all(factors ? factors[r] : 1.0f);
    for_each_vector<F>(
        cols, [&](int64_t c) { F::store(y + r * y_stride + c, F::multiply(F::load(x + r * padded + c), factor)); },
        [&](int64_t c, int64_t lanes) {
          F::store_first(y + r * y_stride + c, lanes, F::multiply(F::load(x + r * padded + c), factor));
        });
  }
}

// y [cols, whole_vectors(rows)] = the transpose of x [rows, cols], padded with zeros.
template <typename F>
void transpose_padded(const float* x, int64_t x_stride, int64_t rows, int64_t cols, float* y) {
  for (int64_t r = 0; r < rows; r += F::width) {
    F::transpose(x + r * x_stride, x_stride, rows - r, cols, y + r, whole_vectors<F>(rows));
  }
}

// exp(s * factor - shift) is the softmax of a row of scores, but for its sum.
template <typename F>
struct Exponent {
  typename F::Register factor, shift;
  float highest;  // score of the row, with scale and bias: what `shift` holds

  typename F::Register operator()(typename F::Register score) const {
    return F::exponential(F::subtract(F::multiply(score, factor), shift));
  }
};

// For one row of scores [whole_vectors(length)]; with a bias, scale * s + bias takes the place of s.
template <typename F>
Exponent<F> exponent(float* scores, int64_t length, float scale, const float* bias) {
  using Register = typename F::Register;
  const Register lowest = F::all(-std::numeric_limits<float>::infinity());
  Register highest = lowest, factor = F::all(scale);
  if (bias) {
    for_each_vector<F>(
        length,
        [&](int64_t j) {
          const Register score = F::multiply_add(F::load(scores + j), factor, F::load(bias + j));
          F::store(scores + j, score);
          highest = F::maximum(highest, score);
        },
        [&](int64_t j, int64_t lanes) {
          const Register score = F::multiply_add(F::load(scores + j), factor, F::load_first(bias + j, lanes));
          F::store(scores + j, score);
          highest = F::maximum(highest, F::first_of(lanes, score, lowest));
        });
    factor = F::all(1.0f);
  } else {
    for_each_vector<F>(
        length, [&](int64_t j) { highest = F::maximum(highest, F::load(scores + j)); },
        [&](int64_t j, int64_t lanes) {
          highest = F::maximum(highest, F::first_of(lanes, F::load(scores + j), lowest));
        });
  }
  const float largest = F::largest(highest) * (bias ? 1.0f : scale);
  return {factor, F::all(largest), largest};
}

// scores [whole_vectors(length)] become exponentials, 0 beyond length and where `bits` (null: all set) are not set.
// Returns the sum of all, those not kept too.
template <typename F>
float exponentials(float* scores, int64_t length, float scale, const float* bias, const uint8_t* bits) {
  using Register = typename F::Register;
  const Exponent<F> e = exponent<F>(scores, length, scale, bias);
  Register sum = F::zero();
  const auto keep = [&](int64_t j, Register value) {
    sum = F::add(sum, value);
    F::store(scores + j, bits ? F::keep(bits + j / 8, value) : value);
  };
  for_each_vector<F>(
      length, [&](int64_t j) { keep(j, e(F::load(scores + j))); },
      [&](int64_t j, int64_t lanes) { keep(j, F::first_of(lanes, e(F::load(scores + j)), F::zero())); });
  return F::sum(sum);
}

template <typename F>
inline constexpr int64_t kAttentionRows = 2 * F::tile_rows;  // queries whose scores are held at once

template <typename F>
int64_t attention_scratch(int64_t length, int64_t head_size) {
  const int64_t columns = whole_vectors<F>(length), size = whole_vectors<F>(head_size);
  return head_size * columns + length * size + kAttentionRows<F> * (columns + size + 1);
}

template <typename F>
void attention(const float* q, const float* k, const float* v, int64_t stride, int64_t length, int64_t head_size,
               float scale, const ScoreBias* bias, float* scratch, float* out, int64_t out_stride,
               const KeepMask* keep) {
  constexpr int64_t kRows = kAttentionRows<F>;
  const int64_t columns = whole_vectors<F>(length), size = whole_vectors<F>(head_size);
  float* keys = scratch;                       // [head_size, columns]
  float* values = keys + head_size * columns;  // [length, size]
  float* scores = values + length * size;      // [kRows, columns]
  float* block = scores + kRows * columns;     // [kRows, size]
  float* factors = block + kRows * size;       // [kRows]
  transpose_padded<F>(k, stride, length, head_size, keys);
  copy_padded<F>(v, stride, length, head_size, values);
  for (int64_t begin = 0; begin < length; begin += kRows) {
    const int64_t rows = length - begin < kRows ? length - begin : kRows;
    small_product<F>(q + begin * stride, stride, 1, rows, keys, columns, columns, head_size, scores, columns, false);
    for (int64_t r = 0; r < rows; ++r) {
      const float* row_bias = bias ? bias->data + (begin + r) * bias->stride : nullptr;
      const uint8_t* bits = keep ? keep->bits + (begin + r) * keep->stride : nullptr;
      factors[r] = (keep ? keep->scale : 1) / exponentials<F>(scores + r * columns, length, scale, row_bias, bits);
    }
    small_product<F>(scores, columns, 1, rows, values, size, size, length, block, size, false);
    copy_unpadded<F>(block, rows, head_size, factors, out + begin * out_stride, out_stride);
  }
}

}  // namespace whittle::vector
