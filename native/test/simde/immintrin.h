// Stands in for <immintrin.h> where kernels for AVX-512 are compiled for a CPU without it: SIMDe's portable forms under
// the names of the intrinsics, and those that SIMDe lacks or misnames, lane by lane.
#pragma once

#include_next <immintrin.h>

#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>

#include <cmath>
#include <cstdint>
#include <cstring>

namespace whittle::simde_missing {

template <typename To, typename From>
To bits_as(const From& from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(&to, &from, sizeof to);
  return to;
}

template <typename T, int N>
struct Lanes {
  T of[N];
};

inline __m512i maskz_load(__mmask16 mask, const void* from) {
  Lanes<int32_t, 16> lanes = {};
  for (int i = 0; i < 16; ++i) {
    if (mask >> i & 1) std::memcpy(&lanes.of[i], static_cast<const char*>(from) + 4 * i, 4);
  }
  return bits_as<__m512i>(lanes);
}

template <typename Vector>
void mask_store(void* to, __mmask16 mask, Vector values) {
  auto lanes = bits_as<Lanes<int32_t, 16>>(values);
  for (int i = 0; i < 16; ++i) {
    if (mask >> i & 1) std::memcpy(static_cast<char*>(to) + 4 * i, &lanes.of[i], 4);
  }
}

template <typename Narrow, typename Result>
Result narrowed(__m512i x) {
  auto lanes = bits_as<Lanes<int32_t, 16>>(x);
  Lanes<Narrow, 16> result;
  for (int i = 0; i < 16; ++i) result.of[i] = static_cast<Narrow>(lanes.of[i]);
  return bits_as<Result>(result);
}

template <typename Narrow, typename Vector>
__m512i widened(Vector x) {
  auto lanes = bits_as<Lanes<Narrow, 16>>(x);
  Lanes<int32_t, 16> result;
  for (int i = 0; i < 16; ++i) result.of[i] = lanes.of[i];
  return bits_as<__m512i>(result);
}

inline __m512 to_floats(__m512i x) {
  auto lanes = bits_as<Lanes<int32_t, 16>>(x);
  Lanes<float, 16> result;
  for (int i = 0; i < 16; ++i) result.of[i] = static_cast<float>(lanes.of[i]);
  return bits_as<__m512>(result);
}

inline __m512i to_integers(__m512 x) {
  auto lanes = bits_as<Lanes<float, 16>>(x);
  Lanes<int32_t, 16> result;
  for (int i = 0; i < 16; ++i) result.of[i] = static_cast<int32_t>(std::nearbyintf(lanes.of[i]));
  return bits_as<__m512i>(result);
}

inline __m512d to_doubles(__m256 x) {
  auto lanes = bits_as<Lanes<float, 8>>(x);
  Lanes<double, 8> result;
  for (int i = 0; i < 8; ++i) result.of[i] = lanes.of[i];
  return bits_as<__m512d>(result);
}

inline uint16_t to_bf16(float x) {
  uint32_t bits = bits_as<uint32_t>(x);
  if (x != x) return static_cast<uint16_t>(bits >> 16 | 0x40);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

inline __m256bh to_bf16(__m512 x) {
  auto lanes = bits_as<Lanes<float, 16>>(x);
  Lanes<uint16_t, 16> result;
  for (int i = 0; i < 16; ++i) result.of[i] = to_bf16(lanes.of[i]);
  return bits_as<__m256bh>(result);
}

inline __m512bh to_bf16(__m512 upper, __m512 lower) {
  Lanes<__m256bh, 2> halves = {{to_bf16(lower), to_bf16(upper)}};
  return bits_as<__m512bh>(halves);
}

// F16C has both for half as many lanes.
inline __m256i to_halves(__m512 x) {
  const auto from = bits_as<Lanes<__m256, 2>>(x);
  Lanes<__m128i, 2> halves;
  for (int i = 0; i < 2; ++i) halves.of[i] = _mm256_cvtps_ph(from.of[i], 0);  // to the nearest, ties to even
  return bits_as<__m256i>(halves);
}
inline __m512 of_halves(__m256i x) {
  const auto halves = bits_as<Lanes<__m128i, 2>>(x);
  Lanes<__m256, 2> to;
  for (int i = 0; i < 2; ++i) to.of[i] = _mm256_cvtph_ps(halves.of[i]);
  return bits_as<__m512>(to);
}

template <typename Lane, int N, typename Vector, typename Combine>
Lane reduced(Vector x, Combine combine) {
  auto lanes = bits_as<Lanes<Lane, N>>(x);
  for (int half = N / 2; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) lanes.of[i] = combine(lanes.of[i], lanes.of[i + half]);
  }
  return lanes.of[0];
}

template <typename Lane, int N, typename Vector>
Lane sum(Vector x) {
  return reduced<Lane, N>(x, [](Lane a, Lane b) { return a + b; });
}

inline float largest(__m512 x) {
  return reduced<float, 16>(x, [](float a, float b) { return a > b ? a : b; });
}

inline __mmask16 test_bytes(__m128i a, __m128i b) {
  auto left = bits_as<Lanes<uint8_t, 16>>(a), right = bits_as<Lanes<uint8_t, 16>>(b);
  unsigned mask = 0;
  for (int i = 0; i < 16; ++i) mask |= static_cast<unsigned>((left.of[i] & right.of[i]) != 0) << i;
  return static_cast<__mmask16>(mask);
}

// `Lane`s whose bit in the mask is set; memory of others is not read.
template <typename Lane, int N, typename Vector>
Vector maskz_load_lanes(uint64_t mask, const void* from) {
  Lanes<Lane, N> lanes = {};
  for (int i = 0; i < N; ++i) {
    if (mask >> i & 1) std::memcpy(&lanes.of[i], static_cast<const char*>(from) + i * sizeof(Lane), sizeof(Lane));
  }
  return bits_as<Vector>(lanes);
}

inline __m512 mask_load(__m512 before, __mmask16 mask, const void* from) {
  auto lanes = bits_as<Lanes<float, 16>>(before);
  for (int i = 0; i < 16; ++i) {
    if (mask >> i & 1) std::memcpy(&lanes.of[i], static_cast<const char*>(from) + i * 4, 4);
  }
  return bits_as<__m512>(lanes);
}

template <typename Lane, int N, typename Vector>
void mask_store_lanes(void* to, uint64_t mask, Vector values) {
  auto lanes = bits_as<Lanes<Lane, N>>(values);
  for (int i = 0; i < N; ++i) {
    if (mask >> i & 1) std::memcpy(static_cast<char*>(to) + i * sizeof(Lane), &lanes.of[i], sizeof(Lane));
  }
}

inline __m512i widened_bytes(__m256i x) {
  auto from = bits_as<Lanes<uint8_t, 32>>(x);
  Lanes<uint16_t, 32> wide;
  for (int i = 0; i < 32; ++i) wide.of[i] = from.of[i];
  return bits_as<__m512i>(wide);
}

// Within each four lanes, as _mm512_permute_ps.
inline __m512 permuted(__m512 x, int order) {
  auto from = bits_as<Lanes<float, 16>>(x), to = from;
  for (int i = 0; i < 16; ++i) to.of[i] = from.of[i / 4 * 4 + (order >> (i % 4 * 2) & 3)];
  return bits_as<__m512>(to);
}

}  // namespace whittle::simde_missing

#define _mm512_maskz_loadu_epi16(mask, from) whittle::simde_missing::maskz_load_lanes<uint16_t, 32, __m512i>(mask, from)
#define _mm_maskz_loadu_epi8(mask, from) whittle::simde_missing::maskz_load_lanes<uint8_t, 16, __m128i>(mask, from)
#define _mm_mask_storeu_epi8(to, mask, x) whittle::simde_missing::mask_store_lanes<uint8_t, 16>(to, mask, x)
#define _mm256_maskz_loadu_epi8(mask, from) whittle::simde_missing::maskz_load_lanes<uint8_t, 32, __m256i>(mask, from)
#define _mm512_mask_loadu_ps(before, mask, from) whittle::simde_missing::mask_load(before, mask, from)
#define _mm512_cvtepu8_epi16(x) whittle::simde_missing::widened_bytes(x)
#define _mm512_permute_ps(x, order) whittle::simde_missing::permuted(x, order)
#define _mm512_maskz_loadu_epi32(mask, from) whittle::simde_missing::maskz_load(mask, from)
#define _mm512_maskz_loadu_ps(mask, from) _mm512_castsi512_ps(whittle::simde_missing::maskz_load(mask, from))
#define _mm512_stream_si512(to, x) _mm512_store_si512(to, x)
#define _mm512_mask_storeu_epi32(to, mask, x) whittle::simde_missing::mask_store(to, mask, x)
#define _mm512_mask_storeu_ps(to, mask, x) whittle::simde_missing::mask_store(to, mask, x)
#define _mm512_cvtepi32_epi8(x) whittle::simde_missing::narrowed<int8_t, __m128i>(x)
#define _mm512_cvtepi32_epi16(x) whittle::simde_missing::narrowed<int16_t, __m256i>(x)
#define _mm512_cvtepi8_epi32(x) whittle::simde_missing::widened<int8_t>(x)
#define _mm512_cvtepi16_epi32(x) whittle::simde_missing::widened<int16_t>(x)
#define _mm512_cvtepu16_epi32(x) whittle::simde_missing::widened<uint16_t>(x)
#define _mm512_cvtepi32_ps(x) whittle::simde_missing::to_floats(x)
#define _mm512_cvtps_epi32(x) whittle::simde_missing::to_integers(x)
#define _mm512_cvtps_pd(x) whittle::simde_missing::to_doubles(x)
#define _mm512_cvtps_ph(x, nearest) whittle::simde_missing::to_halves(x)
#define _mm512_cvtph_ps(x) whittle::simde_missing::of_halves(x)
#define _mm512_cvtneps_pbh(x) whittle::simde_missing::to_bf16(x)
#define _mm512_cvtne2ps_pbh(upper, lower) whittle::simde_missing::to_bf16(upper, lower)
#define _mm512_reduce_add_epi32(x) whittle::simde_missing::sum<int32_t, 16>(x)
#define _mm512_reduce_add_ps(x) whittle::simde_missing::sum<float, 16>(x)
#define _mm512_reduce_add_pd(x) whittle::simde_missing::sum<double, 8>(x)
#define _mm512_reduce_max_ps(x) whittle::simde_missing::largest(x)
#define _mm_test_epi8_mask(a, b) whittle::simde_missing::test_bytes(a, b)
#define _mm512_extractf32x8_ps(x, half) \
  whittle::simde_missing::bits_as<whittle::simde_missing::Lanes<__m256, 2>>(x).of[half]
#define _mm512_shuffle_f32x4(a, b, order) \
  _mm512_castsi512_ps(simde_mm512_shuffle_i32x4(_mm512_castps_si512(a), _mm512_castps_si512(b), order))
// SIMDe gives this name four parameters.
#undef _mm512_madd_epi16
#define _mm512_madd_epi16(a, b) simde_mm512_madd_epi16(a, b)
