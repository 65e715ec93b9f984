// Cuts a product into blocks whose operands and results stay in the second-level cache, and spreads them over threads.
#pragma once

#include <algorithm>
#include <atomic>

#include "ops/context.h"

namespace whittle {

// Left operand rows ready for a product; scales [rows] for bytes, else null; outliers [rows] or null.
template <typename TA>
struct Rows {
  const TA* data;
  int64_t stride;
  const float* scales;
  const RowOutliers* outliers = nullptr;
};

// Part [rows, columns] of a result whose first element is (row, column).
template <typename TC>
struct Tile {
  TC* data;
  int64_t stride;
  int64_t row, column, rows, columns;
  const float* row_scales;
  const RowOutliers* outliers;
};

struct Cut {
  int threads;
  int64_t rows, columns;  // of a block
  int64_t row_blocks, column_blocks;
  bool by_rows;  // a thread takes whole rows of blocks and prepares their left operand itself
};

// With many rows a thread takes blocks of at most `most_rows`: it prepares them once and walks over all of W with them
// in its cache.
// With few rows, blocks are cut in columns too, so that each part of W is read by one thread only.
inline constexpr int64_t kMostColumns = 512;

inline Cut cut_product(int64_t m, int64_t n, int64_t k, int64_t panel, int64_t row_multiple, int64_t most_rows,
                       int threads) {
  constexpr double kLeastWork = 1 << 20;  // multiplications that are worth waking a thread for: some microseconds
  auto rounded_up = [](int64_t value, int64_t multiple) { return (value + multiple - 1) / multiple * multiple; };
  auto parts = [](int64_t count, int64_t part) { return (count + part - 1) / part; };
  double work = static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k);
  Cut cut;
  cut.threads = static_cast<int>(std::clamp(work / kLeastWork, 1.0, static_cast<double>(std::max(1, threads))));
  int64_t rounds = parts(m, most_rows * cut.threads);
  cut.rows = rounded_up(parts(m, rounds * cut.threads), row_multiple);
  cut.by_rows = cut.threads == 1 || parts(m, cut.rows) >= 2 * cut.threads;
  int64_t column_parts = parts(n, kMostColumns);
  if (!cut.by_rows) {
    cut.rows = rounded_up(parts(m, parts(m, 2 * most_rows)), row_multiple);
    column_parts = std::max(column_parts, parts(4 * cut.threads, parts(m, cut.rows)));
  }
  cut.columns = rounded_up(parts(n, column_parts), panel);
  cut.rows = std::min(cut.rows, m);
  cut.row_blocks = parts(m, cut.rows);
  cut.column_blocks = parts(n, cut.columns);
  return cut;
}

// At least as many bytes of the caller's arena as blocked_product takes for up to m rows cut for up to `threads`
// threads, if a prepared row takes row_bytes and results have 4 bytes; panel: with the gap between rows of results.
// (Fewer rows may take more: they are cut otherwise.)
inline int64_t most_product_scratch(int64_t m, int64_t n, int64_t row_bytes, int64_t panel, int64_t row_multiple,
                                    int64_t most_rows, int64_t threads) {
  const int64_t block = std::min(m, 2 * most_rows + row_multiple);
  const int64_t rows = m + 2 * most_rows + (threads + 1) * row_multiple;  // of all blocks that are at work together
  const int64_t tiles = rows * std::max(kMostColumns + panel, n / 4) + threads * block * (panel + 1);
  return 4 * tiles + rows * (row_bytes + 2 * static_cast<int64_t>(kAlignment));
}

// Results go where they belong as they are: c[row * stride + column] (+)= sum.
template <typename TC>
struct DirectTile {
  TC* c;
  int64_t stride;
  bool accumulate;
  static constexpr bool needs_scratch = false;
  TC* begin(int64_t row, int64_t column, TC*) const { return c + row * stride + column; }
  int64_t tile_stride(int64_t) const { return stride; }
  void end(const Tile<TC>&) const {}
};
template <typename TC>
DirectTile<TC> direct_tile(TC* c, int64_t stride, bool accumulate = false) {
  return {c, stride, accumulate};
}

// Results go to scratch memory, from where `finish` takes them while they are in the cache.
template <typename Finish>
struct ScratchTile {
  const Finish& finish;
  int64_t gap;  // elements between rows
  static constexpr bool accumulate = false;
  static constexpr bool needs_scratch = true;
  template <typename TC>
  TC* begin(int64_t, int64_t, TC* scratch) const {
    return scratch;
  }
  int64_t tile_stride(int64_t columns) const { return columns + gap; }
  template <typename TC>
  void end(const Tile<TC>& tile) const {
    finish(tile);
  }
};
template <typename Finish>
ScratchTile<Finish> scratch_tile(const Finish& finish, int64_t gap) {
  return {finish, gap};
}

// C[m, n] = A W^T, block by block. prepare(row, rows, scratch) gives rows of A; `tiles` says where results go.
template <typename TA, typename TW, typename TC, typename Prepare, typename Tiles>
void blocked_product(const PackedProduct<TA, TW, TC>& product, const void* packed, int64_t m, int64_t n, int64_t k,
                     const Cut& cut, const Prepare& prepare, const Tiles& tiles, const Context& context) {
  Arena::Scope scope(context.arena);
  const int64_t line = static_cast<int64_t>(kAlignment);
  const int64_t tile_values = Tiles::needs_scratch ? cut.rows * tiles.tile_stride(cut.columns) : 0;
  const int64_t rows_bytes = (prepare.scratch_bytes(cut.rows, k) + line - 1) / line * line;
  TC* tile_scratch = context.arena.template take<TC>(tile_values * cut.threads);
  char* rows_scratch = context.arena.template take<char>(rows_bytes * (cut.by_rows ? cut.threads : cut.row_blocks));

  auto compute = [&](const Rows<TA>& rows, int64_t row_block, int64_t column_block, TC* scratch) {
    int64_t row = row_block * cut.rows, column = column_block * cut.columns;
    Tile<TC> tile{tiles.begin(row, column, scratch), tiles.tile_stride(cut.columns),    row,         column,
                  std::min(cut.rows, m - row),       std::min(cut.columns, n - column), rows.scales, rows.outliers};
    product.run(rows.data, rows.stride, packed, tile.rows, n, k, column, column + tile.columns, tile.data, tile.stride,
                tiles.accumulate);
    tiles.end(tile);
  };
  auto prepare_block = [&](int64_t row_block, int64_t slot) {
    int64_t row = row_block * cut.rows;
    return prepare(row, std::min(cut.rows, m - row), rows_scratch + slot * rows_bytes);
  };

  // Threads take the next block when they have done one: a thread that the system holds up does not hold up all.
  std::atomic<int64_t> next{0};
  if (cut.by_rows) {
    context.pool.run(cut.threads, cut.threads, [&](int64_t slot) {
      for (int64_t block; (block = next.fetch_add(1)) < cut.row_blocks;) {
        Rows<TA> rows = prepare_block(block, slot);
        for (int64_t column = 0; column < cut.column_blocks; ++column) {
          compute(rows, block, column, tile_scratch + slot * tile_values);
        }
      }
    });
    return;
  }
  Rows<TA>* prepared = context.arena.template take<Rows<TA>>(cut.row_blocks);
  int preparers = rows_bytes > (1 << 16) ? cut.threads : 1;
  context.pool.run(cut.row_blocks, preparers, [&](int64_t block) { prepared[block] = prepare_block(block, block); });
  context.pool.run(cut.threads, cut.threads, [&](int64_t slot) {
    for (int64_t block; (block = next.fetch_add(1)) < cut.row_blocks * cut.column_blocks;) {
      int64_t row_block = block % cut.row_blocks;
      compute(prepared[row_block], row_block, block / cut.row_blocks, tile_scratch + slot * tile_values);
    }
  });
}

}  // namespace whittle
