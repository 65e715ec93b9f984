// What the blocks of a layer keep as operands of later products: rows of T, float32 or bf16, `stride` apart. Whatever
// differs between the two is here.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

#include "ops/context.h"

namespace whittle {

template <typename T>
inline constexpr bool kIsBf16 = std::is_same_v<T, bf16>;

// Elements from one row of `cols` columns to the next. bf16 rows are padded as products want them; rows a multiple of
// 2 KB apart would fall into the same sets of the first-level cache.
template <typename T>
int64_t operand_stride(int64_t cols) {
  if (!kIsBf16<T>) return cols;
  const int64_t padded = padded_k(cols);
  return padded * static_cast<int64_t>(sizeof(bf16)) % 2048 == 0 ? padded + 32 : padded;
}

// A block of rows [rows, cols] that is made as float32 at rows() and then, by keep(), is at `kept` as T.
template <typename T>
class KeptRows {
 public:
  KeptRows(T* kept, int64_t rows, int64_t cols, const KernelTable& kernels)
      : kept_(kept), count_(rows), cols_(cols), kernels_(kernels) {
    if constexpr (kIsBf16<T>) {
      floats_ = thread_arena().take<float>(rows * cols);
    } else {
      floats_ = kept;
    }
  }
  float* rows() const { return floats_; }
  void keep() const {
    if constexpr (kIsBf16<T>) {
      kernels_.convert_f32_bf16(floats_, cols_, count_, cols_, kept_, operand_stride<T>(cols_));
    }
  }

 private:
  T* kept_;
  float* floats_;
  int64_t count_, cols_;
  const KernelTable& kernels_;
};

// x [rows, cols] as an operand: itself, or rounded in the calling thread's arena.
template <typename T>
const T* as_operand(const float* x, int64_t rows, int64_t cols, const KernelTable& kernels) {
  if constexpr (kIsBf16<T>) {
    bf16* rounded = thread_arena().take<bf16>(rows * operand_stride<bf16>(cols));
    kernels.convert_f32_bf16(x, cols, rows, cols, rounded, operand_stride<bf16>(cols));
    return rounded;
  } else {
    return x;
  }
}

// y = c + bias[c], kept as T, and activated = gelu(y) as kept, unless null. y and activated have rows y_stride apart.
inline void add_bias(const KernelTable& kernels, const float* c, int64_t c_stride, int64_t rows, int64_t cols,
                     const float* bias, float* y, float* activated, int64_t y_stride) {
  kernels.epilogue_f32(c, c_stride, rows, cols, bias, Activation::none, nullptr, 0, y, y_stride);
  if (!activated) return;
  for (int64_t r = 0; r < rows; ++r) kernels.gelu(y + r * y_stride, cols, activated + r * y_stride);
}
inline void add_bias(const KernelTable& kernels, const float* c, int64_t c_stride, int64_t rows, int64_t cols,
                     const float* bias, bf16* y, bf16* activated, int64_t y_stride) {
  kernels.epilogue_bf16(c, c_stride, rows, cols, bias, y, activated, y_stride);
}

// x, as add_bias() left it, becomes dy * gelu'(x); activated = gelu(x), unless null; sums[c] += the gradient's sums.
inline void gelu_gradient(const KernelTable& kernels, float* x, int64_t x_stride, const float* dy, int64_t dy_stride,
                          int64_t rows, int64_t cols, float* activated, float* sums) {
  for (int64_t r = 0; r < rows; ++r) {
    float* row = x + r * x_stride;
    if (activated) kernels.gelu(row, cols, activated + r * x_stride);
    kernels.gelu_backward(row, dy + r * dy_stride, cols, row);
  }
  kernels.column_sums(x, x_stride, rows, cols, sums);
}
inline void gelu_gradient(const KernelTable& kernels, bf16* x, int64_t x_stride, const float* dy, int64_t dy_stride,
                          int64_t rows, int64_t cols, bf16* activated, float* sums) {
  kernels.gelu_backward_bf16(x, x_stride, dy, dy_stride, rows, cols, x, activated, sums);
}

// Zeroes what bf16 rows have beyond their columns and products read.
inline void clear_padding(float*, int64_t, int64_t) {}
inline void clear_padding(bf16* x, int64_t rows, int64_t cols) {
  const int64_t padding = padded_k(cols) - cols, stride = operand_stride<bf16>(cols);
  if (padding == 0) return;
  for (int64_t r = 0; r < rows; ++r) std::memset(x + r * stride + cols, 0, static_cast<size_t>(padding) * sizeof(bf16));
}

inline void column_sums(const KernelTable& kernels, const float* x, int64_t x_stride, int64_t rows, int64_t cols,
                        float* sums) {
  kernels.column_sums(x, x_stride, rows, cols, sums);
}
inline void column_sums(const KernelTable& kernels, const bf16* x, int64_t x_stride, int64_t rows, int64_t cols,
                        float* sums) {
  kernels.column_sums_bf16(x, x_stride, rows, cols, sums);
}

}  // namespace whittle
