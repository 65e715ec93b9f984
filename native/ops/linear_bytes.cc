#include "ops/linear_bytes.h"

#include <algorithm>

namespace whittle {

namespace {

// A tile of sums, int32 [96, 64], stays in the first-level cache between product and epilogue.
constexpr int64_t kTileRows = 96, kTileColumns = 64, kTileSums = kTileRows * kTileColumns;

// The sums of columns [column, ..) of rows from `row` on, and what belongs to them.
SumsS8 sums_of(const LinearBytes& g, const int32_t* sums, int64_t row, int64_t column) {
  const PackedWeight& w = *g.weight;
  const ByteRows rows = g.rows.from(row);
  return {sums,
          kTileColumns,
          rows.scales,
          w.scales.data() + column,
          rows.offsets,
          w.sums.data() + column,
          rows.outliers,
          w.columns.as<const int8_t>() + column,
          w.n};
}

// Tiles of a product that are finished by finish(sums, row, rows, column, columns), which may write over the sums.
template <typename Finish>
void for_each_tile(const LinearBytes& g, const KernelTable& kernels, Arena& arena, const Finish& finish) {
  static_assert(kLinearBytesScratch >= kTileSums * static_cast<int64_t>(sizeof(int32_t)));
  static_assert(kLinearBytesScratch >= kFinishedSums * static_cast<int64_t>(sizeof(int32_t)));
  static_assert(kTileColumns == kFinishedStride);
  const Arena::Scope scope(arena);
  int32_t* const sums = arena.take<int32_t>(std::max(kTileSums, kFinishedSums));
  const PackedWeight& w = *g.weight;
  const auto& product = kernels.gemm_s8;
  if (product.run_finishing) {
    const auto finish_part = [&](const int32_t* part, int64_t row, int64_t rows, int64_t column, int64_t columns) {
      finish(sums_of(g, part, row, column), row, rows, column, columns);
    };
    using Part = decltype(finish_part);
    const FinishSums<int32_t> callback = {
        [](void* self, int32_t* part, int64_t row, int64_t rows, int64_t column, int64_t columns) {
          (*static_cast<const Part*>(self))(part, row, rows, column, columns);
        },
        const_cast<void*>(static_cast<const void*>(&finish_part))};
    product.run_finishing(g.rows.data, g.rows.stride, w.data.as<void>(), g.m, w.n, w.k, g.n_begin, g.n_end, sums,
                          callback);
    return;
  }
  const int64_t blocks = (g.m + kTileRows - 1) / kTileRows;
  for (int64_t b = 0; b < blocks; ++b) {
    const int64_t row = g.m * b / blocks, rows = g.m * (b + 1) / blocks - row;
    const ByteRows part = g.rows.from(row);
    for (int64_t column = g.n_begin; column < g.n_end; column += kTileColumns) {
      const int64_t columns = std::min(kTileColumns, g.n_end - column);
      product.run(part.data, part.stride, w.data.as<void>(), rows, w.n, w.k, column, column + columns, sums,
                  kTileColumns, false);
      finish(sums_of(g, sums, row, column), row, rows, column, columns);
    }
  }
}

}  // namespace

ByteRows ByteRows::take(Arena& arena, int64_t rows, int64_t k, bool with_offsets, bool with_outliers) {
  ByteRows result;
  // An odd number of cache lines apart: rows that a kernel reads side by side fall into different sets.
  result.stride = (padded_k(k) / 64 | 1) * 64;
  result.data = arena.take<uint8_t>(rows * result.stride);
  result.scales = arena.take<float>(rows);
  if (with_offsets) result.offsets = arena.take<int32_t>(rows);
  if (with_outliers) result.outliers = arena.take<RowOutliers>(rows);
  return result;
}

ByteRows ByteRows::from(int64_t row) const {
  return {data + row * stride, stride, scales + row, offsets ? offsets + row : nullptr,
          outliers ? outliers + row : nullptr};
}

void linear_bytes(const LinearBytes& g, Activation activation, const float* residual, int64_t residual_stride, float* y,
                  int64_t y_stride, const KernelTable& kernels, Arena& arena) {
  for_each_tile(g, kernels, arena,
                [&](const SumsS8& sums, int64_t row, int64_t rows, int64_t column, int64_t columns) {
                  const int64_t at = column - g.n_begin;
                  kernels.epilogue_s8(sums, rows, columns, g.bias + column, activation,
                                      residual ? residual + row * residual_stride + at : nullptr, residual_stride,
                                      y + row * y_stride + at, y_stride);
                });
}

namespace {

// Columns [begin, end) of W, whole heads, from values [rows, end - begin].
void quantize_heads(const float* values, int64_t stride, int64_t rows, int64_t begin, int64_t end, const HeadRows& y,
                    const KernelTable& kernels) {
  const auto quantize = [&](int64_t first, int64_t last, uint8_t flip) {
    if (first >= last) return;
    kernels.quantize_heads_s8(values + first - begin, stride, rows, (last - first) / y.head_size, y.head_size, flip,
                              y.data + first, y.stride, y.scales + first / y.head_size * y.scale_stride,
                              y.scale_stride);
  };
  quantize(begin, std::min(end, y.flipped), 0x80);
  quantize(std::max(begin, y.flipped), end, 0);
}

}  // namespace

void linear_bytes(const LinearBytes& g, const HeadRows& y, const KernelTable& kernels, Arena& arena) {
  if (kTileColumns % y.head_size == 0 && g.n_begin % kTileColumns == 0) {
    for_each_tile(g, kernels, arena,
                  [&](const SumsS8& sums, int64_t row, int64_t rows, int64_t column, int64_t columns) {
                    // In their place.
                    float* values = reinterpret_cast<float*>(const_cast<int32_t*>(sums.sums));
                    kernels.epilogue_s8(sums, rows, columns, g.bias + column, Activation::none, nullptr, 0, values,
                                        kTileColumns);
                    quantize_heads(values, kTileColumns, rows, column, column + columns, y.from(row), kernels);
                  });
    return;
  }
  const Arena::Scope scope(arena);
  const int64_t columns = g.n_end - g.n_begin;
  float* values = arena.take<float>(g.m * columns);
  linear_bytes(g, Activation::none, nullptr, 0, values, columns, kernels, arena);
  quantize_heads(values, columns, g.m, g.n_begin, g.n_end, y, kernels);
}

}  // namespace whittle
