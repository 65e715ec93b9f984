// Which epilogue a product has, and which rows and columns of a tile a thread has there.
#pragma once

#include <type_traits>

#include "kernels/cuda/gelu.cuh"
#include "kernels/cuda/launch.cuh"

namespace whittle::cuda {

// Which blocks of A and W step `step` of the inner loop multiplies: split operands have two parts, and three of the
// four products of parts matter.
struct Steps {
  int blocks;  // of a part
  bool split;

  __device__ __forceinline__ int count() const { return split ? 3 * blocks : blocks; }
  __device__ __forceinline__ int stored() const { return split ? 2 * blocks : blocks; }
  __device__ __forceinline__ int a(int step) const { return step < blocks ? step : step - blocks; }
  __device__ __forceinline__ int w(int step) const { return step < 2 * blocks ? step : step - 2 * blocks; }
};
__device__ __forceinline__ Steps steps_of(const Operand& a) {
  return {static_cast<int>(part_blocks(a.form, a.k)), a.form == Form::split};
}

template <typename Sum>
constexpr bool kIsInt8 = Sum(1) / 2 == 0;  // sums are int32

// --- which epilogue -------------------------------------------------------------------------------------------------
// The epilogues of an encoder's layers are compiled each for itself, for n a multiple of 32; every other product has a
// general one, which decides at run time.
// *_residual and *_normalized have a residual of the result's format, as it is or on its way through LayerNorm.
enum class Finish {
  general,
  general_gelu,
  f16,
  f16_normalized,
  f32,
  f32_residual,
  f32_normalized,
  operand_gelu,
  heads
};
template <Finish kFinish>
struct FinishTag {
  static constexpr Finish kValue = kFinish;
};

constexpr bool is_general(Finish finish) {
  return finish == Finish::general || finish == Finish::general_gelu;
}
constexpr bool has_gelu(Finish finish) {
  return finish == Finish::general_gelu || finish == Finish::operand_gelu;
}
constexpr bool is_normalized(Finish finish) {
  return finish == Finish::f16_normalized || finish == Finish::f32_normalized;
}
constexpr bool has_residual(Finish finish) {
  return finish == Finish::f32_residual || is_normalized(finish);
}
constexpr bool is_f32(Finish finish) {
  return finish == Finish::f32 || finish == Finish::f32_residual || finish == Finish::f32_normalized;
}
// Bytes of an element of the residual.
constexpr int residual_bytes(Finish finish) {
  return is_f32(finish) ? 4 : 2;
}
// That of an encoder's layers.
template <typename Sum>
constexpr Finish kNormalizedFinish = kIsInt8<Sum> ? Finish::f16_normalized : Finish::f32_normalized;

inline Finish finish_of(const Gemm& g) {
  const bool gelu = g.activation == Activation::gelu, int8 = g.a.form == Form::int8;
  const Finish general = gelu ? Finish::general_gelu : Finish::general;
  if (g.format == Format::heads) return Finish::heads;
  if (g.n % 32 != 0 || !g.bias || g.y_low || (g.activation != Activation::none && !gelu)) return general;
  if (gelu) {
    const bool operand = g.format == Format::operand && g.y_form == Form::bf16 && g.n % (kRowBytes / 2) == 0;
    return !int8 && operand && !g.residual ? Finish::operand_gelu : general;
  }
  if (g.residual && int8)
    return g.format == Format::f16 && g.residual_stats ? Finish::f16_normalized : general;
  if (g.residual && g.format != Format::f32) return general;
  if (g.residual) return g.residual_stats ? Finish::f32_normalized : Finish::f32_residual;
  if (g.format == Format::f16 && !int8) return Finish::f16;
  return g.format == Format::f32 && int8 ? Finish::f32 : general;
}

// visit(FinishTag<finish>()) with finish_of(g), of those that sums of this type have.
template <typename Sum, typename Visit>
void with_finish(const Gemm& g, const Visit& visit) {
  const Finish finish = finish_of(g);
  if (finish == kNormalizedFinish<Sum>) return visit(FinishTag<kNormalizedFinish<Sum>>());
  if (finish == Finish::general_gelu) return visit(FinishTag<Finish::general_gelu>());
  if constexpr (kIsInt8<Sum>) {
    if (finish == Finish::f32) return visit(FinishTag<Finish::f32>());
    if (finish == Finish::heads) return visit(FinishTag<Finish::heads>());
  } else {
    if (finish == Finish::f16) return visit(FinishTag<Finish::f16>());
    if (finish == Finish::f32_residual) return visit(FinishTag<Finish::f32_residual>());
    if (finish == Finish::operand_gelu) return visit(FinishTag<Finish::operand_gelu>());
  }
  visit(FinishTag<Finish::general>());
}

// --- rows and columns of a tile -------------------------------------------------------------------------------------
// A thread has sums of two rows, 8 apart, and of 8 columns in every 32: those of part p are
// sums[16 * p + 4 * j + 2 * half + e] with the j and e of stored_weight_row. Column c of the 8 is j = c / 2, e = c % 2.
struct TileRow {
  int64_t row;
  bool valid;
  float scale;
  int outliers, offset;
  RowStats residual;
  int added = 0;  // of the outliers, those that the sums have already
};
template <typename Sum>
__device__ __forceinline__ TileRow tile_row(const Gemm& g, int64_t row, int64_t rows) {
  TileRow result{row, row < rows, 1.0f, 0, 0, {0.0f, 1.0f}};
  if (g.residual_stats && result.valid) result.residual = g.residual_stats[row];
  if (kIsInt8<Sum> && result.valid) {
    result.scale = g.a.scales[row];
    if (g.a.most_outliers > 0) result.outliers = g.a.outlier_counts[row];
    if (g.a.offsets) result.offset = g.a.offsets[row];
  }
  return result;
}

// Where the thread's 8 columns of 32 lie: 4 at `first`, 4 more `apart` behind.
struct TileColumns {
  int first, apart;
  __device__ __forceinline__ int operator[](int c) const { return first + c / 4 * apart + c % 4; }
};
__device__ __forceinline__ TileColumns tile_columns(bool f32, int64_t column, int lane) {
  const int q = lane % 4;
  return f32 ? TileColumns{static_cast<int>(column) + q * 4, 16} : TileColumns{static_cast<int>(column) + q * 8, 4};
}

// An element of LayerNorm's result, with the bits of kernels/ref/layer_norm_u8.cc.
__device__ __forceinline__ float normalized(float x, const RowStats& stats, float gamma, float beta) {
  return multiply_add(multiply(add(x, -stats.mean), stats.scale), gamma, beta);
}

__device__ __forceinline__ uint4 half_words(const float (&v)[8]) {
  return {half_pair(v[0], v[1]), half_pair(v[2], v[3]), half_pair(v[4], v[5]), half_pair(v[6], v[7])};
}
__device__ __forceinline__ uint4 bf16_words(const float (&v)[8]) {
  return {bf16_pair(v[0], v[1]), bf16_pair(v[2], v[3]), bf16_pair(v[4], v[5]), bf16_pair(v[6], v[7])};
}

}  // namespace whittle::cuda
