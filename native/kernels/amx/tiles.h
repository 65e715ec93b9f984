// The tile instructions. Native tests define WHITTLE_EMULATE_TILES to run the same kernels on CPUs without AMX.
#pragma once

#ifdef WHITTLE_EMULATE_TILES
#include "test/amx_emulation.h"
#else
#include <immintrin.h>
// Not _tile_loadconfig, whose operand is 8 bytes in GCC's header (12): the compiler then drops what was stored behind
// them, tiles have no rows, and the next instruction on them is an illegal one.
#define WHITTLE_TILE_CONFIGURE(config) __asm__ volatile("ldtilecfg %0" ::"m"(*(config)))
#define WHITTLE_TILE_RELEASE() _tile_release()
#define WHITTLE_TILE_ZERO(tile) _tile_zero(tile)
#define WHITTLE_TILE_LOAD(tile, from, stride) _tile_loadd(tile, from, stride)
#define WHITTLE_TILE_STORE(tile, to, stride) _tile_stored(tile, to, stride)
#define WHITTLE_TILE_MULTIPLY_U8_S8(sum, a, b) _tile_dpbusd(sum, a, b)
#define WHITTLE_TILE_MULTIPLY_BF16(sum, a, b) _tile_dpbf16ps(sum, a, b)
#endif

#include <cstdint>

namespace whittle::amx {

namespace {

// The operand of ldtilecfg (Intel SDM, volume 1, chapter 18).
struct alignas(64) TileConfig {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};
};

// Tiles 0 to 3: sums of 2 x 2 blocks; 4 and 5: two blocks of rows of A; 6 and 7: two blocks of columns of W. Rows of
// 64 bytes everywhere; the first blocks of A and its sums have `first` rows, the second `second` (at most 16).
inline TileConfig two_by_two(int first, int second) {
  TileConfig config;
  for (int tile = 0; tile < 8; ++tile) {
    config.row_bytes[tile] = 64;
    bool second_rows = tile == 2 || tile == 3 || tile == 5;
    config.rows[tile] = static_cast<uint8_t>(tile >= 6 ? 16 : second_rows ? (second > 0 ? second : 1) : first);
  }
  return config;
}

}  // namespace

}  // namespace whittle::amx
