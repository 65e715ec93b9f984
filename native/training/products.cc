#include "training/products.h"

#include <algorithm>

namespace whittle {

namespace {

constexpr int64_t kTokensPerChunk = 512;  // of the sums of a weight gradient; a multiple of kPadK
constexpr int64_t kTransposedRows = 64;   // one task of a transposition

int64_t multiple_near(int64_t target, int64_t unit) {
  return std::max<int64_t>(1, (target + unit / 2) / unit) * unit;
}

}  // namespace

Products::Products(Precision precision, const Context& context)
    : context_(context), bf16_(precision == Precision::bfloat16 && context.kernels.native_bf16) {}

int64_t Products::block_rows(int64_t rows) const {
  return multiple_near(rows >= 1024 ? 64 : 32, inner_rows());
}

int64_t Products::packed_bytes(int64_t n, int64_t k) const {
  return bf16_ ? context_.kernels.gemm_bf16.packed_bytes(n, k) : context_.kernels.gemm_f32.packed_bytes(n, k);
}

void Products::pack_panels(const float* w, int64_t row_stride, int64_t column_stride, int64_t n, int64_t k,
                           int64_t n_begin, int64_t n_end, void* packed) const {
  if (bf16_) {
    context_.kernels.gemm_bf16.pack(w, row_stride, column_stride, n, k, n_begin, n_end, packed);
  } else {
    context_.kernels.gemm_f32.pack(w, row_stride, column_stride, n, k, n_begin, n_end, packed);
  }
}

PackedMatrix Products::pack(const float* w, int64_t row_stride, int64_t column_stride, int64_t n, int64_t k) const {
  void* packed = context_.arena.take<char>(packed_bytes(n, k));
  context_.pool.split(n, panel(), context_.threads, [&](int64_t begin, int64_t end) {
    pack_panels(w, row_stride, column_stride, n, k, begin, end, packed);
  });
  return {packed, n, k};
}

void Products::multiply(const float* a, int64_t a_stride, int64_t m, const PackedMatrix& w, float* c, int64_t c_stride,
                        bool accumulate) const {
  if (!bf16_) {
    context_.kernels.gemm_f32.run(a, a_stride, w.data, m, w.n, w.k, 0, w.n, c, c_stride, accumulate);
    return;
  }
  Arena::Scope scope(thread_arena());
  const int64_t rounded_stride = padded_k(w.k);
  bf16* rounded = thread_arena().take<bf16>(m * rounded_stride);
  context_.kernels.convert_f32_bf16(a, a_stride, m, w.k, rounded, rounded_stride);
  context_.kernels.gemm_bf16.run(rounded, rounded_stride, w.data, m, w.n, w.k, 0, w.n, c, c_stride, accumulate);
}

void Products::weight_gradient(const float* dy, int64_t dy_stride, int64_t n, const float* x, int64_t k, int64_t tokens,
                               float* const* dw, int64_t parts) const {
  if (std::all_of(dw, dw + parts, [](const float* part) { return part == nullptr; })) return;
  Arena::Scope scope(context_.arena);
  const KernelTable& kernels = context_.kernels;
  const int64_t chunks = (tokens + kTokensPerChunk - 1) / kTokensPerChunk;
  const int64_t element = bf16_ ? sizeof(bf16) : sizeof(float);
  const int64_t all_n = parts * n;

  // left: [chunks, all_n, kTokensPerChunk], dy transposed; right: [chunks], x [tokens of the chunk, k] packed as [k,
  // tokens].
  char* left = context_.arena.take<char>(chunks * all_n * kTokensPerChunk * element);
  const int64_t right_bytes = packed_bytes(k, kTokensPerChunk);
  char* right = context_.arena.take<char>(chunks * right_bytes);
  const int64_t transpositions = (tokens + kTransposedRows - 1) / kTransposedRows;
  const int64_t pack_columns = multiple_near(128, panel());
  const int64_t packs_a_chunk = (k + pack_columns - 1) / pack_columns;
  context_.pool.run(transpositions + chunks * packs_a_chunk, context_.threads, [&](int64_t task) {
    if (task < transpositions) {
      const int64_t begin = task * kTransposedRows, rows = std::min(kTransposedRows, tokens - begin);
      const int64_t chunk = begin / kTokensPerChunk;
      const int64_t at = chunk * all_n * kTokensPerChunk + begin % kTokensPerChunk;
      if (bf16_) {
        kernels.transpose_f32_bf16(dy + begin * dy_stride, dy_stride, rows, all_n, reinterpret_cast<bf16*>(left) + at,
                                   kTokensPerChunk);
      } else {
        kernels.transpose_f32(dy + begin * dy_stride, dy_stride, rows, all_n, reinterpret_cast<float*>(left) + at,
                              kTokensPerChunk);
      }
      return;
    }
    const int64_t chunk = (task - transpositions) / packs_a_chunk;
    const int64_t begin = (task - transpositions) % packs_a_chunk * pack_columns;
    const int64_t depth = std::min(kTokensPerChunk, tokens - chunk * kTokensPerChunk);
    pack_panels(x + chunk * kTokensPerChunk * k, 1, k, k, depth, begin, std::min(begin + pack_columns, k),
                right + chunk * right_bytes);
  });

  const int64_t step = multiple_near(64, inner_rows());
  const int64_t blocks = (n + step - 1) / step;
  const int64_t columns = multiple_near(384, panel());
  const int64_t column_blocks = (k + columns - 1) / columns;
  context_.pool.run(parts * blocks * column_blocks, context_.threads, [&](int64_t task) {
    const int64_t part = task / (blocks * column_blocks);
    if (!dw[part]) return;
    const int64_t row = task / column_blocks % blocks * step, rows = std::min(step, n - row);
    const int64_t column = task % column_blocks * columns, column_end = std::min(column + columns, k);
    float* c = dw[part] + row * k + column;
    for (int64_t chunk = 0; chunk < chunks; ++chunk) {
      const int64_t depth = std::min(kTokensPerChunk, tokens - chunk * kTokensPerChunk);
      const char* a = left + (chunk * all_n + part * n + row) * kTokensPerChunk * element;
      const char* b = right + chunk * right_bytes;
      if (bf16_) {
        kernels.gemm_bf16.run(reinterpret_cast<const bf16*>(a), kTokensPerChunk, b, rows, k, depth, column, column_end,
                              c, k, chunk > 0);
      } else {
        kernels.gemm_f32.run(reinterpret_cast<const float*>(a), kTokensPerChunk, b, rows, k, depth, column, column_end,
                             c, k, chunk > 0);
      }
    }
  });
}

}  // namespace whittle
