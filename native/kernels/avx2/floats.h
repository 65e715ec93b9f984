// 8 floats, as the kernels of native/kernels/vector/ want them.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "kernels/avx2/erf.h"
#include "kernels/avx2/exp.h"
#include "kernels/avx2/masks.h"
#include "kernels/avx2/transpose.h"

namespace whittle::avx2 {

namespace {

struct Floats {
  using Register = __m256;
  static constexpr int64_t width = 8;
  // Accumulators of a product tile: rows x 2 registers, with two more of the right operand and one of the left.
  static constexpr int tile_rows = 6;

  static Register zero() { return _mm256_setzero_ps(); }
  static Register all(float x) { return _mm256_set1_ps(x); }
  static Register load(const float* p) { return _mm256_loadu_ps(p); }
  static void store(float* p, Register x) { _mm256_storeu_ps(p, x); }
  // The first `count` lanes, 1 <= count <= width; the others are zero, and not stored.
  static Register load_first(const float* p, int64_t count) { return _mm256_maskload_ps(p, first_lanes(count)); }
  static void store_first(float* p, int64_t count, Register x) { _mm256_maskstore_ps(p, first_lanes(count), x); }
  // x in the first `count` lanes, `other` in the rest.
  static Register first_of(int64_t count, Register x, Register other) {
    return _mm256_blendv_ps(other, x, _mm256_castsi256_ps(first_lanes(count)));
  }
  // x where the bit is set, else zero; bits: 1 byte.
  static Register keep(const uint8_t* bits, Register x) {
    const __m256i lane = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    __m256i set = _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32(*bits), lane), lane);
    return _mm256_and_ps(_mm256_castsi256_ps(set), x);
  }
  // x where the byte is not 0, else zero.
  static Register keep_bytes(const uint8_t* bytes, Register x) {
    __m256i mask = _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(bytes)));
    return _mm256_andnot_ps(_mm256_castsi256_ps(_mm256_cmpeq_epi32(mask, _mm256_setzero_si256())), x);
  }

  static Register add(Register a, Register b) { return _mm256_add_ps(a, b); }
  static Register subtract(Register a, Register b) { return _mm256_sub_ps(a, b); }
  static Register multiply(Register a, Register b) { return _mm256_mul_ps(a, b); }
  static Register divide(Register a, Register b) { return _mm256_div_ps(a, b); }
  // a * b + c
  static Register multiply_add(Register a, Register b, Register c) { return _mm256_fmadd_ps(a, b, c); }
  // c - a * b
  static Register subtract_product(Register a, Register b, Register c) { return _mm256_fnmadd_ps(a, b, c); }
  // b where either is not a number.
  static Register maximum(Register a, Register b) { return _mm256_max_ps(a, b); }
  static Register minimum(Register a, Register b) { return _mm256_min_ps(a, b); }
  // a times the sign of x: 0 where x is 0.
  static Register signed_by(Register x, Register a) {
    const Register sign = _mm256_and_ps(x, _mm256_set1_ps(-0.0f));
    return _mm256_and_ps(_mm256_xor_ps(a, sign), _mm256_cmp_ps(x, _mm256_setzero_ps(), _CMP_NEQ_UQ));
  }
  static Register square_root(Register x) { return _mm256_sqrt_ps(x); }
  static Register exponential(Register x) { return exp_ps(x); }
  static Register normal_cdf(Register x) { return normal_cdf_ps(x); }
  // The larger magnitude; a is not negative.
  static Register larger_magnitude(Register a, Register x) {
    return _mm256_max_ps(a, _mm256_andnot_ps(_mm256_set1_ps(-0.0f), x));
  }
  // x where `a` is at least `bound`, else zero.
  static Register keep_from(Register a, float bound, Register x) {
    return _mm256_and_ps(_mm256_cmp_ps(a, _mm256_set1_ps(bound), _CMP_GE_OQ), x);
  }
  static Register from_int32(const int32_t* p) {
    return _mm256_cvtepi32_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  static Register from_int32_first(const int32_t* p, int64_t count) {
    return _mm256_cvtepi32_ps(_mm256_maskload_epi32(p, first_lanes(count)));
  }
  // x * 2^n, n being the lowest bits of r as an integer; x and the result are normal.
  static Register times_power_of_two(Register x, Register r) {
    return add_bits(x, _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(r), 23)));
  }
  // As ref/float16.h has it.
  static Register round_to_f16(Register x) {
    x = minimum(all(65504.0f), maximum(all(-65504.0f), x));
    return _mm256_cvtph_ps(_mm256_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  }
  // The sum as integers of what registers hold.
  static Register add_bits(Register a, Register b) {
    return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(a), _mm256_castps_si256(b)));
  }
  static Register all_bits(int32_t bits) { return _mm256_castsi256_ps(_mm256_set1_epi32(bits)); }
  // What a register holds as integers.
  static Register from_bits(Register x) { return _mm256_cvtepi32_ps(_mm256_castps_si256(x)); }
  // The lowest bytes of all lanes, whose next bytes are zeros, vector by vector: 32 of the one to four given and what
  // comes to that.
  template <int kVectors>
  static void store_low_bytes(uint8_t* p, const Register (&x)[kVectors]) {
    const auto words = [&](int v) {  // of vectors v and v + 1 in turns
      const __m256i even = v < kVectors ? _mm256_castps_si256(x[v < kVectors ? v : 0]) : _mm256_setzero_si256();
      const __m256i odd = v + 1 < kVectors ? _mm256_castps_si256(x[v + 1 < kVectors ? v + 1 : 0]) : even;
      return _mm256_blend_epi16(even, _mm256_slli_epi32(odd, 16), 0xaa);
    };
    const __m256i in_halves = _mm256_setr_epi8(0, 2, 4, 6, 1, 3, 5, 7, 8, 10, 12, 14, 9, 11, 13, 15, 0, 2, 4, 6, 1, 3,
                                               5, 7, 8, 10, 12, 14, 9, 11, 13, 15);
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    const __m256i bytes = _mm256_shuffle_epi8(_mm256_packus_epi16(words(0), words(2)), in_halves);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm256_permutevar8x32_epi32(bytes, order));
  }
  // Lane i: all lanes of x[i] joined by op.
  template <typename Op>
  static Register join_lanes(const Register (&x)[width], const Op& op) {
    return avx2::join_lanes(x, op);
  }
  static float sum(Register x) {
    __m128 half = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    half = _mm_add_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_add_ss(half, _mm_movehdup_ps(half)));
  }
  static float largest(Register x) {
    __m128 half = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    half = _mm_max_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_max_ss(half, _mm_movehdup_ps(half)));
  }
  static double sum_double(Register x) {
    __m256d four =
        _mm256_add_pd(_mm256_cvtps_pd(_mm256_castps256_ps128(x)), _mm256_cvtps_pd(_mm256_extractf128_ps(x, 1)));
    __m128d two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd(four, 1));
    return _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)));
  }

  // y[c * y_stride + r] = x[r * x_stride + c] for c < cols and r < width; rows from `rows` on count as zeros.
  static void transpose(const float* x, int64_t x_stride, int64_t rows, int64_t cols, float* y, int64_t y_stride) {
    for (int64_t c = 0; c < cols; c += 8) {
      __m256 t[8];
      load_transposed(x + c, x_stride, rows, cols - c, t);
      for (int64_t i = 0; i < 8 && c + i < cols; ++i) _mm256_storeu_ps(y + (c + i) * y_stride, t[i]);
    }
  }
};

}  // namespace

}  // namespace whittle::avx2
