// Attention from bf16 rows where the ISA has no bf16 product, with the bits that dpbf16ps gives: it adds the second
// product of a pair first, and products of bf16 are exact in float32.
#pragma once

#include <cstring>
#include <limits>

#include "kernels/kernel_table.h"
#include "kernels/vector/attention.h"
#include "kernels/vector/sum_lanes.h"

namespace whittle::vector {

// y [rows, even(cols)], rows `y_stride` apart: x widened, columns 2 i and 2 i + 1 exchanged; zero beyond cols.
inline void widen_swapped(const bf16* x, int64_t x_stride, int64_t rows, int64_t cols, float* y, int64_t y_stride) {
  for (int64_t r = 0; r < rows; ++r) {
    const bf16* from = x + r * x_stride;
    uint32_t* to = reinterpret_cast<uint32_t*>(y + r * y_stride);
    int64_t c = 0;
    for (; c + 2 <= cols; c += 2) {
      to[c] = static_cast<uint32_t>(from[c + 1]) << 16;
      to[c + 1] = static_cast<uint32_t>(from[c]) << 16;
    }
    if (c == cols) continue;
    to[c] = 0;
    to[c + 1] = static_cast<uint32_t>(from[c]) << 16;
  }
}

// y [even(rows), whole_vectors(cols)]: x widened, rows 2 i and 2 i + 1 exchanged; zeros beyond rows and cols.
template <typename F>
void widen_swapped_rows(const bf16* x, int64_t x_stride, int64_t rows, int64_t cols, float* y) {
  const int64_t width = whole_vectors<F>(cols);
  for (int64_t r = 0; r < (rows + 1) / 2 * 2; ++r) {
    uint32_t* to = reinterpret_cast<uint32_t*>(y + (r ^ 1) * width);
    const bf16* from = x + r * x_stride;
    const int64_t present = r < rows ? cols : 0;
    for (int64_t c = 0; c < present; ++c) to[c] = static_cast<uint32_t>(from[c]) << 16;
    for (int64_t c = present; c < width; ++c) to[c] = 0;
  }
}

// scores [columns], columns a multiple of 32, become 2^(factor * (score - highest)) rounded to bf16, neighbors
// exchanged, zero beyond length. Returns 1 / the sum of all before rounding.
template <typename F>
float swapped_exponentials(float* scores, int64_t length, int64_t columns, float factor) {
  using Register = typename F::Register;
  const Register lowest = F::all(-std::numeric_limits<float>::infinity());
  Register highest = lowest;
  for_each_vector<F>(
      length, [&](int64_t j) { highest = F::maximum(highest, F::load(scores + j)); },
      [&](int64_t j, int64_t lanes) {
        highest = F::maximum(highest, F::first_of(lanes, F::load(scores + j), lowest));
      });
  const Register scale = F::all(factor), shift = F::all(-(F::largest(highest) * factor));
  SumLanes<F, 32> sum;
  const auto keep = [&](int64_t j, Register value) {
    sum.add(j, value);
    F::store(scores + j, F::swapped_pairs(F::rounded_bf16(value)));
  };
  const auto value = [&](int64_t j) { return F::power_of_two(F::multiply_add(F::load(scores + j), scale, shift)); };
  for_each_vector<F>(
      length, [&](int64_t j) { keep(j, value(j)); },
      [&](int64_t j, int64_t lanes) { keep(j, F::first_of(lanes, value(j), F::zero())); });
  for (int64_t j = whole_vectors<F>(length); j < columns; j += F::width) F::store(scores + j, F::zero());
  return 1 / sum.total();
}

template <typename F>
struct RowsLayout {
  int64_t columns, size, even_size, even_length;
  RowsLayout(int64_t length, int64_t head_size)
      : columns((length + 31) / 32 * 32),
        size(whole_vectors<F>(head_size)),
        even_size((head_size + 1) / 2 * 2),
        even_length((length + 1) / 2 * 2) {}
  // Widened rows of k [length, even_size], then of q; k^T [even_size, columns]; v; scores and results of some queries.
  int64_t floats(int64_t rows) const {
    return (even_length + rows) * even_size + even_size * columns + even_length * size + rows * (columns + size);
  }
};

template <typename F>
int64_t attention_rows_bf16_scratch(int64_t length, int64_t head_size) {
  return RowsLayout<F>(length, head_size).floats(F::tile_rows);
}

template <typename F>
void attention_rows_bf16(const bf16* q, const bf16* k, const bf16* v, int64_t stride, int64_t queries, int64_t length,
                         int64_t head_size, float scale, const ScoreBias* bias, float* scratch, float* out,
                         int64_t out_stride) {
  constexpr int64_t kRows = F::tile_rows;
  constexpr float kLog2E = 1.44269504088896341f;
  const RowsLayout<F> layout(length, head_size);
  const int64_t columns = layout.columns, size = layout.size, even_size = layout.even_size;
  float* scores = scratch;                     // [kRows, columns]
  float* block = scores + kRows * columns;     // [kRows, size]
  float* keys = block + kRows * size;          // [even_size, columns]
  float* values = keys + even_size * columns;  // [even_length, size]
  float* rows_of_k = values + layout.even_length * size;
  float* queries_wide = rows_of_k + layout.even_length * even_size;  // [kRows, even_size]
  widen_swapped(k, stride, length, head_size, rows_of_k, even_size);
  for (int64_t j = 0; j < columns; j += F::width)
    F::transpose(rows_of_k + j * even_size, even_size, length - j, even_size, keys + j, columns);
  widen_swapped_rows<F>(v, stride, length, head_size, values);
  const float factor = bias ? kLog2E : scale * kLog2E;
  const int64_t blocks = (queries + kRows - 1) / kRows;
  for (int64_t b = 0; b < blocks; ++b) {
    const int64_t begin = queries * b / blocks, rows = queries * (b + 1) / blocks - begin;
    widen_swapped(q + begin * stride, stride, rows, head_size, queries_wide, even_size);
    small_product<F>(queries_wide, even_size, 1, rows, keys, columns, columns, even_size, scores, columns, false);
    float factors[kRows];
    for (int64_t r = 0; r < rows; ++r) {
      float* row = scores + r * columns;
      if (bias) {
        const float* added = bias->data + (begin + r) * bias->stride;
        const typename F::Register all_scale = F::all(scale);
        for_each_vector<F>(
            length,
            [&](int64_t j) { F::store(row + j, F::multiply_add(F::load(row + j), all_scale, F::load(added + j))); },
            [&](int64_t j, int64_t lanes) {
              F::store(row + j, F::multiply_add(F::load(row + j), all_scale, F::load_first(added + j, lanes)));
            });
      }
      factors[r] = swapped_exponentials<F>(row, length, columns, factor);
    }
    small_product<F>(scores, columns, 1, rows, values, size, size, layout.even_length, block, size, false);
    copy_unpadded<F>(block, rows, head_size, factors, out + begin * out_stride, out_stride);
  }
}

}  // namespace whittle::vector
