// The matrix products of training: weights packed once a step, activations multiplied block by block of rows so that
// whatever follows a product finds its rows in the cache.
#pragma once

#include <cstdint>

#include "ops/context.h"
#include "ops/packed_forms.h"
#include "training/operands.h"

namespace whittle {

// W [n, k] in the packed layout of the kernel table.
struct PackedMatrix {
  const void* data;
  int64_t n, k;
};

// T: float or bf16, what operands are.
template <typename T>
class Products {
 public:
  explicit Products(const Context& context) : context_(context) {}

  // Packs W with element (r, c) at w[r * row_stride + c * column_stride]. The memory is the context's arena's.
  PackedMatrix pack(const float* w, int64_t row_stride, int64_t column_stride, int64_t n, int64_t k) const;

  // The same for a weight W [n, k] of rows k apart, or its transpose, unless `packed` has it already.
  PackedMatrix pack_weight(const float* w, const PackedForms& packed, int64_t n, int64_t k) const {
    if (kIsBf16<T> && packed.own) return {packed.own, n, k};
    return pack(w, k, 1, n, k);
  }
  PackedMatrix pack_transposed_weight(const float* w, const PackedForms& packed, int64_t n, int64_t k) const {
    if (kIsBf16<T> && packed.transposed) return {packed.transposed, k, n};
    return pack(w, 1, k, k, n);
  }

  // c [m, columns [begin, end) of W^T] (+)= a [m, k] W^T on the calling thread. `begin` is a multiple of
  // columns_at_once().
  void multiply(const T* a, int64_t a_stride, int64_t m, const PackedMatrix& w, int64_t begin, int64_t end, float* c,
                int64_t c_stride, bool accumulate) const;
  // All columns.
  void multiply(const T* a, int64_t a_stride, int64_t m, const PackedMatrix& w, float* c, int64_t c_stride,
                bool accumulate) const {
    multiply(a, a_stride, m, w, 0, w.n, c, c_stride, accumulate);
  }
  // Calls body(c, begin, end) with c [m, end - begin], rows columns_at_once() apart, for ranges that cover all columns
  // of a [m, k] W^T: narrow enough to stay in the cache.
  template <typename Body>
  void multiply_by_columns(const T* a, int64_t a_stride, int64_t m, const PackedMatrix& w, const Body& body) const {
    const int64_t step = columns_at_once();
    Arena::Scope scope(thread_arena());
    float* c = thread_arena().take<float>(m * step);
    for (int64_t begin = 0; begin < w.n; begin += step) {
      const int64_t end = begin + step < w.n ? begin + step : w.n;
      multiply(a, a_stride, m, w, begin, end, c, step, false);
      body(c, begin, end);
    }
  }

  // dw = dy^T x, summed over blocks of a fixed number of tokens in order. Part p of dy, [tokens, n], begins at column
  // p * part_stride; its product, [n, k], goes to dw[p], unless that is null. x: [tokens, k], X is float or T.
  template <typename X>
  void weight_gradient(const T* dy, int64_t dy_stride, int64_t part_stride, int64_t n, const X* x, int64_t x_stride,
                       int64_t k, int64_t tokens, float* const* dw, int64_t parts) const;

  // Rows that the blocks of row_blocks() have.
  int64_t block_rows(int64_t rows) const;
  int64_t columns_at_once() const;
  // Calls body(block, begin, end) for the blocks of [0, rows), in parallel.
  template <typename Body>
  void row_blocks(int64_t rows, const Body& body) const {
    const int64_t step = block_rows(rows);
    context_.pool.run((rows + step - 1) / step, context_.threads, [&](int64_t block) {
      const int64_t begin = block * step;
      Arena::Scope scope(thread_arena());
      body(block, begin, begin + step < rows ? begin + step : rows);
    });
  }

 private:
  // Rows of each of the parts, near `target`, that `rows` are cut into: of one size and, where there are more than two,
  // a multiple of four of them, so that threads of one speed are done at the same time.
  int64_t equal_parts(int64_t rows, int64_t target) const;
  const auto& product() const {
    if constexpr (kIsBf16<T>) {
      return context_.kernels.gemm_bf16;
    } else {
      return context_.kernels.gemm_f32;
    }
  }
  // As PackedProduct::pack for the transpose of x [k, n].
  void pack_transposed(const float* x, int64_t x_stride, int64_t n, int64_t k, int64_t n_begin, int64_t n_end,
                       void* packed) const;
  void pack_transposed(const bf16* x, int64_t x_stride, int64_t n, int64_t k, int64_t n_begin, int64_t n_end,
                       void* packed) const;
  void transpose(const T* x, int64_t x_stride, int64_t rows, int64_t cols, T* y, int64_t y_stride) const;

  Context context_;
};

extern template class Products<float>;
extern template class Products<bf16>;

}  // namespace whittle
