// 16 floats, as the kernels of native/kernels/vector/ want them.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

#include "kernels/avx512/erf.h"
#include "kernels/avx512/exp.h"
#include "kernels/avx512/transpose.h"

namespace whittle::avx512 {

namespace {

struct Floats {
  using Register = __m512;
  static constexpr int64_t width = 16;
  // Accumulators of a product tile: rows x 2 registers, with two more of the right operand and one of the left.
  static constexpr int tile_rows = 12;

  static __mmask16 first(int64_t count) { return static_cast<__mmask16>((1u << count) - 1); }

  static Register zero() { return _mm512_setzero_ps(); }
  static Register all(float x) { return _mm512_set1_ps(x); }
  static Register load(const float* p) { return _mm512_loadu_ps(p); }
  static void store(float* p, Register x) { _mm512_storeu_ps(p, x); }
  // The first `count` lanes, 1 <= count <= width; the others are zero, and not stored.
  static Register load_first(const float* p, int64_t count) { return _mm512_maskz_loadu_ps(first(count), p); }
  static void store_first(float* p, int64_t count, Register x) { _mm512_mask_storeu_ps(p, first(count), x); }
  // x in the first `count` lanes, `other` in the rest.
  static Register first_of(int64_t count, Register x, Register other) {
    return _mm512_mask_mov_ps(other, first(count), x);
  }
  // x where the bit is set, else zero; bits: 2 bytes.
  static Register keep(const uint8_t* bits, Register x) {
    uint16_t mask;
    std::memcpy(&mask, bits, sizeof mask);
    return _mm512_maskz_mov_ps(mask, x);
  }
  // x where the byte is not 0, else zero.
  static Register keep_bytes(const uint8_t* bytes, Register x) {
    __m128i mask = _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes));
    return _mm512_maskz_mov_ps(_mm_test_epi8_mask(mask, mask), x);
  }

  static Register add(Register a, Register b) { return _mm512_add_ps(a, b); }
  static Register subtract(Register a, Register b) { return _mm512_sub_ps(a, b); }
  static Register multiply(Register a, Register b) { return _mm512_mul_ps(a, b); }
  static Register divide(Register a, Register b) { return _mm512_div_ps(a, b); }
  // a * b + c
  static Register multiply_add(Register a, Register b, Register c) { return _mm512_fmadd_ps(a, b, c); }
  // c - a * b
  static Register subtract_product(Register a, Register b, Register c) { return _mm512_fnmadd_ps(a, b, c); }
  // b where either is not a number.
  static Register maximum(Register a, Register b) { return _mm512_max_ps(a, b); }
  static Register minimum(Register a, Register b) { return _mm512_min_ps(a, b); }
  // a times the sign of x: 0 where x is 0.
  static Register signed_by(Register x, Register a) {
    const Register sign = _mm512_and_ps(x, _mm512_set1_ps(-0.0f));
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_NEQ_UQ), _mm512_xor_ps(a, sign));
  }
  static Register square_root(Register x) { return _mm512_sqrt_ps(x); }
  static Register exponential(Register x) { return exp_ps(x); }
  static Register normal_cdf(Register x) { return normal_cdf_ps(x); }
  // The larger magnitude; a is not negative.
  static Register larger_magnitude(Register a, Register x) {
    constexpr int kLarger = 3, kPositive = 2 << 2;
    return _mm512_range_ps(a, x, kPositive | kLarger);
  }
  // x where `a` is at least `bound`, else zero.
  static Register keep_from(Register a, float bound, Register x) {
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(a, _mm512_set1_ps(bound), _CMP_GE_OQ), x);
  }
  static Register from_int32(const int32_t* p) { return _mm512_cvtepi32_ps(_mm512_loadu_si512(p)); }
  static Register from_int32_first(const int32_t* p, int64_t count) {
    return _mm512_cvtepi32_ps(_mm512_maskz_loadu_epi32(first(count), p));
  }
  // x * 2^n, n being the lowest bits of r as an integer; x and the result are normal.
  static Register times_power_of_two(Register x, Register r) { return add_bits(x, shifted_bits(r)); }
  // As ref/float16.h has it.
  static Register round_to_f16(Register x) {
    x = minimum(all(65504.0f), maximum(all(-65504.0f), x));
    return _mm512_cvtph_ps(_mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  }
  // The sum as integers of what registers hold.
  static Register add_bits(Register a, Register b) {
    return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(a), _mm512_castps_si512(b)));
  }
  static Register all_bits(int32_t bits) { return _mm512_castsi512_ps(_mm512_set1_epi32(bits)); }
  // What a register holds as integers.
  static Register from_bits(Register x) { return _mm512_cvtepi32_ps(_mm512_castps_si512(x)); }
  // The lowest bytes of all lanes, vector by vector: 16 of one, or 64 of the two to four given and what comes to that.
  template <int kVectors>
  static void store_low_bytes(uint8_t* p, const Register (&x)[kVectors]) {
    if constexpr (kVectors == 1) {
      _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(_mm512_castps_si512(x[0])));
    } else {
      // Vector v fills group v of four bytes in each quarter, then the groups get into order.
      const __m512i lowest = _mm512_set1_epi32(0x0c080400);
      const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
      __m512i bytes = _mm512_shuffle_epi8(_mm512_castps_si512(x[0]), lowest);
#pragma GCC unroll 3
      for (int v = 1; v < kVectors; ++v) {
        const __mmask64 group = 0x000f000f000f000full << (4 * v);
        bytes = _mm512_mask_shuffle_epi8(bytes, group, _mm512_castps_si512(x[v]), lowest);
      }
      _mm512_storeu_si512(p, _mm512_permutexvar_epi32(order, bytes));
    }
  }
  // Lane i: all lanes of x[i] joined by op.
  template <typename Op>
  static Register join_lanes(const Register (&x)[width], const Op& op) {
    return avx512::join_lanes(x, op);
  }
  static float sum(Register x) {
    return _mm512_reduce_add_ps(x);
  }
  static float largest(Register x) {
    return _mm512_reduce_max_ps(x);
  }
  static double sum_double(Register x) {
    return _mm512_reduce_add_pd(
        _mm512_add_pd(_mm512_cvtps_pd(_mm512_castps512_ps256(x)), _mm512_cvtps_pd(_mm512_extractf32x8_ps(x, 1))));
  }

  static Register shifted_bits(Register r) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_castps_si512(r), 23));
  }

  // y[c * y_stride + r] = x[r * x_stride + c] for c < cols and r < width; rows from `rows` on count as zeros.
  static void transpose(const float* x, int64_t x_stride, int64_t rows, int64_t cols, float* y, int64_t y_stride) {
    transpose_16_rows(x, x_stride, rows, cols, y, y_stride);
  }
};

}  // namespace

}  // namespace whittle::avx512
