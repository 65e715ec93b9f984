// What all products do with their sums: scales, outliers, bias, activation, residual, and storing. Here are the epilogues
// of an encoder's layers, and the choice among all.
#pragma once

#include "kernels/cuda/gemm_general.cuh"

namespace whittle::cuda {

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
