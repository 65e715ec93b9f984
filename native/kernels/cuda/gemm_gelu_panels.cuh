// The product before GELU, with GELU and the quantization behind it in its epilogue (sm_90a). A row's scale needs all
// of its columns, which many blocks have: so all blocks of a launch are at work at the same time and tell each other
// the maxima of their parts. Float32 rows never leave the registers.
//
// A block keeps one panel of W (see gemm_panels.cuh) for the whole launch; the blocks of a group, one a panel, go over
// the same row tiles. A cluster has panels side by side, each of whose blocks fetches a part of A for all of them. A
// warpgroup computes GELU of a tile, tells the maxima, and quantizes when it multiplies its next tile, by which time
// the others have told theirs.
//
// Nobody waits in a circle: a tile is multiplied and told without waiting for the maxima of later ones, and stages are
// filled in the order of tiles, each as soon as the products before it are done in all blocks of the cluster.
#pragma once

#include "kernels/cuda/gelu_exchange.cuh"
#include "kernels/cuda/rows.cuh"

namespace whittle::cuda {

// The block's panel is blockIdx.x, its group blockIdx.y, whose row tiles these are.
__device__ __forceinline__ int gelu_tiles(int rows) {
  const int all = (rows + kPanelRows - 1) / kPanelRows, groups = static_cast<int>(gridDim.y);
  return (all - static_cast<int>(blockIdx.y) + groups - 1) / groups;
}
__device__ __forceinline__ int gelu_row_tile(int tile) {
  return static_cast<int>(blockIdx.y + tile * gridDim.y);
}

// a / b, correctly rounded, by the instructions that nvcc has for it too; but its others, for quotients or numbers near
// the ends of float32, are a call, which may not be where products are under way.
__device__ __forceinline__ float divide_without_call(float a, float b) {
  float reciprocal = reciprocal_approximate(b);
  reciprocal = multiply_add(reciprocal, multiply_add(-b, reciprocal, 1.0f), reciprocal);
  const float quotient = multiply(a, reciprocal);
  return multiply_add(reciprocal, multiply_add(-b, quotient, a), quotient);
}

// How a row of GELU's results becomes bytes: those of twice a result times `factor`, plus `shift`.
struct GeluBytes {
  float factor = 0, shift = 0;

  // Of the row with this largest result, whose scale and offset are stored if asked.
  __device__ __forceinline__ void set(float largest, const Operand& y, int row, bool stores) {
    const float range = largest + kGeluLowest, down = range > 0x1p64f ? 0x1p-64f : 1.0f;
    const float inverse = multiply(divide_without_call(254.0f, multiply(range, down)), down);
    const int zero = round_to_int(multiply(kGeluLowest, inverse));
    factor = multiply(inverse, 0.5f);
    shift = static_cast<float>(zero - 128);
    if (!stores) return;
    y.scales[row] = divide_without_call(range, 254.0f);
    y.offsets[row] = 128 - zero;
  }
  __device__ __forceinline__ uint32_t word(float a, float b, float c, float d) const {
    const auto step = [&](float twice) { return multiply_add(twice, factor, shift); };
    return rounded_bytes(step(a), step(b), step(c), step(d));
  }
};

// A thread has, of two rows 8 apart, the columns column + c and column + 64 + c of its panel, c below 16: which of its
// sums or values that of column i, below 32, is.
constexpr int gelu_sum(int i, int half) {
  return i / 8 * 16 + i / 2 % 4 * 4 + half * 2 + i % 2;
}

#if WHITTLE_HAS_WGMMA
template <int kCluster>
__device__ __forceinline__ void fill_gelu_panel(const GemmGelu& g, int tiles, const PanelShared& shared) {
  constexpr int kPart = kPanelStageBytes / kCluster;
  const uint8_t* w = g.w + int64_t{blockIdx.x} * shared.blocks * kBlockBytes;
  PanelTurn turn;
  for (int tile = 0; tile < tiles; ++tile) {
    const int row_tile = gelu_row_tile(tile);
    const uint8_t* a = g.a.data + int64_t{row_tile / 2} * shared.blocks * kBlockBytes + row_tile % 2 * kPanelStageBytes;
    for (int block = 0; block < shared.blocks; ++block, turn.next(), a += kBlockBytes) {
      if (tile == 0) {
        barrier_arrive_expect(shared.panel_full(block), kBlockBytes);
        copy_bulk(shared.panel(block), w + block * kBlockBytes, kBlockBytes, shared.panel_full(block));
      }
      uint8_t* stage = shared.stage(turn.of_stage.stage);
      uint64_t* full = shared.full(turn.of_full.stage);
      barrier_wait(shared.empty(turn.of_stage.stage), turn.of_stage.parity ^ 1);
      barrier_arrive_expect(full, kPanelStageBytes);
      if constexpr (kCluster == 1) {
        copy_bulk(stage, a, kPanelStageBytes, full);
      } else {
        const int part = cluster_rank() * kPart;
        copy_bulk_to(stage + part, a + part, kPart, full, (1 << kCluster) - 1);
      }
    }
  }
}

// What a thread knows of its two rows when their product begins, and, since registers are few meanwhile, when it ends.
struct GeluRows {
  float scales[2] = {};
  int both_outliers = 0;  // how many; of the second row in the upper half

  __device__ __forceinline__ GeluRows(const GemmGelu& g, int row, int rows) {
    if (g.a.most_outliers == 0) return;
#pragma unroll
    for (int half = 0; half < 2; ++half)
      if (row + 8 * half < rows) both_outliers += g.a.outlier_counts[row + 8 * half] << 16 * half;
  }
  __device__ __forceinline__ void fetch_scales(const GemmGelu& g, int row, int rows) {
#pragma unroll
    for (int half = 0; half < 2; ++half) scales[half] = row + 8 * half < rows ? g.a.scales[row + 8 * half] : 0.0f;
  }
  __device__ __forceinline__ int outliers(int half) const {
    return half == 0 ? both_outliers & 0xffff : both_outliers >> 16;
  }
};

// The first two outliers of each of the thread's rows and what they meet, asked for while products are under way. Rows
// that have fewer take 0 times any column, without branches between the loads. They begin as zeros, since what is
// undefined on some way takes registers from the last tile's values.
struct GeluOutliers {
  uint32_t values[2] = {};    // int16, two
  uint32_t columns[2] = {};   // two, of at most 1,024
  uint4 bytes[2][2][2] = {};  // of a row and outlier, at column and column + 64

  __device__ __forceinline__ void fetch(const GemmGelu& g, const GeluRows& of, int row) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const Outlier* outliers = g.a.outliers + int64_t{row + 8 * half} * g.a.most_outliers;
      const Outlier none{0, 0}, one = of.outliers(half) > 0 ? outliers[0] : none;
      const Outlier other = of.outliers(half) > 1 ? outliers[1] : none;
      values[half] = outlier_pair(one, other);
      columns[half] = static_cast<uint32_t>(one.column) | static_cast<uint32_t>(other.column) << 16;
    }
  }
  __device__ __forceinline__ void fetch_columns(const GemmGelu& g, int column) {
#pragma unroll
    for (int half = 0; half < 2; ++half)
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const int8_t* from = g.columns + (columns[half] >> 16 * i & 0xffffu) * g.n + column;
#pragma unroll
        for (int part = 0; part < 2; ++part) bytes[half][i][part] = *reinterpret_cast<const uint4*>(from + part * 64);
      }
  }
  __device__ __forceinline__ void add(int32_t (&sums)[kPanelColumns / 2]) const {
#pragma unroll
    for (int half = 0; half < 2; ++half) add_pair(half, values[half], bytes[half][0], bytes[half][1], sums);
  }
  // What a row has beyond the first two.
  static __device__ __forceinline__ void add_others(const GemmGelu& g, const GeluRows& of, int row, int column,
                                                    int32_t (&sums)[kPanelColumns / 2]) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int count = of.outliers(half);
#pragma unroll 1
      for (int i = 2; i < count; i += 2) {
        const Outlier* outliers = g.a.outliers + int64_t{row + 8 * half} * g.a.most_outliers + i;
        const Outlier one = outliers[0], other = i + 1 < count ? outliers[1] : Outlier{one.column, 0};
        uint4 of_one[2], of_other[2];
#pragma unroll
        for (int part = 0; part < 2; ++part) {
          of_one[part] = *reinterpret_cast<const uint4*>(g.columns + one.column * g.n + column + part * 64);
          of_other[part] = *reinterpret_cast<const uint4*>(g.columns + other.column * g.n + column + part * 64);
        }
        add_pair(half, outlier_pair(one, other), of_one, of_other, sums);
      }
    }
  }

 private:
  static __device__ __forceinline__ void add_pair(int half, uint32_t pair, const uint4 (&one)[2],
                                                  const uint4 (&other)[2], int32_t (&sums)[kPanelColumns / 2]) {
#pragma unroll
    for (int part = 0; part < 2; ++part) {
      const uint32_t a[4] = {one[part].x, one[part].y, one[part].z, one[part].w};
      const uint32_t b[4] = {other[part].x, other[part].y, other[part].z, other[part].w};
#pragma unroll
      for (int c = 0; c < 16; ++c) {
        const uint32_t pairs = permute_bytes(a[c / 4], b[c / 4], c % 4 < 2 ? 0x5140 : 0x7362);
        int32_t& sum = sums[gelu_sum(part * 16 + c, half)];
        sum = c % 2 == 0 ? dot_pair_low(pair, pairs, sum) : dot_pair_high(pair, pairs, sum);
      }
    }
  }
};

// values = twice GELU of what completed sums stand for; largest: of each row, 0 at least, as bits. Bits of floats
// compare like integers, if one is positive; of those the GPU has the largest of three in an instruction.
__device__ __forceinline__ void finish_gelu_sums(const GemmGelu& g, const GeluRows& of, int column,
                                                 const int32_t (&sums)[kPanelColumns / 2],
                                                 float (&values)[kPanelColumns / 2], int32_t (&largest)[2]) {
  largest[0] = largest[1] = 0;
#pragma unroll
  for (int four = 0; four < 8; ++four) {
    float scales[4], bias[4];
    load_piece<float4>(g.w_scales + column + four / 4 * 64 + four % 4 * 4, scales);
    load_piece<float4>(g.bias + column + four / 4 * 64 + four % 4 * 4, bias);
#pragma unroll
    for (int half = 0; half < 2; ++half)
#pragma unroll
      for (int c = 0; c < 4; ++c) {
        const int at = gelu_sum(four * 4 + c, half);
        const float of_row = multiply(static_cast<float>(sums[at]), of.scales[half]);
        values[at] = twice_gelu_polynomial(multiply_add(of_row, scales[c], bias[c]));
        const int32_t bits = static_cast<int32_t>(float_bits(values[at]));
        largest[half] = bits > largest[half] ? bits : largest[half];
      }
  }
#pragma unroll
  for (int half = 0; half < 2; ++half)
#pragma unroll
    for (int mask = 1; mask <= 2; mask *= 2) {
      const int32_t other = shuffle_xor(largest[half], mask);
      largest[half] = other > largest[half] ? other : largest[half];
    }
}

template <int kHalf>
__device__ __forceinline__ void store_gelu_row(const GemmGelu& g, const GeluBytes& bytes, int row,
                                               const float (&values)[kPanelColumns / 2]) {
  const uint32_t at = static_cast<uint32_t>(row), chunk = (threadIdx.x % 4 ^ (at & 7)) * 16;
  uint8_t* to = g.y.data + uint64_t{at / kBlockRows * static_cast<uint32_t>(g.grid.panels) + blockIdx.x} * kBlockBytes +
                at % kBlockRows * kRowBytes;
#pragma unroll
  for (int part = 0; part < 2; ++part) {
    uint32_t words[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const auto value = [&](int c) { return values[gelu_sum(part * 16 + i * 4 + c, kHalf)]; };
      words[i] = bytes.word(value(0), value(1), value(2), value(3));
    }
    *reinterpret_cast<uint4*>(to + (chunk ^ part * 64u)) = {words[0], words[1], words[2], words[3]};
  }
}

// Of the thread's warpgroup, the same in all lanes. Without waiting for the number of rows; a launch without rows may
// have no exchange.
__device__ __forceinline__ uint32_t gelu_turns_before(const GemmGelu& g) {
  const int warpgroup = static_cast<int>(threadIdx.x / 128);
  return shuffle(warpgroup < kPanelGroups && g.exchange ? *GeluExchange(g, warpgroup, 0).turns() : 0u, 0);
}

template <int kCluster>
__device__ __forceinline__ void multiply_and_gelu(const GemmGelu& g, int tiles, int rows, uint32_t turns_before,
                                                  const PanelShared& shared) {
  // The same number in all lanes, as the compiler knows of what a lane is asked for.
  const int warpgroup = shuffle(static_cast<int>(threadIdx.x / 128), 0);
  const int first_row = shuffle(static_cast<int>(threadIdx.x % 128 / 32 * 16), 0);  // of the warp, in a tile
  if (warpgroup >= tiles) return;
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int within = first_row + static_cast<int>(threadIdx.x % 32 / 4);  // the thread's row in a tile
  const uint32_t panel = shuffle(shared_address(shared.panel(0)), 0);
  const uint32_t stages = panel + static_cast<uint32_t>(shared.blocks) * kBlockBytes;
  const uint32_t full = stages + kPanelStages * kPanelStageBytes, empty = full + kPanelFull * 8;
  GeluExchange exchange(g, warpgroup, turns_before);
  float values[kPanelColumns / 2];
  // Once more than there are tiles, to quantize the last one.
  for (int tile = warpgroup;; tile += kPanelGroups) {
    const bool is_first = tile == warpgroup, is_over = tile >= tiles;
    GeluRows of(g, gelu_row_tile(tile) * kPanelRows + within, rows);
    int32_t sums[kPanelColumns / 2];
    begin_accumulators(sums);
    GeluBytes bytes[2];
    uint32_t turn = static_cast<uint32_t>(tile * shared.blocks), stage = turn % kPanelStages, last = 0;
    const int end = is_over ? 0 : shared.blocks;
    int step = 0;
    const int row = gelu_row_tile(tile) * kPanelRows + within;
    const int column = static_cast<int>(blockIdx.x * kPanelColumns + threadIdx.x % 4 * 16);
    GeluOutliers outliers;
    // While products are under way, bytes are made of the last tile: three pieces of work, before the last two steps
    // and behind them.
#pragma unroll 1
    for (int piece = 0; piece <= 3; ++piece) {
      const int until = piece < 2 ? end - 2 + piece : end;
#pragma unroll 1
      for (; step < until; ++step) {
        if (is_first) barrier_wait(empty + static_cast<uint32_t>(kPanelStages + step) * 8, 0);
        barrier_wait(full + turn % kPanelFull * 8, turn / kPanelFull & 1);
        start_products(stages + stage * kPanelStageBytes, panel + static_cast<uint32_t>(step) * kBlockBytes, step > 0,
                       sums);
        wgmma_wait<1>();
        barrier_arrive_at(empty + last * 8, lane, step > 0 && lane < kCluster);
        last = stage;
        stage = stage + 1 == kPanelStages ? 0 : stage + 1;
        ++turn;
      }
      if (piece == 3) break;
      if (piece == 1 && g.a.most_outliers > 0) outliers.fetch(g, of, made_here(row));
      if (is_first) continue;
      const int before = made_here(gelu_row_tile(tile - kPanelGroups) * kPanelRows + within);
      if (piece == 0) {
        float maxima[2];
        exchange.see_maxima(static_cast<uint32_t>(made_here(within)), threadIdx.x % 32, maxima);
        ++exchange.turn;
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const int at = before + 8 * half;
          bytes[half].set(maxima[half], g.y, at, blockIdx.x == 0 && threadIdx.x % 4 == 0 && at < rows);
        }
      } else if (piece == 1) {
        if (before < rows) store_gelu_row<0>(g, bytes[0], before, values);
      } else {
        if (before + 8 < rows) store_gelu_row<1>(g, bytes[1], before + 8, values);
      }
    }
    // Behind the last tile as well: what follows a product that is under way is the same for all.
    of.fetch_scales(g, row, rows);
    if (g.a.most_outliers > 0) outliers.fetch_columns(g, column);
    wgmma_wait<0>();
    hold_accumulators(sums);
    if (is_over) break;
    barrier_arrive_at(empty + last * 8, lane, lane < kCluster);
    if (g.a.most_outliers > 0) outliers.add(sums);
    if (g.a.most_outliers > 2) outliers.add_others(g, of, row, column, sums);
    int32_t largest[2];
    finish_gelu_sums(g, of, column, sums, values, largest);
    if (threadIdx.x % 4 == 0) {
#pragma unroll
      for (int half = 0; half < 2; ++half)
        exchange.tell_maximum(static_cast<uint32_t>(within + 8 * half),
                              multiply(bits_float(static_cast<uint32_t>(largest[half])), 0.5f));
    }
  }
  // All others of the group have read how many turns there were, since they told of their last tiles.
  if (blockIdx.x == 0 && threadIdx.x % 128 == 0) *exchange.turns() = exchange.turn;
}
#endif

template <int kCluster>
__global__ void __launch_bounds__(kPanelThreads, 1) gemm_gelu_panels_kernel(const GemmGelu g) {
#if WHITTLE_HAS_WGMMA
  const int rows = *g.rows;
  const int thread = static_cast<int>(threadIdx.x), blocks = static_cast<int>(part_blocks(Form::int8, g.a.k));
  const int tiles = gelu_tiles(rows);
  const PanelShared shared{dynamic_shared(), blocks};
  if (thread == 0) {
    for (int i = 0; i < kPanelFull; ++i) barrier_init(shared.full(i), 1);
    for (int i = 0; i < kPanelStages; ++i) barrier_init(shared.empty(i), 4 * kCluster);  // a warp of each block
    for (int i = 0; i < kMostPanelBlocks; ++i) barrier_init(shared.panel_full(i), 1);
    barrier_init_fence();
  }
  const uint32_t turns_before = gelu_turns_before(g);
  if (kCluster > 1)
    sync_cluster();
  else
    sync_block();
  if (thread >= kPanelGroups * 128) {
    give_registers<24>();
    if (thread == kPanelGroups * 128) fill_gelu_panel<kCluster>(g, tiles, shared);
  } else {
    take_registers<160>();
    multiply_and_gelu<kCluster>(g, tiles, rows, turns_before, shared);
  }
  if (kCluster > 1) sync_cluster();  // Nobody's shared memory goes while others may still arrive there.
#else
  fail_kernel();
#endif
}

inline int gelu_panels_shared_bytes(int64_t k) {
  return static_cast<int>(PanelShared::bytes(part_blocks(Form::int8, k)));
}

template <int kCluster>
void launch_gemm_gelu_panels(const GemmGelu& g, Stream stream) {
  const int64_t row_tiles = (g.most_rows + kPanelRows - 1) / kPanelRows;
  const int64_t groups = row_tiles < g.grid.groups ? row_tiles : g.grid.groups;
  launch(gemm_gelu_panels_kernel<kCluster>, {g.grid.panels, groups, kCluster, true}, kPanelThreads,
         gelu_panels_shared_bytes(g.a.k), stream, g);
}

inline void run_gemm_gelu_panels(const GemmGelu& g, Stream stream) {
  if (g.grid.cluster == 4)
    launch_gemm_gelu_panels<4>(g, stream);
  else if (g.grid.cluster == 2)
    launch_gemm_gelu_panels<2>(g, stream);
  else
    launch_gemm_gelu_panels<1>(g, stream);
}

}  // namespace whittle::cuda
