// The tile instructions of AMX in plain C++, after their pseudocode in Intel's manual, so that the AMX kernels' sources
// run on every machine. One set of tiles a thread, as in the CPU.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>

namespace whittle::amx_emulation {

struct Tiles {
  bool configured = false;
  int rows[8] = {};
  int row_bytes[8] = {};
  alignas(64) uint8_t bytes[8][16][64] = {};
};

inline Tiles& tiles() {
  static thread_local Tiles state;
  return state;
}

// What would be a fault of the CPU ends the test program.
inline void require(bool condition) {
  if (!condition) std::abort();
}

inline void configure(const void* operand) {
  const uint8_t* bytes = static_cast<const uint8_t*>(operand);
  Tiles& t = tiles();
  require(bytes[0] == 1);
  for (int i = 0; i < 8; ++i) {
    uint16_t width;
    std::memcpy(&width, bytes + 16 + 2 * i, sizeof width);
    t.rows[i] = bytes[48 + i];
    t.row_bytes[i] = width;
    require(t.rows[i] <= 16 && width <= 64);
  }
  std::memset(t.bytes, 0, sizeof t.bytes);
  t.configured = true;
}

inline void release() {
  tiles().configured = false;
}

inline void zero(int tile) {
  require(tiles().configured);
  std::memset(tiles().bytes[tile], 0, sizeof tiles().bytes[tile]);
}

inline void load(int tile, const void* from, int64_t stride) {
  Tiles& t = tiles();
  require(t.configured);
  zero(tile);
  for (int r = 0; r < t.rows[tile]; ++r) {
    std::memcpy(t.bytes[tile][r], static_cast<const uint8_t*>(from) + r * stride,
                static_cast<size_t>(t.row_bytes[tile]));
  }
}

inline void store(int tile, void* to, int64_t stride) {
  Tiles& t = tiles();
  require(t.configured);
  for (int r = 0; r < t.rows[tile]; ++r) {
    std::memcpy(static_cast<uint8_t*>(to) + r * stride, t.bytes[tile][r], static_cast<size_t>(t.row_bytes[tile]));
  }
}

// sum[m][n] += the products of group k of a's row m with group n of b's row k, for all k.
template <typename Sum, typename Left, typename Right = Left, typename MultiplyGroup>
void multiply(int sum, int a, int b, MultiplyGroup multiply_group) {
  Tiles& t = tiles();
  require(t.configured && t.rows[sum] == t.rows[a] && t.row_bytes[a] / 4 == t.rows[b] &&
          t.row_bytes[b] == t.row_bytes[sum]);
  for (int m = 0; m < t.rows[a]; ++m) {
    for (int k = 0; k < t.row_bytes[a] / 4; ++k) {
      for (int n = 0; n < t.row_bytes[b] / 4; ++n) {
        Sum value;
        Left left[4 / sizeof(Left)];
        Right right[4 / sizeof(Right)];
        std::memcpy(&value, t.bytes[sum][m] + 4 * n, 4);
        std::memcpy(left, t.bytes[a][m] + 4 * k, 4);
        std::memcpy(right, t.bytes[b][k] + 4 * n, 4);
        value = multiply_group(value, left, right);
        std::memcpy(t.bytes[sum][m] + 4 * n, &value, 4);
      }
    }
  }
}

inline void multiply_u8_s8(int sum, int a, int b) {
  multiply<int32_t, uint8_t, int8_t>(sum, a, b, [](int32_t value, const uint8_t* left, const int8_t* right) {
    for (int i = 0; i < 4; ++i) value += left[i] * right[i];
    return value;
  });
}

inline void multiply_bf16(int sum, int a, int b) {
  auto wide = [](uint16_t x) {
    uint32_t bits = static_cast<uint32_t>(x) << 16;
    float result;
    std::memcpy(&result, &bits, sizeof result);
    return result;
  };
  multiply<float, uint16_t>(sum, a, b, [&](float value, const uint16_t* left, const uint16_t* right) {
    for (int i = 0; i < 2; ++i) value = __builtin_fmaf(wide(left[i]), wide(right[i]), value);
    return value;
  });
}

}  // namespace whittle::amx_emulation

#define WHITTLE_TILE_CONFIGURE(config) ::whittle::amx_emulation::configure(config)
#define WHITTLE_TILE_RELEASE() ::whittle::amx_emulation::release()
#define WHITTLE_TILE_ZERO(tile) ::whittle::amx_emulation::zero(tile)
#define WHITTLE_TILE_LOAD(tile, from, stride) ::whittle::amx_emulation::load(tile, from, stride)
#define WHITTLE_TILE_STORE(tile, to, stride) ::whittle::amx_emulation::store(tile, to, stride)
#define WHITTLE_TILE_MULTIPLY_U8_S8(sum, a, b) ::whittle::amx_emulation::multiply_u8_s8(sum, a, b)
#define WHITTLE_TILE_MULTIPLY_BF16(sum, a, b) ::whittle::amx_emulation::multiply_bf16(sum, a, b)
