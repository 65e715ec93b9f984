// int8 product with tdpbusd: 16 x 16 sums of 64 products an instruction, exact. A comes as a + 128, for which sums
// begin at -128 times the sum of W's row, or as it is.
// Packed: panels of 32 rows of W; a panel is what sums begin with, int32 [32], then padded_k(k) / 64 steps of two tiles
// (rows 0 to 15, rows 16 to 31) of 1024 bytes, in which element (r, c) lies at c / 4 * 64 + r * 4 + c % 4.
#include "kernels/amx/blocks.h"
#include "kernels/vnni/pack_s8.h"

namespace whittle::amx {

namespace {

struct Int8Tiles {
  static constexpr int64_t header_bytes = kPanel * sizeof(int32_t);
  // All rows of a tile of sums begin with the same 64 bytes.
  static void begin_sums(const char* header) {
    WHITTLE_TILE_LOAD(0, header, 0);
    WHITTLE_TILE_LOAD(1, header + 64, 0);
    WHITTLE_TILE_LOAD(2, header, 0);
    WHITTLE_TILE_LOAD(3, header + 64, 0);
  }
  static void multiply_first_rows() {
    WHITTLE_TILE_MULTIPLY_U8_S8(0, 4, 6);
    WHITTLE_TILE_MULTIPLY_U8_S8(1, 4, 7);
  }
  static void multiply_second_rows_left() { WHITTLE_TILE_MULTIPLY_U8_S8(2, 5, 6); }
  static void multiply_second_rows_right() { WHITTLE_TILE_MULTIPLY_U8_S8(3, 5, 7); }
  static __m512i add(__m512i before, __m512i sums) { return _mm512_add_epi32(before, sums); }
};

int64_t packed_bytes(int64_t n, int64_t k) {
  return (n + kPanel - 1) / kPanel * (Int8Tiles::header_bytes + kPanel * padded_k(k));
}

template <bool kUnsigned>
void pack(const int8_t* w, int64_t row_stride, int64_t column_stride, int64_t n, int64_t k, int64_t n_begin,
          int64_t n_end, void* packed) {
  for (int64_t j = n_begin; j < n_end; j += kPanel) {
    char* begin = static_cast<char*>(packed) + packed_bytes(j, k);
    char* panel = begin + Int8Tiles::header_bytes;
    for (int64_t half = 0; half < 2; ++half) {
      const int64_t row = j + half * 16;
      const __m512i sums =
          vnni::pack_16_rows(w + row * row_stride, row_stride, column_stride, n - row, k, padded_k(k),
                             [&](int64_t c) { return panel + (c / 64 * 2 + half) * kTileBytes + c % 64 * 16; });
      const __m512i times_128 = _mm512_slli_epi32(sums, 7), zero = _mm512_setzero_si512();
      _mm512_store_si512(begin + half * 64, kUnsigned ? zero : _mm512_sub_epi32(zero, times_128));
    }
  }
}

void run(const uint8_t* a, int64_t a_stride, const void* packed, int64_t m, int64_t, int64_t k, int64_t n_begin,
         int64_t n_end, int32_t* c, int64_t c_stride, bool accumulate) {
  run_blocks<uint8_t, int32_t, Int8Tiles>(a, a_stride, packed, m, k, n_begin, n_end, c, c_stride, accumulate);
}

void run_finishing(const uint8_t* a, int64_t a_stride, const void* packed, int64_t m, int64_t, int64_t k,
                   int64_t n_begin, int64_t n_end, int32_t* sums, const FinishSums<int32_t>& finish) {
  run_blocks_finishing<uint8_t, int32_t, Int8Tiles>(a, a_stride, packed, m, k, n_begin, n_end, sums, finish);
}

}  // namespace

void add_gemm_s8(KernelTable& table) {
  table.gemm_s8 = {kPanel,        kRows,      packed_bytes, pack<false>, run, kRows,
                   run_finishing, pack<true>, kMostRows,    kSumsGap};
}

}  // namespace whittle::amx
