#include "ops/linear_bytes.h"

#include <algorithm>

namespace whittle {

namespace {

// A tile of sums, int32 [96, 64], stays in the first-level cache between product and epilogue.
constexpr int64_t kTileRows = 96, kTileColumns = 64, kTileSums = kTileRows * kTileColumns;
// Rows of a tile that its epilogue takes at once beside a product: a tile has about as many parts as blocks.
constexpr int64_t kRowsBeside = 16;

// Tiles of a product that are finished by finish(sums, row, rows, column, columns); column counts from n_begin.
template <typename Finish>
class Tiles {
 public:
  Tiles(const LinearBytes& g, const KernelTable& kernels, Arena& arena, const Finish& finish)
      : g_(g), kernels_(kernels), buffers_(arena.take<int32_t>(2 * kTileSums)), finish_(finish) {
    static_assert(kLinearBytesScratch >= 2 * kTileSums * static_cast<int64_t>(sizeof(int32_t)));
  }

  void run() {
    const int64_t blocks = (g_.m + kTileRows - 1) / kTileRows;
    int64_t count = 0;
    for (int64_t b = 0; b < blocks; ++b) {
      const int64_t row = g_.m * b / blocks, rows = g_.m * (b + 1) / blocks - row;
      for (int64_t column = g_.n_begin; column < g_.n_end; column += kTileColumns) {
        const Tile tile = {row, rows, column, std::min(kTileColumns, g_.n_end - column)};
        if (kernels_.gemm_s8.run_beside) {
          multiply_beside(tile, buffers_ + count++ % 2 * kTileSums);
        } else {
          multiply(tile);
        }
      }
    }
    while (finish_part()) {
    }
  }

 private:
  struct Tile {
    int64_t row, rows, column, columns;
  };

  void multiply(const Tile& tile) {
    const PackedWeight& w = *g_.weight;
    const ByteRows part = g_.rows.from(tile.row);
    kernels_.gemm_s8.run(part.data, part.stride, w.data.as<void>(), tile.rows, w.n, w.k, tile.column,
                         tile.column + tile.columns, buffers_, kTileColumns, false);
    finish_(sums_of(tile, buffers_, 0), tile.row, tile.rows, tile.column, tile.columns);
  }

  // The tile before this one is finished part by part beside this one's product.
  void multiply_beside(const Tile& tile, int32_t* buffer) {
    const PackedWeight& w = *g_.weight;
    const ByteRows part = g_.rows.from(tile.row);
    kernels_.gemm_s8.run_beside(
        part.data, part.stride, w.data.as<void>(), tile.rows, w.n, w.k, tile.column, tile.column + tile.columns, buffer,
        kTileColumns, [](void* self) { static_cast<Tiles*>(self)->finish_part(); }, this);
    while (finish_part()) {
    }
    unfinished_ = tile;
    unfinished_sums_ = buffer;
    finished_ = 0;
  }

  // The next rows of the unfinished tile; false if there are none.
  bool finish_part() {
    const int64_t rows = std::min(kRowsBeside, unfinished_.rows - finished_);
    if (rows <= 0) return false;
    finish_(sums_of(unfinished_, unfinished_sums_, finished_), unfinished_.row + finished_, rows, unfinished_.column,
            unfinished_.columns);
    finished_ += rows;
    return true;
  }

  // From row `begin` of the tile on.
  SumsS8 sums_of(const Tile& tile, const int32_t* sums, int64_t begin) const {
    const PackedWeight& w = *g_.weight;
    const ByteRows rows = g_.rows.from(tile.row + begin);
    return {sums + begin * kTileColumns,
            kTileColumns,
            rows.scales,
            w.scales.data() + tile.column,
            rows.offsets,
            w.sums.data() + tile.column,
            rows.outliers,
            w.columns.as<const int8_t>() + tile.column,
            w.n};
  }

  const LinearBytes& g_;
  const KernelTable& kernels_;
  int32_t* const buffers_;  // [2, kTileRows, kTileColumns]
  const Finish& finish_;
  Tile unfinished_{};
  const int32_t* unfinished_sums_ = nullptr;
  int64_t finished_ = 0;  // rows of it
};

template <typename Finish>
void for_each_tile(const LinearBytes& g, const KernelTable& kernels, Arena& arena, const Finish& finish) {
  const Arena::Scope scope(arena);
  Tiles<Finish>(g, kernels, arena, finish).run();
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
