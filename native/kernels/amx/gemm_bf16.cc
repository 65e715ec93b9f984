// bf16 product with tdpbf16ps: 16 x 16 sums of 32 products an instruction, accumulated in float32.
// Packed: panels of 32 rows of W; a panel is padded_k(k) / 32 steps of two tiles (rows 0 to 15, rows 16 to 31) of 1024
// bytes, in which element (r, c) lies at c / 2 * 32 + r * 2 + c % 2 (counted in elements).
#include "kernels/amx/blocks.h"
#include "kernels/vnni/bf16_rows.h"

namespace whittle::amx {

namespace {

struct Bf16Tiles {
  static constexpr int64_t header_bytes = 0;
  static void begin_sums(const char*) {
    WHITTLE_TILE_ZERO(0);
    WHITTLE_TILE_ZERO(1);
    WHITTLE_TILE_ZERO(2);
    WHITTLE_TILE_ZERO(3);
  }
  static void multiply_first_rows() {
    WHITTLE_TILE_MULTIPLY_BF16(0, 4, 6);
    WHITTLE_TILE_MULTIPLY_BF16(1, 4, 7);
  }
  static void multiply_second_rows_left() { WHITTLE_TILE_MULTIPLY_BF16(2, 5, 6); }
  static void multiply_second_rows_right() { WHITTLE_TILE_MULTIPLY_BF16(3, 5, 7); }
  static __m512i add(__m512i before, __m512i sums) {
    return _mm512_castps_si512(_mm512_add_ps(_mm512_castsi512_ps(before), _mm512_castsi512_ps(sums)));
  }
};

int64_t packed_bytes(int64_t n, int64_t k) {
  return (n + kPanel - 1) / kPanel * kPanel * padded_k(k) * static_cast<int64_t>(sizeof(bf16));
}

template <bool kStream>
void pack_panels(const float* w, int64_t row_stride, int64_t column_stride, int64_t n, int64_t k, int64_t n_begin,
                 int64_t n_end, void* packed) {
  vnni::for_each_part(row_stride, k, n_begin, n_end, kPanel, [&](int64_t j, int64_t c_begin, int64_t c_end) {
    bf16* panel = static_cast<bf16*>(packed) + j * padded_k(k);
    for (int64_t half = 0; half < 2; ++half) {
      // 32 elements a pair of columns; a tile is 16 pairs, and the other half's tile lies between two of ours.
      vnni::pack_16_rows<kStream>(
          w + (j + half * 16) * row_stride, row_stride, column_stride, n - j - half * 16, k, c_begin, c_end,
          [&](int64_t c) { return panel + c / 32 * 1024 + half * 512 + c % 32 / 2 * 32; });
    }
  });
}

void pack(const float* w, int64_t row_stride, int64_t column_stride, int64_t n, int64_t k, int64_t n_begin,
          int64_t n_end, void* packed) {
  pack_panels<false>(w, row_stride, column_stride, n, k, n_begin, n_end, packed);
}

void pack_transposed_bf16(const bf16* x, int64_t x_stride, int64_t n, int64_t k, int64_t n_begin, int64_t n_end,
                          void* packed) {
  vnni::pack_transposed(x, x_stride, n, k, n_begin, n_end, [&](int64_t j, int64_t c, int64_t half) {
    return static_cast<bf16*>(packed) + j * padded_k(k) + c / 32 * 1024 + half * 512 + c % 32 / 2 * 32;
  });
}

void pack_weight_bf16(const float* w, int64_t n, int64_t k, int64_t begin, int64_t end, void* packed,
                      void* transposed) {
  pack_panels<true>(w, k, 1, n, k, begin, end, packed);
  vnni::pack_columns(w, n, k, begin, end, [&](int64_t j, int64_t c, int64_t half) {
    return static_cast<bf16*>(transposed) + j * padded_k(n) + c / 32 * 1024 + half * 512 + c % 32 / 2 * 32;
  });
  _mm_sfence();
}

void run(const bf16* a, int64_t a_stride, const void* packed, int64_t m, int64_t, int64_t k, int64_t n_begin,
         int64_t n_end, float* c, int64_t c_stride, bool accumulate) {
  run_blocks<bf16, float, Bf16Tiles>(a, a_stride, packed, m, k, n_begin, n_end, c, c_stride, accumulate);
}

}  // namespace

void add_gemm_bf16(KernelTable& table) {
  table.gemm_bf16 = {kPanel, kRows, packed_bytes, pack, run, kRows};
  table.gemm_bf16.most_rows = kMostRows;
  table.gemm_bf16.sums_gap = kSumsGap;
  table.pack_transposed_bf16 = pack_transposed_bf16;
  table.pack_weight_bf16 = pack_weight_bf16;
}

}  // namespace whittle::amx
