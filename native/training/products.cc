#include "training/products.h"

#include <algorithm>

namespace whittle {

namespace {

constexpr int64_t kTokensPerChunk = 512;  // of the sums of a weight gradient; a multiple of kPadK
constexpr int64_t kTransposedRows = 64;   // one task of a transposition
constexpr int64_t kColumnsAtOnce = 384;   // of a product's result; a multiple of kPadK

int64_t multiple_near(int64_t target, int64_t unit) {
  return std::max<int64_t>(1, (target + unit / 2) / unit) * unit;
}

}  // namespace

template <typename T>
int64_t Products<T>::equal_parts(int64_t rows, int64_t target) const {
  const int64_t near = multiple_near(target, product().rows);
  int64_t parts = std::max<int64_t>(1, (rows + near - 1) / near);  // also of an empty batch
  if (parts > 2) {
    parts = (parts + 3) / 4 * 4;
  } else if (rows > near / 2) {
    parts = 2;
  }
  const int64_t step = (rows + parts - 1) / parts, unit = product().row_unit;
  return std::max(unit, (step + unit - 1) / unit * unit);
}

template <typename T>
int64_t Products<T>::block_rows(int64_t rows) const {
  // W comes too slowly for few rows where products are fast.
  const int64_t many = product().most_rows > kUsualMostRows ? 128 : 64;
  return equal_parts(rows, rows >= 1024 ? many : 32);
}

template <typename T>
int64_t Products<T>::columns_at_once() const {
  return multiple_near(kColumnsAtOnce, product().panel);
}

template <typename T>
PackedMatrix Products<T>::pack(const float* w, int64_t row_stride, int64_t column_stride, int64_t n, int64_t k) const {
  void* packed = context_.arena.take<char>(product().packed_bytes(n, k));
  context_.pool.split(n, product().panel, context_.threads, [&](int64_t begin, int64_t end) {
    product().pack(w, row_stride, column_stride, n, k, begin, end, packed);
  });
  return {packed, n, k};
}

template <typename T>
void Products<T>::multiply(const T* a, int64_t a_stride, int64_t m, const PackedMatrix& w, int64_t begin, int64_t end,
                           float* c, int64_t c_stride, bool accumulate) const {
  product().run(a, a_stride, w.data, m, w.n, w.k, begin, end, c, c_stride, accumulate);
}

template <typename T>
void Products<T>::pack_transposed(const float* x, int64_t x_stride, int64_t n, int64_t k, int64_t n_begin,
                                  int64_t n_end, void* packed) const {
  product().pack(x, 1, x_stride, n, k, n_begin, n_end, packed);
}

template <typename T>
void Products<T>::pack_transposed(const bf16* x, int64_t x_stride, int64_t n, int64_t k, int64_t n_begin, int64_t n_end,
                                  void* packed) const {
  context_.kernels.pack_transposed_bf16(x, x_stride, n, k, n_begin, n_end, packed);
}

template <typename T>
void Products<T>::transpose(const T* x, int64_t x_stride, int64_t rows, int64_t cols, T* y, int64_t y_stride) const {
  if constexpr (kIsBf16<T>) {
    context_.kernels.transpose_bf16(x, x_stride, rows, cols, y, y_stride);
  } else {
    context_.kernels.transpose_f32(x, x_stride, rows, cols, y, y_stride);
  }
}

template <typename T>
template <typename X>
void Products<T>::weight_gradient(const T* dy, int64_t dy_stride, int64_t part_stride, int64_t n, const X* x,
                                  int64_t x_stride, int64_t k, int64_t tokens, float* const* dw, int64_t parts) const {
  if (std::all_of(dw, dw + parts, [](const float* part) { return part == nullptr; })) return;
  Arena::Scope scope(context_.arena);
  const int64_t chunks = (tokens + kTokensPerChunk - 1) / kTokensPerChunk;
  const int64_t all_n = (parts - 1) * part_stride + n;

  // left: [chunks, all_n, kTokensPerChunk], dy transposed; right: [chunks], x [tokens of the chunk, k] packed as [k,
  // tokens].
  T* left = context_.arena.take<T>(chunks * all_n * kTokensPerChunk);
  const int64_t right_bytes = product().packed_bytes(k, kTokensPerChunk);
  char* right = context_.arena.take<char>(chunks * right_bytes);
  const int64_t transpositions = (tokens + kTransposedRows - 1) / kTransposedRows;
  const int64_t pack_columns = multiple_near(128, product().panel);
  const int64_t packs_a_chunk = (k + pack_columns - 1) / pack_columns;
  context_.pool.run(transpositions + chunks * packs_a_chunk, context_.threads, [&](int64_t task) {
    if (task < transpositions) {
      const int64_t begin = task * kTransposedRows, rows = std::min(kTransposedRows, tokens - begin);
      T* to = left + begin / kTokensPerChunk * all_n * kTokensPerChunk + begin % kTokensPerChunk;
      transpose(dy + begin * dy_stride, dy_stride, rows, all_n, to, kTokensPerChunk);
      return;
    }
    const int64_t chunk = (task - transpositions) / packs_a_chunk;
    const int64_t begin = (task - transpositions) % packs_a_chunk * pack_columns;
    const int64_t depth = std::min(kTokensPerChunk, tokens - chunk * kTokensPerChunk);
    pack_transposed(x + chunk * kTokensPerChunk * x_stride, x_stride, k, depth, begin,
                    std::min(begin + pack_columns, k), right + chunk * right_bytes);
  });

  const int64_t step = equal_parts(n, 64);
  const int64_t blocks = (n + step - 1) / step;
  const int64_t columns = columns_at_once();
  const int64_t column_blocks = (k + columns - 1) / columns;
  context_.pool.run(parts * blocks * column_blocks, context_.threads, [&](int64_t task) {
    const int64_t part = task / (blocks * column_blocks);
    if (!dw[part]) return;
    const int64_t row = task / column_blocks % blocks * step, rows = std::min(step, n - row);
    const int64_t column = task % column_blocks * columns, column_end = std::min(column + columns, k);
    float* c = dw[part] + row * k + column;
    for (int64_t chunk = 0; chunk < chunks; ++chunk) {
      const int64_t depth = std::min(kTokensPerChunk, tokens - chunk * kTokensPerChunk);
      const T* a = left + (chunk * all_n + part * part_stride + row) * kTokensPerChunk;
      product().run(a, kTokensPerChunk, right + chunk * right_bytes, rows, k, depth, column, column_end, c, k,
                    chunk > 0);
    }
  });
}

template class Products<float>;
template class Products<bf16>;
template void Products<float>::weight_gradient(const float*, int64_t, int64_t, int64_t, const float*, int64_t, int64_t,
                                               int64_t, float* const*, int64_t) const;
template void Products<bf16>::weight_gradient(const bf16*, int64_t, int64_t, int64_t, const float*, int64_t, int64_t,
                                              int64_t, float* const*, int64_t) const;
template void Products<bf16>::weight_gradient(const bf16*, int64_t, int64_t, int64_t, const bf16*, int64_t, int64_t,
                                              int64_t, float* const*, int64_t) const;

}  // namespace whittle
