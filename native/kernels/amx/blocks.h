// The loop that the int8 and the bf16 product share: blocks of 32 rows of A times panels of 32 rows of W, each as 2 x 2
// tiles, so that every tile that is loaded is multiplied twice.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/amx/tiles.h"
#include "kernels/kernel_table.h"

namespace whittle::amx {

namespace {

constexpr int64_t kPanel = 32;  // rows of W in a panel: two tiles of 16 columns
constexpr int kRows = 32;       // rows of A in a block: two tiles
constexpr int64_t kTileBytes = 1024;
constexpr int64_t kMostRows = 192, kSumsGap = 16;  // of products whose W and sums are more than L2 and L1 hold

// Adds or copies tile sums [rows, 16] (64-byte rows) to c, `columns` of which exist.
template <typename Tiles, typename TC>
inline void take_tile(const TC* tile, int64_t rows, int64_t columns, TC* c, int64_t c_stride, bool accumulate) {
  if (columns <= 0) return;
  __mmask16 mask = columns >= 16 ? 0xffff : static_cast<__mmask16>((1u << columns) - 1);
  for (int64_t r = 0; r < rows; ++r) {
    __m512i sums = _mm512_load_si512(tile + r * 16);
    TC* to = c + r * c_stride;
    if (accumulate) {
      __m512i before = _mm512_maskz_loadu_epi32(mask, to);
      sums = Tiles::add(before, sums);
    }
    _mm512_mask_storeu_epi32(to, mask, sums);
  }
}

// Fetches memory into the second-level cache line by line, spread over the steps of products: what no prefetcher of the
// CPU knows of while the panel before it is multiplied again and again.
class Ahead {
 public:
  // `bytes` from `from` on over `steps` steps; nothing if `wanted` is false.
  Ahead(const char* from, int64_t bytes, int64_t steps, bool wanted)
      : next_(from), lines_(wanted ? (bytes / 64 + steps - 1) / steps : 0) {}
  void fetch() {
    for (int64_t line = 0; line < lines_; ++line, next_ += 64) _mm_prefetch(next_, _MM_HINT_T1);
  }

 private:
  const char* next_;
  const int64_t lines_;  // a step
};

// What sums begin with, then A[rows, steps * 64 bytes] times one panel, which is `Tiles::header_bytes` of that and the
// two tiles of each step side by side (2048 bytes a step). Rows from 16 on are there if `two_row_blocks`.
// `Tiles` multiplies: tile numbers are part of the instructions, so there are functions for pairs of them.
template <typename Tiles>
inline void multiply_steps(const char* a, int64_t a_bytes, const char* panel, int64_t steps, bool two_row_blocks,
                           Ahead& ahead) {
  Tiles::begin_sums(panel);
  panel += Tiles::header_bytes;
  const char* a_second = a + 16 * a_bytes;
  if (!two_row_blocks) {
    for (int64_t s = 0; s < steps; ++s, a += 64, panel += 2 * kTileBytes) {
      WHITTLE_TILE_LOAD(4, a, a_bytes);
      WHITTLE_TILE_LOAD(6, panel, 64);
      WHITTLE_TILE_LOAD(7, panel + kTileBytes, 64);
      Tiles::multiply_first_rows();
      ahead.fetch();
    }
    return;
  }
  // Each operand is loaded as soon as the last product that reads the one before it is on its way.
  WHITTLE_TILE_LOAD(4, a, a_bytes);
  WHITTLE_TILE_LOAD(6, panel, 64);
  WHITTLE_TILE_LOAD(7, panel + kTileBytes, 64);
  WHITTLE_TILE_LOAD(5, a_second, a_bytes);
  for (int64_t s = 1; s < steps; ++s) {
    a += 64;
    a_second += 64;
    panel += 2 * kTileBytes;
    Tiles::multiply_first_rows();
    WHITTLE_TILE_LOAD(4, a, a_bytes);
    Tiles::multiply_second_rows_left();
    WHITTLE_TILE_LOAD(6, panel, 64);
    Tiles::multiply_second_rows_right();
    WHITTLE_TILE_LOAD(5, a_second, a_bytes);
    WHITTLE_TILE_LOAD(7, panel + kTileBytes, 64);
    ahead.fetch();
  }
  Tiles::multiply_first_rows();
  Tiles::multiply_second_rows_left();
  Tiles::multiply_second_rows_right();
  ahead.fetch();
}

// C[rows, columns] (+)= A[rows, steps * 64 bytes] times one panel.
template <typename TC, typename Tiles>
void multiply_block(const char* a, int64_t a_bytes, const char* panel, int64_t steps, int64_t rows, int64_t columns,
                    TC* c, int64_t c_stride, bool accumulate, Ahead& ahead) {
  const bool two_row_blocks = rows > 16;
  multiply_steps<Tiles>(a, a_bytes, panel, steps, two_row_blocks, ahead);
  const int64_t first = rows < 16 ? rows : 16;
  // Tiles of which all columns exist go straight to c.
  const bool whole = !accumulate && columns >= 16, second_whole = !accumulate && columns >= kPanel;
  alignas(64) TC sums[16 * 16];
  if (whole) {
    WHITTLE_TILE_STORE(0, c, c_stride * 4);
  } else {
    WHITTLE_TILE_STORE(0, sums, 64);
    take_tile<Tiles>(sums, first, columns, c, c_stride, accumulate);
  }
  if (second_whole) {
    WHITTLE_TILE_STORE(1, c + 16, c_stride * 4);
  } else if (columns > 16) {
    WHITTLE_TILE_STORE(1, sums, 64);
    take_tile<Tiles>(sums, first, columns - 16, c + 16, c_stride, accumulate);
  }
  if (!two_row_blocks) return;
  c += 16 * c_stride;
  if (whole) {
    WHITTLE_TILE_STORE(2, c, c_stride * 4);
  } else {
    WHITTLE_TILE_STORE(2, sums, 64);
    take_tile<Tiles>(sums, rows - 16, columns, c, c_stride, accumulate);
  }
  if (second_whole) {
    WHITTLE_TILE_STORE(3, c + 16, c_stride * 4);
  } else if (columns > 16) {
    WHITTLE_TILE_STORE(3, sums, 64);
    take_tile<Tiles>(sums, rows - 16, columns - 16, c + 16, c_stride, accumulate);
  }
}

// PackedProduct::run for elements of `TA`; packed panels are `steps` x 2 tiles.
template <typename TA, typename TC, typename Tiles>
void run_blocks(const TA* a, int64_t a_stride, const void* packed, int64_t m, int64_t k, int64_t n_begin, int64_t n_end,
                TC* c, int64_t c_stride, bool accumulate) {
  const int64_t steps = padded_k(k) * static_cast<int64_t>(sizeof(TA)) / 64,
                panel_bytes = Tiles::header_bytes + steps * 2 * kTileBytes;
  const int64_t a_bytes = a_stride * static_cast<int64_t>(sizeof(TA));
  const char* panels = static_cast<const char*>(packed);
  // Less than that, as in attention, has just been packed. One block of rows reads W as fast as it could be fetched.
  constexpr int64_t kLeastFetched = 128 << 10;
  const bool fetches = m > kRows && (n_end - n_begin) / kPanel * panel_bytes >= kLeastFetched;
  const int64_t whole = m / kRows * kRows, rest = m - whole;
  const auto multiply = [&](int64_t begin, int64_t end, int64_t rows) {
    for (int64_t j = n_begin; j < n_end; j += kPanel) {
      const char* panel = panels + j / kPanel * panel_bytes;
      // The last panel's successor is another matrix or nothing: fetching is harmless.
      Ahead ahead(panel + panel_bytes, panel_bytes, (end - begin + kRows - 1) / kRows * steps, fetches);
      for (int64_t row = begin; row < end; row += kRows) {
        multiply_block<TC, Tiles>(reinterpret_cast<const char*>(a + row * a_stride), a_bytes, panel, steps, rows,
                                  n_end - j, c + row * c_stride + (j - n_begin), c_stride, accumulate, ahead);
      }
    }
  };
  if (whole > 0) {
    TileConfig config = two_by_two(16, 16);
    WHITTLE_TILE_CONFIGURE(&config);
    multiply(0, whole, kRows);
  }
  if (rest > 0) {
    TileConfig config = two_by_two(rest < 16 ? static_cast<int>(rest) : 16, static_cast<int>(rest) - 16);
    WHITTLE_TILE_CONFIGURE(&config);
    multiply(whole, m, rest);
  }
  WHITTLE_TILE_RELEASE();
}

// Blocks of A whose sums are finished together: 128 rows, sums of 32 KB. Some rows beside each step of the next product
// were slower where it was measured: going from tiles to vectors and back costs some hundred cycles.
constexpr int64_t kFinishedBlocks = kFinishedSums / (kRows * kFinishedStride);

// PackedProduct::run_finishing. Pairs of panels, which all rows are multiplied by, some blocks at a time; a panel stays
// in the first-level cache meanwhile.
template <typename TA, typename TC, typename Tiles>
void run_blocks_finishing(const TA* a, int64_t a_stride, const void* packed, int64_t m, int64_t k, int64_t n_begin,
                          int64_t n_end, TC* sums, const FinishSums<TC>& finish) {
  if (m <= 0) return;
  const int64_t steps = padded_k(k) * static_cast<int64_t>(sizeof(TA)) / 64,
                panel_bytes = Tiles::header_bytes + steps * 2 * kTileBytes;
  const int64_t a_bytes = a_stride * static_cast<int64_t>(sizeof(TA));
  const char* panels = static_cast<const char*>(packed);
  // Blocks of the same number of rows, so that tiles are configured once; the last one may begin with rows that the one
  // before it computes too.
  const int64_t blocks = (m + kRows - 1) / kRows, rows = (m + blocks - 1) / blocks;
  const bool two_row_blocks = rows > 16;
  const auto row_of = [=](int64_t block) { return block * rows < m - rows ? block * rows : m - rows; };
  TileConfig config = two_by_two(two_row_blocks ? 16 : static_cast<int>(rows), static_cast<int>(rows) - 16);
  WHITTLE_TILE_CONFIGURE(&config);
  for (int64_t j = n_begin; j < n_end; j += 2 * kPanel) {
    const int64_t columns = n_end - j < 2 * kPanel ? n_end - j : 2 * kPanel, halves = columns > kPanel ? 2 : 1;
    const char* pair = panels + j / kPanel * panel_bytes;
    Ahead ahead(pair + 2 * panel_bytes, 2 * panel_bytes, blocks * halves * steps, blocks > 1);
    for (int64_t begin = 0; begin < blocks; begin += kFinishedBlocks) {
      const int64_t end = begin + kFinishedBlocks < blocks ? begin + kFinishedBlocks : blocks;
      for (int64_t half = 0; half < halves; ++half) {
        for (int64_t block = begin; block < end; ++block) {
          const char* from = reinterpret_cast<const char*>(a + row_of(block) * a_stride);
          multiply_steps<Tiles>(from, a_bytes, pair + half * panel_bytes, steps, two_row_blocks, ahead);
          TC* to = sums + (row_of(block) - row_of(begin)) * kFinishedStride + half * kPanel;
          WHITTLE_TILE_STORE(0, to, kFinishedStride * 4);
          WHITTLE_TILE_STORE(1, to + 16, kFinishedStride * 4);
          if (two_row_blocks) {
            WHITTLE_TILE_STORE(2, to + 16 * kFinishedStride, kFinishedStride * 4);
            WHITTLE_TILE_STORE(3, to + 16 * kFinishedStride + 16, kFinishedStride * 4);
          }
        }
      }
      // What an earlier group of blocks has finished is not finished again.
      const int64_t first = begin * rows, last = row_of(end - 1) + rows;
      finish.call(finish.context, sums + (first - row_of(begin)) * kFinishedStride, first, last - first, j, columns);
    }
  }
  WHITTLE_TILE_RELEASE();
}

}  // namespace

}  // namespace whittle::amx
