// The matrix products of training: weights packed once a step, activations multiplied block by block of rows so that
// whatever follows a product finds its rows in the cache.
#pragma once

#include <cstdint>

#include "ops/context.h"
#include "ops/gemm.h"

namespace whittle {

// W [n, k] in the packed layout of the kernel table.
struct PackedMatrix {
  const void* data;
  int64_t n, k;
};

class Products {
 public:
  // precision float32 or bfloat16; bfloat16 falls back to float32 where the table has no bf16 products.
  Products(Precision precision, const Context& context);

  // Packs W with element (r, c) at w[r * row_stride + c * column_stride]. The memory is the context's arena's.
  PackedMatrix pack(const float* w, int64_t row_stride, int64_t column_stride, int64_t n, int64_t k) const;

  // c [m, n] (+)= a [m, k] W^T on the calling thread.
  void multiply(const float* a, int64_t a_stride, int64_t m, const PackedMatrix& w, float* c, int64_t c_stride,
                bool accumulate) const;

  // dw = dy^T x, summed over blocks of a fixed number of tokens in order. dy: [tokens, parts * n], rows dy_stride
  // apart, x: [tokens, k]. Part p, [n, k], goes to dw[p], unless that is null.
  void weight_gradient(const float* dy, int64_t dy_stride, int64_t n, const float* x, int64_t k, int64_t tokens,
                       float* const* dw, int64_t parts) const;

  // Rows that the blocks of row_blocks() have.
  int64_t block_rows(int64_t rows) const;
  // Calls body(block, begin, end) for the blocks of [0, rows), in parallel.
  template <typename Body>
  void row_blocks(int64_t rows, const Body& body) const {
    const int64_t step = block_rows(rows);
    context_.pool.run((rows + step - 1) / step, context_.threads, [&](int64_t block) {
      const int64_t begin = block * step;
      body(block, begin, begin + step < rows ? begin + step : rows);
    });
  }

 private:
  int64_t panel() const { return bf16_ ? context_.kernels.gemm_bf16.panel : context_.kernels.gemm_f32.panel; }
  int64_t inner_rows() const { return bf16_ ? context_.kernels.gemm_bf16.rows : context_.kernels.gemm_f32.rows; }
  int64_t packed_bytes(int64_t n, int64_t k) const;
  void pack_panels(const float* w, int64_t row_stride, int64_t column_stride, int64_t n, int64_t k, int64_t n_begin,
                   int64_t n_end, void* packed) const;

  Context context_;
  bool bf16_;
};

}  // namespace whittle
