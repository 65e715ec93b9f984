// How fast this ISA multiplies from tiles: what a product is measured against.
#include "kernels/amx/tiles.h"
#include "kernels/kernel_table.h"

namespace whittle::amx {

namespace {

// 16 rows x 16 columns x 64 bytes an instruction.
int64_t peak_s8(int64_t rounds) {
  TileConfig config = two_by_two(16, 16);
  WHITTLE_TILE_CONFIGURE(&config);
  for (int64_t round = 0; round < rounds; ++round) {
    WHITTLE_TILE_MULTIPLY_U8_S8(0, 4, 6);
    WHITTLE_TILE_MULTIPLY_U8_S8(1, 4, 7);
    WHITTLE_TILE_MULTIPLY_U8_S8(2, 5, 6);
    WHITTLE_TILE_MULTIPLY_U8_S8(3, 5, 7);
  }
  WHITTLE_TILE_RELEASE();
  return rounds * 4 * 16 * 16 * 64 * 2;
}

int64_t peak_bf16(int64_t rounds) {
  TileConfig config = two_by_two(16, 16);
  WHITTLE_TILE_CONFIGURE(&config);
  for (int64_t round = 0; round < rounds; ++round) {
    WHITTLE_TILE_MULTIPLY_BF16(0, 4, 6);
    WHITTLE_TILE_MULTIPLY_BF16(1, 4, 7);
    WHITTLE_TILE_MULTIPLY_BF16(2, 5, 6);
    WHITTLE_TILE_MULTIPLY_BF16(3, 5, 7);
  }
  WHITTLE_TILE_RELEASE();
  return rounds * 4 * 16 * 16 * 32 * 2;
}

}  // namespace

void add_peak(KernelTable& table) {
  table.peak_s8 = peak_s8;
  table.peak_bf16 = peak_bf16;
}

}  // namespace whittle::amx
