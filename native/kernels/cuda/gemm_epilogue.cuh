// What all products do with their sums: scales, outliers, bias, activation, residual, and storing.
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

// --- the compiled epilogues -----------------------------------------------------------------------------------------
// The columns of a thread in pieces of 16 bytes of the result: 4 columns of float32, 8 of 16 bits.
template <bool kF32>
struct Pieces {
  static constexpr int kColumns = kF32 ? 4 : 8;
  // Columns from the thread's first to the piece's.
  static constexpr int column(int piece) { return kF32 ? piece / 2 * 32 + piece % 2 * 16 : piece * 32; }
  // Which of the thread's sums is that of the piece's column c.
  static constexpr int sum(int piece, int c, int half) { return piece * 2 * kColumns + c / 2 * 4 + half * 2 + c % 2; }
};
template <typename Four, typename T, int kColumns>
__device__ __forceinline__ void load_piece(const T* from, T (&to)[kColumns]) {
#pragma unroll
  for (int c = 0; c < kColumns; c += 4) {
    const Four four = *reinterpret_cast<const Four*>(from + c);
    to[c] = four.x, to[c + 1] = four.y, to[c + 2] = four.z, to[c + 3] = four.w;
  }
}

// Two outliers' values, which are int16, and what they have beyond int8: times two bytes for each of four columns, whose
// sums are those from `at` on.
__device__ __forceinline__ uint32_t outlier_pair(const Outlier& one, const Outlier& other) {
  return (static_cast<uint32_t>(one.value) & 0xffffu) | static_cast<uint32_t>(other.value) << 16;
}
template <int kCount>
__device__ __forceinline__ void add_outlier_pair(uint32_t values, uint32_t of_one, uint32_t of_other, int at,
                                                 int32_t (&sums)[kCount]) {
  const uint32_t pairs[2] = {permute_bytes(of_one, of_other, 0x5140), permute_bytes(of_one, of_other, 0x7362)};
#pragma unroll
  for (int c = 0; c < 4; ++c) {
    int32_t& sum = sums[at + c / 2 * 4 + c % 2];
    sum = c % 2 == 0 ? dot_pair_low(values, pairs[c / 2], sum) : dot_pair_high(values, pairs[c / 2], sum);
  }
}

// Adds the rows' offsets, and what their outliers have beyond int8. Columns behind n take what the first ones take:
// nobody stores them, and without branches between them all loads are on their way at once.
template <bool kF32, int kCount>
__device__ __forceinline__ void complete_sums(const Gemm& g, const TileRow (&rows)[2], int column,
                                              int32_t (&sums)[kCount]) {
  const int n = static_cast<int>(g.n);
  const auto within = [&](int apart) { return column + apart < n ? apart : 0; };
  if (g.a.offsets) {
    using P = Pieces<kF32>;
#pragma unroll
    for (int piece = 0; piece < kCount / 2 / P::kColumns; ++piece) {
      int32_t w[P::kColumns];
      load_piece<int4>(g.w_sums + column + within(P::column(piece)), w);
#pragma unroll
      for (int half = 0; half < 2; ++half)
#pragma unroll
        for (int c = 0; c < P::kColumns; ++c) sums[P::sum(piece, c, half)] += rows[half].offset * w[c];
    }
  }
  // Two outliers of a row at once.
#pragma unroll
  for (int half = 0; half < 2; ++half)
    for (int i = rows[half].added; i < rows[half].outliers; i += 2) {
      const Outlier* outliers = g.a.outliers + rows[half].row * g.a.most_outliers + i;
      const Outlier one = outliers[0], other = i + 1 < rows[half].outliers ? outliers[1] : Outlier{one.column, 0};
      const uint32_t values = outlier_pair(one, other);
      const int8_t* of_one = g.columns + one.column * g.n + column;
      const int8_t* of_other = g.columns + other.column * g.n + column;
#pragma unroll
      for (int part = 0; part < kCount / 16; ++part) {
#pragma unroll
        for (int four = 0; four < 2; ++four) {
          const int at = within(part * 32) + four * (kF32 ? 16 : 4);
          add_outlier_pair(values, *reinterpret_cast<const uint32_t*>(of_one + at),
                           *reinterpret_cast<const uint32_t*>(of_other + at), 16 * part + four * 8 + half * 2, sums);
        }
      }
    }
}
template <bool kF32, int kCount>
__device__ __forceinline__ void complete_sums(const Gemm&, const TileRow (&)[2], int, float (&)[kCount]) {}

// Where a thread stores its columns of a row.
template <Finish kFinish>
struct Result {
  using P = Pieces<is_f32(kFinish)>;
  uint8_t* y;
  int chunk;  // of an operand: byte of a row of 128 at which the first piece lies

  __device__ __forceinline__ Result(const Gemm& g, int64_t row, int column, int lane) {
    const int64_t at = row * g.n + column;
    if (kFinish == Finish::operand_gelu) {
      const int64_t block = row / kBlockRows * part_blocks(Form::bf16, g.n) + column / 64;
      y = static_cast<uint8_t*>(g.y) + block * kBlockBytes + row % kBlockRows * kRowBytes;
      chunk = ((lane % 4 ^ static_cast<int>(row % 8)) * 16) ^ (column / 32 % 2 * 64);
    } else {
      y = static_cast<uint8_t*>(g.y) + at * (is_f32(kFinish) ? 4 : 2);
    }
  }

  __device__ __forceinline__ void store(int piece, float (&v)[P::kColumns]) const {
    if constexpr (is_f32(kFinish)) {
      *reinterpret_cast<float4*>(y + P::column(piece) * 4) = {v[0], v[1], v[2], v[3]};
    } else if (kFinish == Finish::operand_gelu) {
      // A block has two pieces of a row side by side; which of the two is bit 6 of the place.
      *reinterpret_cast<uint4*>(y + piece / 2 * kBlockBytes + (chunk ^ piece % 2 * 64)) = bf16_words(v);
    } else {
      *reinterpret_cast<uint4*>(y + P::column(piece) * 2) = half_words(v);
    }
  }
};

// The residual of a thread's columns. Its first pieces are asked for while products are under way, later ones as pieces
// are finished: asked for when it is needed, it is what everything else waits for.
template <Finish kFinish, int kCount>
struct ResidualAhead {
  using P = Pieces<is_f32(kFinish)>;
  static constexpr int kPieces = kCount / 2 / P::kColumns, kMost = kCount <= 64 ? 3 : 4;
  static constexpr int kHeld = kPieces < kMost ? kPieces : kMost;  // at once
  uint4 words[kHeld][2];

  // first: the thread's first column. Rows and columns that are not there take what the first ones have: nobody stores
  // them, and without branches all loads are on their way at once.
  __device__ __forceinline__ void fetch_piece(const Gemm& g, const TileRow (&rows)[2], int first, int piece) {
    if (piece >= kPieces) return;
    const int column = first + P::column(piece) < static_cast<int>(g.n) ? first + P::column(piece) : first;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int64_t at = (rows[half].valid ? rows[half].row : 0) * g.n + column;
      words[piece % kHeld][half] = load_here(static_cast<const uint8_t*>(g.residual) + at * residual_bytes(kFinish));
    }
  }
  // Of a tile whose first column is below n.
  __device__ __forceinline__ void fetch(const Gemm& g, const TileRow (&rows)[2], int64_t first_column, int lane) {
    if constexpr (has_residual(kFinish)) {
      const int first = tile_columns(is_f32(kFinish), first_column, lane).first;
#pragma unroll
      for (int piece = 0; piece < kHeld; ++piece) fetch_piece(g, rows, first, piece);
    }
  }
  // Column c of a piece.
  __device__ __forceinline__ float value(int piece, int half, int c) const {
    const uint4& four = words[piece % kHeld][half];
    const uint32_t of[4] = {four.x, four.y, four.z, four.w};
    return is_f32(kFinish) ? bits_float(of[c % 4]) : half_value(static_cast<uint16_t>(of[c / 2] >> (16 * (c % 2))));
  }
};

#if WHITTLE_HAS_WGMMA
// Fetches rows of a tile's residual, of kBytes an element, into the second-level cache, a few at each step of the
// tile's multiplication.
template <int kBytes>
struct ResidualRows {
  const uint8_t* next;
  int left, each;  // rows, in all and a step
  uint32_t bytes;  // of a row

  __device__ __forceinline__ ResidualRows(const Gemm& g, int64_t all_rows, int64_t row, int rows, int64_t column,
                                          int columns, int steps)
      : next(static_cast<const uint8_t*>(g.residual) + (row * g.n + column) * kBytes),
        left(static_cast<int>(all_rows - row < rows ? all_rows - row : rows)),
        each((rows + steps - 1) / steps),
        bytes(static_cast<uint32_t>(g.n - column < columns ? g.n - column : columns) * kBytes) {}
  __device__ __forceinline__ void prefetch(const Gemm& g) {
    for (int i = 0; i < each && left > 0; ++i, --left, next += g.n * kBytes) prefetch_bulk(next, bytes);
  }
};
struct NoResidualRows {
  __device__ __forceinline__ NoResidualRows(const Gemm&, int64_t, int64_t, int, int64_t, int, int) {}
  __device__ __forceinline__ void prefetch(const Gemm&) {}
};
template <Finish kFinish>
using ResidualRowsOf = std::conditional_t<has_residual(kFinish), ResidualRows<residual_bytes(kFinish)>, NoResidualRows>;
#endif

// What a product does with four columns, asked for before those ahead of them are finished.
template <Finish kFinish, bool kInt8>
struct FourColumns {
  float scales[4], bias[4], gamma[4], beta[4];

  __device__ __forceinline__ FourColumns(const Gemm& g, int column) {
    if (kInt8) load(g.w_scales + column, scales);
    load(g.bias + column, bias);
    if (!is_normalized(kFinish)) return;
    load(g.residual_gamma + column, gamma);
    load(g.residual_beta + column, beta);
  }

 private:
  static __device__ __forceinline__ void load(const float* from, float (&to)[4]) {
    const uint4 four = load_here(from);
    to[0] = bits_float(four.x), to[1] = bits_float(four.y), to[2] = bits_float(four.z), to[3] = bits_float(four.w);
  }
};

template <Finish kFinish, int kCount, typename Sum>
__device__ __forceinline__ void finish_as_compiled(const Gemm& g, const TileRow (&rows)[2], int64_t first_column,
                                                   int lane, ResidualAhead<kFinish, kCount>& residuals,
                                                   Sum (&sums)[kCount]) {
  using P = Pieces<is_f32(kFinish)>;
  constexpr bool kInt8 = kIsInt8<Sum>, kResidual = has_residual(kFinish);
  constexpr int kFours = kCount / 8, kEach = P::kColumns / 4;  // of a row, of a piece
  const int first = tile_columns(is_f32(kFinish), first_column, lane).first, n = static_cast<int>(g.n);
  if (first >= n) return;
  const Result<kFinish> results[2] = {{g, rows[0].row, first, lane}, {g, rows[1].row, first, lane}};
  // Columns behind n take what the first ones take: nobody stores them.
  const auto constants = [&](int four) {
    const int apart = P::column(four / kEach);
    return FourColumns<kFinish, kInt8>(g, (first + apart < n ? first + apart : first) + four % kEach * 4);
  };
  complete_sums<is_f32(kFinish)>(g, rows, first, sums);
  FourColumns<kFinish, kInt8> next = constants(0);
  float v[2][P::kColumns];
#pragma unroll
  for (int four = 0; four < kFours; ++four) {
    const int piece = four / kEach;
    const FourColumns<kFinish, kInt8> of = next;
    if (four + 1 < kFours) next = constants(four + 1);
#pragma unroll
    for (int half = 0; half < 2; ++half)
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int c = four % kEach * 4 + i;
        float x = static_cast<float>(sums[P::sum(piece, c, half)]);
        x = kInt8 ? multiply_add(multiply(x, rows[half].scale), of.scales[i], of.bias[i]) : add(x, of.bias[i]);
        if (has_gelu(kFinish)) x = gelu(x);
        if (kResidual) {
          const float residual = residuals.value(piece, half, c);
          x = add(x, is_normalized(kFinish) ? normalized(residual, rows[half].residual, of.gamma[i], of.beta[i])
                                            : residual);
        }
        v[half][c] = x;
      }
    if ((four + 1) % kEach != 0) continue;
#pragma unroll
    for (int half = 0; half < 2; ++half)
      if (rows[half].valid && first + P::column(piece) < n) results[half].store(piece, v[half]);
    if (kResidual) residuals.fetch_piece(g, rows, first, piece + residuals.kHeld);
  }
}

// --- the general epilogue -------------------------------------------------------------------------------------------
// What rounding took away.
__device__ __forceinline__ void subtract_half(const uint4& words, float (&v)[8]) {
  const uint32_t pairs[4] = {words.x, words.y, words.z, words.w};
#pragma unroll
  for (int c = 0; c < 8; ++c) v[c] -= half_value(static_cast<uint16_t>(pairs[c / 2] >> (16 * (c % 2))));
}
__device__ __forceinline__ void subtract_bf16(const uint4& words, float (&v)[8]) {
  const uint32_t pairs[4] = {words.x, words.y, words.z, words.w};
#pragma unroll
  for (int c = 0; c < 8; ++c) v[c] -= bf16_value(static_cast<uint16_t>(pairs[c / 2] >> (16 * (c % 2))));
}
// 8 columns from `column` on of a row, those below n.
__device__ __forceinline__ void store_words(uint16_t* row, int column, const uint4& words, int64_t n) {
  if (n % 8 == 0) {
    *reinterpret_cast<uint4*>(row + column) = words;
  } else {
    const uint32_t pairs[4] = {words.x, words.y, words.z, words.w};
#pragma unroll
    for (int c = 0; c < 8; ++c)
      if (column + c < n) row[column + c] = static_cast<uint16_t>(pairs[c / 2] >> (16 * (c % 2)));
  }
}

// Stores 8 columns of a row, those below n; v is 0 beyond.
__device__ __forceinline__ void store_generally(const Gemm& g, int64_t row, const TileColumns& columns, float (&v)[8]) {
  if (g.format == Format::f32) {
    float* y = static_cast<float*>(g.y) + row * g.n;
#pragma unroll
    for (int c = 0; c < 8; ++c)
      if (columns[c] < g.n) y[columns[c]] = v[c];
    return;
  }
  const int column = columns.first;
  if (g.format == Format::operand) {
    // Operands have zeros behind their last column.
    const int64_t blocks = part_blocks(g.y_form, g.n), all_blocks = blocks * form_parts(g.y_form);
    if (column * 2 >= blocks * kRowBytes) return;
    const uint4 words = bf16_words(v);
    uint8_t* y = static_cast<uint8_t*>(g.y);
    *reinterpret_cast<uint4*>(y + operand_offset(row, 2 * column, all_blocks)) = words;
    if (g.y_form != Form::split) return;
    subtract_bf16(words, v);
    *reinterpret_cast<uint4*>(y + operand_offset(row, 2 * column + blocks * kRowBytes, all_blocks)) = bf16_words(v);
  } else if (column < g.n) {
    const uint4 words = half_words(v);
    store_words(static_cast<uint16_t*>(g.y) + row * g.n, column, words, g.n);
    if (!g.y_low) return;
    subtract_half(words, v);
    store_words(g.y_low + row * g.n, column, half_words(v), g.n);
  }
}

template <bool kGelu, typename Sum>
__device__ __forceinline__ float finish_generally(const Gemm& g, const TileRow& row, int column, Sum sum) {
  if constexpr (kIsInt8<Sum>) {
    if (g.a.offsets) sum += row.offset * g.w_sums[column];
    for (int i = 0; i < row.outliers; ++i) {
      const Outlier outlier = g.a.outliers[row.row * g.a.most_outliers + i];
      sum += outlier.value * g.columns[outlier.column * g.n + column];
    }
  }
  float v = static_cast<float>(sum);
  const float bias = g.bias ? g.bias[column] : -0.0f;  // v + -0 is v
  v = g.w_scales ? multiply_add(multiply(v, row.scale), g.w_scales[column], bias) : add(v, bias);
  if (kGelu) v = kIsInt8<Sum> ? gelu_polynomial(v) : gelu(v);
  if (g.activation == Activation::tanh) v = tanhf(v);
  if (g.activation == Activation::relu) v = fmaxf(v, 0.0f);
  if (!g.residual) return v;
  const int64_t at = row.row * g.n + column;
  const float residual = g.format == Format::f16 ? half_value(static_cast<const uint16_t*>(g.residual)[at])
                                                 : static_cast<const float*>(g.residual)[at];
  if (!g.residual_stats) return add(v, residual);
  return add(v, normalized(residual, row.residual, g.residual_gamma[column], g.residual_beta[column]));
}

// --- any ---------------------------------------------------------------------------------------------------------
// See gemm_heads.cuh.
template <int kCount>
__device__ __forceinline__ void finish_heads(const Gemm& g, const TileRow (&rows)[2], int64_t column, int lane,
                                             int32_t (&sums)[kCount]);

// Sums of a thread to their places. column: the first of its 32, or of the tile's. The residual has been fetched.
template <Finish kFinish, int kCount, typename Sum>
__device__ __forceinline__ void finish_tile(const Gemm& g, const TileRow (&rows)[2], int64_t column, int lane,
                                            ResidualAhead<kFinish, kCount>& residual, Sum (&sums)[kCount]) {
  if constexpr (kFinish == Finish::heads) {
    finish_heads(g, rows, column, lane, sums);
  } else if constexpr (!is_general(kFinish)) {
    finish_as_compiled<kFinish>(g, rows, column, lane, residual, sums);
  } else {
#pragma unroll
    for (int part = 0; part < kCount / 16; ++part)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        if (!rows[half].valid) continue;
        const TileColumns columns = tile_columns(g.format == Format::f32, column + part * 32, lane);
        float v[8];
#pragma unroll
        for (int c = 0; c < 8; ++c) {
          v[c] = 0;
          if (columns[c] < g.n)
            v[c] = finish_generally<has_gelu(kFinish)>(g, rows[half], columns[c],
                                                       sums[16 * part + c / 2 * 4 + half * 2 + c % 2]);
        }
        store_generally(g, rows[half].row, columns, v);
      }
  }
}

}  // namespace whittle::cuda
