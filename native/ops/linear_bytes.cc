#include "ops/linear_bytes.h"

#include <algorithm>

namespace whittle {

namespace {

// A tile of sums, int32 [96, 64], stays in the first-level cache between product and epilogue.
constexpr int64_t kTileRows = 96, kTileColumns = 64;
static_assert(kLinearBytesScratch >= kTileRows * kTileColumns * static_cast<int64_t>(sizeof(int32_t)));

// Calls finish(sums, row, rows, column, columns) for each tile of the product; column counts from n_begin.
template <typename Finish>
void for_each_tile(const LinearBytes& g, int32_t* tile, const KernelTable& kernels, const Finish& finish) {
  const PackedWeight& w = *g.weight;
  const int64_t blocks = (g.m + kTileRows - 1) / kTileRows;
  for (int64_t b = 0; b < blocks; ++b) {
    const int64_t row = g.m * b / blocks, rows = g.m * (b + 1) / blocks - row;
    const ByteRows part = g.rows.from(row);
    for (int64_t column = g.n_begin; column < g.n_end; column += kTileColumns) {
      const int64_t columns = std::min(kTileColumns, g.n_end - column);
      kernels.gemm_s8.run(part.data, part.stride, w.data.as<void>(), rows, w.n, w.k, column, column + columns, tile,
                          kTileColumns, false);
      const SumsS8 sums = {tile,         kTileColumns,           part.scales,   w.scales.data() + column,
                           part.offsets, w.sums.data() + column, part.outliers, w.columns.as<const int8_t>() + column,
                           w.n};
      finish(sums, row, rows, column, columns);
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
  const Arena::Scope scope(arena);
  int32_t* tile = arena.take<int32_t>(kTileRows * kTileColumns);
  for_each_tile(g, tile, kernels, [&](const SumsS8& sums, int64_t row, int64_t rows, int64_t column, int64_t columns) {
    const int64_t at = column - g.n_begin;
    kernels.epilogue_s8(sums, rows, columns, g.bias + column, activation,
                        residual ? residual + row * residual_stride + at : nullptr, residual_stride,
                        y + row * y_stride + at, y_stride);
  });
}

void linear_bytes(const LinearBytes& g, bf16* y, int64_t y_stride, const KernelTable& kernels, Arena& arena) {
  const Arena::Scope scope(arena);
  int32_t* tile = arena.take<int32_t>(kTileRows * kTileColumns);
  float* values = reinterpret_cast<float*>(tile);
  for_each_tile(g, tile, kernels, [&](const SumsS8& sums, int64_t row, int64_t rows, int64_t column, int64_t columns) {
    kernels.epilogue_s8(sums, rows, columns, g.bias + column, Activation::none, nullptr, 0, values, kTileColumns);
    kernels.convert_f32_bf16(values, kTileColumns, rows, columns, y + row * y_stride + column - g.n_begin, y_stride);
  });
}

}  // namespace whittle
