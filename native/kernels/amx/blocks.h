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

// A[rows, steps * 64 bytes] times one panel: `Tiles::header_bytes` of what sums begin with, then the two tiles of each
// step side by side (2048 bytes a step).
// `Tiles` multiplies: tile numbers are part of the instructions, so there is one function a pair of products.
// `beside` is called when all products are on their way to the tile unit, before anything waits for their sums.
template <typename TC, typename Tiles, typename Beside>
void multiply_block(const char* a, int64_t a_bytes, const char* panel, int64_t steps, int64_t rows, int64_t columns,
                    TC* c, int64_t c_stride, bool accumulate, const Beside& beside) {
  const bool two_row_blocks = rows > 16;
  Tiles::begin_sums(panel);
  panel += Tiles::header_bytes;
  const char* a_second = a + 16 * a_bytes;
  for (int64_t s = 0; s < steps; ++s) {
    WHITTLE_TILE_LOAD(4, a + s * 64, a_bytes);
    WHITTLE_TILE_LOAD(6, panel + s * 2 * kTileBytes, 64);
    WHITTLE_TILE_LOAD(7, panel + s * 2 * kTileBytes + kTileBytes, 64);
    Tiles::multiply_first_rows();
    if (two_row_blocks) {
      WHITTLE_TILE_LOAD(5, a_second + s * 64, a_bytes);
      Tiles::multiply_second_rows();
    }
  }
  beside();
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

// PackedProduct::run and run_beside for elements of `TA`; packed panels are `steps` x 2 tiles.
template <typename TA, typename TC, typename Tiles, typename Beside>
void run_blocks(const TA* a, int64_t a_stride, const void* packed, int64_t m, int64_t k, int64_t n_begin, int64_t n_end,
                TC* c, int64_t c_stride, bool accumulate, const Beside& beside) {
  const int64_t steps = padded_k(k) * static_cast<int64_t>(sizeof(TA)) / 64,
                panel_bytes = Tiles::header_bytes + steps * 2 * kTileBytes;
  const int64_t a_bytes = a_stride * static_cast<int64_t>(sizeof(TA));
  const char* panels = static_cast<const char*>(packed);
  const int64_t whole = m / kRows * kRows, rest = m - whole;
  auto rows_from = [&](int64_t row, int64_t rows, int64_t j) {
    multiply_block<TC, Tiles>(reinterpret_cast<const char*>(a + row * a_stride), a_bytes,
                              panels + j / kPanel * panel_bytes, steps, rows, n_end - j,
                              c + row * c_stride + (j - n_begin), c_stride, accumulate, beside);
  };
  if (whole > 0) {
    TileConfig config = two_by_two(16, 16);
    WHITTLE_TILE_CONFIGURE(&config);
    for (int64_t j = n_begin; j < n_end; j += kPanel) {
      for (int64_t row = 0; row < whole; row += kRows) rows_from(row, kRows, j);
    }
  }
  if (rest > 0) {
    TileConfig config = two_by_two(rest < 16 ? static_cast<int>(rest) : 16, static_cast<int>(rest) - 16);
    WHITTLE_TILE_CONFIGURE(&config);
    for (int64_t j = n_begin; j < n_end; j += kPanel) rows_from(whole, rest, j);
  }
  WHITTLE_TILE_RELEASE();
}

}  // namespace

}  // namespace whittle::amx
