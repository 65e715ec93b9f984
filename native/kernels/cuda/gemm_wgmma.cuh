// Products by wgmma (sm_90a): tiles of 128 x 256 or 128 x 128. One warp keeps the copy engine busy, which fills stages
// of shared memory in bulk; two warpgroups multiply 64 rows each. Blocks are persistent and take tile after tile, so
// that the first stages of a tile are on their way while the last one is stored.
#pragma once

#include "kernels/cuda/gemm_panels.cuh"

namespace whittle::cuda {

static constexpr int kWgmmaThreads = 3 * 128;

template <int kColumns>
struct WgmmaShape {
  static constexpr int kStageBytes = kBlockBytes + kColumns * kRowBytes;  // A, then W
  static constexpr int kStages = kColumns == 256 ? 4 : 6;
  static constexpr int kBarriers = kStages * kStageBytes;  // where they lie
  static constexpr int kSharedBytes = kBarriers + 2 * kStages * static_cast<int>(sizeof(uint64_t));
};

// Tiles in the order in which blocks take them: along the columns first, so that what the blocks at work read of A is
// little, and W, of which they read everything, stays in L2.
struct TileWalk {
  int64_t columns, count;
  __device__ __forceinline__ int64_t row(int64_t tile) const { return tile / columns; }
  __device__ __forceinline__ int64_t column(int64_t tile) const { return tile % columns; }
};

#if WHITTLE_HAS_WGMMA
template <int kColumns>
__device__ __forceinline__ void fill_stages(const Gemm& g, const TileWalk& walk, uint8_t* shared, uint64_t* full,
                                            uint64_t* empty) {
  using Shape = WgmmaShape<kColumns>;
  const Steps steps = steps_of(g.a);
  StageTurn<Shape::kStages> turn;
  for (int64_t tile = blockIdx.x; tile < walk.count; tile += gridDim.x) {
    const uint8_t* a = g.a.data + walk.row(tile) * steps.stored() * kBlockBytes;
    const uint8_t* w = g.w + walk.column(tile) * (kColumns / kBlockRows) * steps.stored() * kBlockBytes;
    for (int step = 0; step < steps.count(); ++step, turn.next()) {
      uint8_t* stage = shared + turn.stage * Shape::kStageBytes;
      barrier_wait(empty + turn.stage, turn.parity ^ 1);
      barrier_arrive_expect(full + turn.stage, Shape::kStageBytes);
      copy_bulk(stage, a + int64_t{steps.a(step)} * kBlockBytes, kBlockBytes, full + turn.stage);
#pragma unroll
      for (int part = 0; part < kColumns / kBlockRows; ++part)
        copy_bulk(stage + (part + 1) * kBlockBytes, w + (int64_t{part} * steps.stored() + steps.w(step)) * kBlockBytes,
                  kBlockBytes, full + turn.stage);
    }
  }
}

template <int kColumns, typename Sum, Finish kFinish>
__device__ __forceinline__ void multiply_tiles(const Gemm& g, const TileWalk& walk, int64_t rows, const uint8_t* shared,
                                               uint64_t* full, uint64_t* empty) {
  using Shape = WgmmaShape<kColumns>;
  const int thread = static_cast<int>(threadIdx.x) - 128, group = thread / 128, lane = thread % 32;
  const int steps = steps_of(g.a).count();
  StageTurn<Shape::kStages> turn;
  for (int64_t tile = blockIdx.x; tile < walk.count; tile += gridDim.x) {
    Sum sums[kColumns / 2];
#pragma unroll
    for (int i = 0; i < kColumns / 2; ++i) sums[i] = 0;
    hold_accumulators(sums);
    int last = 0;
    for (int step = 0; step < steps; ++step, turn.next()) {
      const uint8_t* stage = shared + turn.stage * Shape::kStageBytes;
      barrier_wait(full + turn.stage, turn.parity);
      wgmma_fence();
      const uint64_t a = matrix_descriptor(stage + group * 64 * kRowBytes);
      const uint64_t w = matrix_descriptor(stage + kBlockBytes);
#pragma unroll
      for (int part = 0; part < 4; ++part) wgmma(sums, a + 2 * part, w + 2 * part, step > 0 || part > 0);
      wgmma_commit();
      if (step > 0) {
        wgmma_wait<1>();
        if (lane == 0) barrier_arrive(empty + last);
      }
      last = turn.stage;
    }
    wgmma_wait<0>();
    hold_accumulators(sums);
    if (lane == 0) barrier_arrive(empty + last);

    const int64_t row = walk.row(tile) * kBlockRows + group * 64 + thread % 128 / 32 * 16 + lane / 4;
    const TileRow pair[2] = {tile_row<Sum>(g, row, rows), tile_row<Sum>(g, row + 8, rows)};
    finish_tile<kFinish>(g, pair, walk.column(tile) * kColumns, lane, sums);
  }
}
#endif

template <int kColumns, typename Sum, Finish kFinish>
__global__ void __launch_bounds__(kWgmmaThreads, 1) gemm_wgmma_kernel(const Gemm g) {
#if WHITTLE_HAS_WGMMA
  using Shape = WgmmaShape<kColumns>;
  const int64_t rows = *g.rows;
  const int64_t columns = (g.n + kColumns - 1) / kColumns;
  const TileWalk walk{columns, (rows + kBlockRows - 1) / kBlockRows * columns};
  uint8_t* shared = dynamic_shared();
  uint64_t* full = reinterpret_cast<uint64_t*>(shared + Shape::kBarriers);
  uint64_t* empty = full + Shape::kStages;
  if (threadIdx.x == 0) {
    for (int i = 0; i < Shape::kStages; ++i) {
      barrier_init(full + i, 1);
      barrier_init(empty + i, 8);  // one a warp that multiplies
    }
    barrier_init_fence();
  }
  sync_block();
  if (threadIdx.x < 128) {
    give_registers<40>();
    if (threadIdx.x == 0) fill_stages<kColumns>(g, walk, shared, full, empty);
  } else {
    take_registers<232>();
    multiply_tiles<kColumns, Sum, kFinish>(g, walk, rows, shared, full, empty);
  }
#endif
}

template <int kColumns, typename Sum, Finish kFinish>
void launch_gemm_wgmma(const Gemm& g, int multiprocessors, Stream stream) {
  const int64_t tiles = (g.most_rows + kBlockRows - 1) / kBlockRows * ((g.n + kColumns - 1) / kColumns);
  launch(gemm_wgmma_kernel<kColumns, Sum, kFinish>, {tiles < multiprocessors ? tiles : multiprocessors}, kWgmmaThreads,
         WgmmaShape<kColumns>::kSharedBytes, stream, g);
}

// Wide tiles read less per product; narrow ones waste less where n is no multiple of 256, and keep more multiprocessors
// busy where there are few.
template <typename Sum>
void run_gemm_wgmma(const Gemm& g, int multiprocessors, Stream stream) {
  const int64_t row_tiles = (g.most_rows + kBlockRows - 1) / kBlockRows, wide_columns = (g.n + 255) / 256 * 256;
  const bool wide = g.n > 128 && row_tiles * (wide_columns / 256) >= multiprocessors && wide_columns * 10 <= g.n * 11;
  with_finish<Sum>(g, [&](auto tag) {
    constexpr Finish kFinish = decltype(tag)::kValue;
    if constexpr (is_general(kFinish)) {
      launch_gemm_wgmma<128, Sum, kFinish>(g, multiprocessors, stream);
    } else {
      if (panels_fit(g))
        launch_gemm_panels<Sum, kFinish>(g, multiprocessors, stream);
      else if (wide)
        launch_gemm_wgmma<256, Sum, kFinish>(g, multiprocessors, stream);
      else
        launch_gemm_wgmma<128, Sum, kFinish>(g, multiprocessors, stream);
    }
  });
}

}  // namespace whittle::cuda
