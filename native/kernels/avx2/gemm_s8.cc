// int8 product by widening to int16 and vpmaddwd, which is exact for all of [-128, 127]. (vpmaddubsw with |a| and
// sign(w, a) needs as many instructions, and would go wrong at w = -128.)
// Packed: panels of 16 rows of W; in a panel, element (r, c) lies at c / 2 * 32 + r * 2 + c % 2, with columns up to an
// even number.
#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#include "kernels/avx2/masks.h"
#include "kernels/kernel_table.h"

namespace whittle::avx2 {

namespace {

constexpr int64_t kPanel = 16;
constexpr int kRows = 6;          // 6 x 2 accumulators in 16 registers
constexpr int64_t kDepth = 1024;  // columns of A widened at once: 6 rows of int16 are 12 KB on the stack

int64_t even(int64_t k) {
  return (k + 1) / 2 * 2;
}

int64_t packed_bytes(int64_t n, int64_t k) {
  return (n + kPanel - 1) / kPanel * kPanel * even(k);
}

void pack(const int8_t* w, int64_t row_stride, int64_t column_stride, int64_t n, int64_t k, int64_t n_begin,
          int64_t n_end, void* packed) {
  for (int64_t j = n_begin; j < n_end; j += kPanel) {
    int8_t* panel = static_cast<int8_t*>(packed) + j * even(k);
    for (int64_t c = 0; c < even(k); ++c) {
      for (int64_t r = 0; r < kPanel; ++r) {
        panel[c / 2 * (kPanel * 2) + r * 2 + c % 2] =
            c < k && j + r < n ? w[(j + r) * row_stride + c * column_stride] : int8_t{0};
      }
    }
  }
}

// Accumulators say what their lanes are, so that GCC keeps them in registers.
typedef int32_t Lanes __attribute__((vector_size(32)));

__m256i load_columns(const int32_t* c, int64_t columns) {
  return columns >= 8 ? _mm256_loadu_si256(reinterpret_cast<const __m256i*>(c))
                      : _mm256_maskload_epi32(c, first_lanes(columns));
}

void store_columns(int32_t* c, int64_t columns, __m256i values) {
  if (columns >= 8) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(c), values);
  } else {
    _mm256_maskstore_epi32(c, first_lanes(columns), values);
  }
}

// C[R, 16] (+)= A[R, depth] * W^T for one panel, of which `columns` columns exist. a: int16, kDepth apart.
template <int R>
void multiply(const int16_t* a, const int8_t* w, int64_t depth, int32_t* c, int64_t c_stride, int64_t columns,
              bool accumulate) {
  Lanes sums[R][2];
#pragma GCC unroll 8
  for (int i = 0; i < R; ++i) {
    sums[i][0] = Lanes{};
    sums[i][1] = Lanes{};
  }
  for (int64_t l = 0; l < depth; l += 2) {
    const __m128i* pairs = reinterpret_cast<const __m128i*>(w + l * kPanel);
    __m256i low = _mm256_cvtepi8_epi16(_mm_loadu_si128(pairs)), high = _mm256_cvtepi8_epi16(_mm_loadu_si128(pairs + 1));
#pragma GCC unroll 8
    for (int i = 0; i < R; ++i) {
      int32_t two;
      __builtin_memcpy(&two, a + i * kDepth + l, sizeof two);
      __m256i values = _mm256_set1_epi32(two);
      sums[i][0] += (Lanes)_mm256_madd_epi16(values, low);
      sums[i][1] += (Lanes)_mm256_madd_epi16(values, high);
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < R; ++i) {
#pragma GCC unroll 2
    for (int v = 0; v < 2; ++v) {
      int32_t* to = c + i * c_stride + v * 8;
      Lanes before = accumulate ? (Lanes)load_columns(to, columns - v * 8) : Lanes{};
      store_columns(to, columns - v * 8, (__m256i)(before + sums[i][v]));
    }
  }
}

using Multiply = void (*)(const int16_t*, const int8_t*, int64_t, int32_t*, int64_t, int64_t, bool);
constexpr Multiply kMultiply[kRows + 1] = {nullptr,     multiply<1>, multiply<2>, multiply<3>,
                                           multiply<4>, multiply<5>, multiply<6>};

void run(const uint8_t* a, int64_t a_stride, const void* packed, int64_t m, int64_t, int64_t k, int64_t n_begin,
         int64_t n_end, int32_t* c, int64_t c_stride, bool accumulate) {
  alignas(32) int16_t wide[kRows * kDepth];
  int64_t blocks = (m + kRows - 1) / kRows;
  for (int64_t block = 0; block < blocks; ++block) {
    int64_t row = m * block / blocks, rows = m * (block + 1) / blocks - row;
    for (int64_t begin = 0; begin == 0 || begin < k; begin += kDepth) {
      int64_t depth = k - begin < kDepth ? even(k - begin) : kDepth;
      // Reads up to padded_k(k) columns, which exist.
      for (int64_t i = 0; i < rows; ++i) {
        for (int64_t l = 0; l < depth; l += 16) {
          const uint8_t* from = a + (row + i) * a_stride + begin + l;
          const __m256i values = _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
          _mm256_store_si256(reinterpret_cast<__m256i*>(wide + i * kDepth + l),
                             _mm256_sub_epi16(values, _mm256_set1_epi16(128)));
        }
      }
      for (int64_t j = n_begin; j < n_end; j += kPanel) {
        kMultiply[rows](wide, static_cast<const int8_t*>(packed) + j * even(k) + begin * kPanel, depth,
                        c + row * c_stride + (j - n_begin), c_stride, n_end - j, accumulate || begin > 0);
      }
    }
  }
}

}  // namespace

void add_gemm_s8(KernelTable& table) {
  table.gemm_s8 = {kPanel, kRows, packed_bytes, pack, run};
}

}  // namespace whittle::avx2
