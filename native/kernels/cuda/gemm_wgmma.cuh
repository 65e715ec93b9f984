// Products by wgmma (sm_90a): tiles of 128 x 256 or 128 x 128. One warp keeps the copy engine busy, which fills stages
// of shared memory in bulk; two warpgroups multiply 64 rows each. Blocks are persistent and take tile after tile, so
// that the first stages of a tile are on their way while the last one is stored.
//
// Wide tiles are multiplied by clusters of two or four blocks, which have tiles one below the other: each fetches its
// part of the W that all need, for all, since the second-level cache cannot feed every block with operands of its own.
#pragma once

#include "kernels/cuda/gemm_panels.cuh"

namespace whittle::cuda {

static constexpr int kWgmmaThreads = 3 * 128;

template <int kTakeColumns, int kTakeCluster>
struct WgmmaShape {
  static constexpr int kColumns = kTakeColumns, kCluster = kTakeCluster;
  static constexpr int kStageBytes = kBlockBytes + kColumns * kRowBytes;  // A, then W
  static constexpr int kStages = kColumns == 256 ? 4 : 6;
  static constexpr int kBarriers = kStages * kStageBytes;  // where they lie
  static constexpr int kSharedBytes = kBarriers + 2 * kStages * static_cast<int>(sizeof(uint64_t));
};

#if WHITTLE_HAS_WGMMA
// Tiles in the order in which clusters take them: along the columns first, so that what the blocks at work read of A is
// little, and W, of which they read everything, stays in L2. A cluster's blocks have row tiles one after the other.
template <int kCluster>
struct TileWalk {
  int columns, row_tiles;

  // visit(row tile, column tile). The last row tile may be one behind the last.
  template <typename Visit>
  __device__ __forceinline__ void tiles(const Visit& visit) const {
    const int rank = kCluster > 1 ? cluster_rank() : 0;
    const int count = (row_tiles + kCluster - 1) / kCluster * columns;
    const int first = static_cast<int>(blockIdx.x) / kCluster, clusters = static_cast<int>(gridDim.x) / kCluster;
    for (int tile = first; tile < count; tile += clusters)
      visit(tile / columns * kCluster + rank, tile % columns);
  }
};

template <typename Shape, Finish kFinish>
__device__ __forceinline__ void fill_stages(const Gemm& g, const TileWalk<Shape::kCluster>& walk, int64_t rows,
                                            uint8_t* shared, uint64_t* full, uint64_t* empty) {
  constexpr int kParts = Shape::kColumns / kBlockRows, kCluster = Shape::kCluster;
  const Steps steps = steps_of(g.a);
  StageTurn<Shape::kStages> turn;
  walk.tiles([&](int row_tile, int column_tile) {
    // Behind the last row tile there is nothing to read; its results are not stored.
    const int there = row_tile < walk.row_tiles ? row_tile : walk.row_tiles - 1;
    const uint8_t* a = g.a.data + int64_t{there} * steps.stored() * kBlockBytes;
    const uint8_t* w = g.w + int64_t{column_tile} * kParts * steps.stored() * kBlockBytes;
    ResidualRowsOf<kFinish> residual(g, rows, int64_t{row_tile} * kBlockRows, kBlockRows,
                                     int64_t{column_tile} * Shape::kColumns, Shape::kColumns, steps.count());
    for (int step = 0; step < steps.count(); ++step, turn.next()) {
      uint8_t* stage = shared + turn.stage * Shape::kStageBytes;
      uint64_t* barrier = full + turn.stage;
      barrier_wait(empty + turn.stage, turn.parity ^ 1);
      barrier_arrive_expect(barrier, Shape::kStageBytes);
      copy_bulk(stage, a + int64_t{steps.a(step)} * kBlockBytes, kBlockBytes, barrier);
      const auto part_of_w = [&](int part) {
        return w + (int64_t{part} * steps.stored() + steps.w(step)) * kBlockBytes;
      };
      if constexpr (kCluster == 1) {
#pragma unroll
        for (int part = 0; part < kParts; ++part)
          copy_bulk(stage + (part + 1) * kBlockBytes, part_of_w(part), kBlockBytes, barrier);
      } else {
        constexpr int kShare = kParts * kBlockBytes / kCluster;
        static_assert(kBlockBytes % kShare == 0);
        const int at = cluster_rank() * kShare, part = at / kBlockBytes;
        copy_bulk_to(stage + kBlockBytes + at, part_of_w(part) + at % kBlockBytes, kShare, barrier,
                     (1 << kCluster) - 1);
      }
      residual.prefetch(g);
    }
  });
}

template <typename Shape, typename Sum, Finish kFinish>
__device__ __forceinline__ void multiply_tiles(const Gemm& g, const TileWalk<Shape::kCluster>& walk, int64_t rows,
                                               const uint8_t* shared, uint64_t* full, uint64_t* empty) {
  constexpr int kColumns = Shape::kColumns, kCluster = Shape::kCluster;
  const int thread = static_cast<int>(threadIdx.x) - 128, group = thread / 128, lane = thread % 32;
  const int steps = steps_of(g.a).count();
  StageTurn<Shape::kStages> turn;
  walk.tiles([&](int row_tile, int column_tile) {
    const int64_t row = int64_t{row_tile} * kBlockRows + group * 64 + thread % 128 / 32 * 16 + lane / 4;
    const TileRow pair[2] = {tile_row<Sum>(g, row, rows), tile_row<Sum>(g, row + 8, rows)};  // read meanwhile
    ResidualAhead<kFinish, kColumns / 2> residual;
    Sum sums[kColumns / 2];
    clear_sums(sums);
    int last = 0;
    for (int step = 0; step < steps; ++step, turn.next()) {
      const uint8_t* stage = shared + turn.stage * Shape::kStageBytes;
      barrier_wait(full + turn.stage, turn.parity);
      start_products(stage + group * 64 * kRowBytes, stage + kBlockBytes, step > 0, sums);
      if (step == 0) {
        residual.fetch(g, pair, int64_t{column_tile} * kColumns, lane);
      } else {
        wgmma_wait<1>();
        free_stage<kCluster>(empty + last, lane);
      }
      last = turn.stage;
    }
    wgmma_wait<0>();
    hold_accumulators(sums);
    free_stage<kCluster>(empty + last, lane);

    finish_tile<kFinish>(g, pair, int64_t{column_tile} * kColumns, lane, residual, sums);
  });
}
#endif

template <typename Shape, typename Sum, Finish kFinish>
__global__ void __launch_bounds__(kWgmmaThreads, 1) gemm_wgmma_kernel(const Gemm g) {
#if WHITTLE_HAS_WGMMA
  constexpr int kCluster = Shape::kCluster;
  const int64_t rows = *g.rows;
  const TileWalk<kCluster> walk{static_cast<int>((g.n + Shape::kColumns - 1) / Shape::kColumns),
                                static_cast<int>((rows + kBlockRows - 1) / kBlockRows)};
  uint8_t* shared = dynamic_shared();
  uint64_t* full = reinterpret_cast<uint64_t*>(shared + Shape::kBarriers);
  uint64_t* empty = full + Shape::kStages;
  if (threadIdx.x == 0) {
    for (int i = 0; i < Shape::kStages; ++i) {
      barrier_init(full + i, 1);
      barrier_init(empty + i, 8 * kCluster);  // one a warp that multiplies, in each block
    }
    barrier_init_fence();
  }
  if (kCluster > 1)
    sync_cluster();
  else
    sync_block();
  if (threadIdx.x < 128) {
    give_registers<40>();
    if (threadIdx.x == 0) fill_stages<Shape, kFinish>(g, walk, rows, shared, full, empty);
  } else {
    take_registers<232>();
    multiply_tiles<Shape, Sum, kFinish>(g, walk, rows, shared, full, empty);
  }
  if (kCluster > 1) sync_cluster();  // Nobody's shared memory goes while others may still arrive there.
#else
  fail_kernel();
#endif
}

// Clusters of tiles one below the other.
template <typename Shape>
int64_t cluster_tiles(const Gemm& g) {
  const int64_t rows = kBlockRows * Shape::kCluster;
  return (g.most_rows + rows - 1) / rows * ((g.n + Shape::kColumns - 1) / Shape::kColumns);
}

template <typename Shape, typename Sum, Finish kFinish>
void launch_gemm_wgmma(const Gemm& g, int64_t clusters, Stream stream) {
  const int64_t tiles = cluster_tiles<Shape>(g);
  launch(gemm_wgmma_kernel<Shape, Sum, kFinish>,
         {(tiles < clusters ? tiles : clusters) * Shape::kCluster, 1, Shape::kCluster}, kWgmmaThreads,
         Shape::kSharedBytes, stream, g);
}

// Clusters of four read less of W. A GPU may have fewer of them at work than half of those of two, which gives a block
// more tiles.
struct WgmmaBlocks {
  PanelBlocks panels;
  int alone = 1, twos = 2, fours = 0;  // blocks at work at once, of tiles
};

template <typename Sum>
WgmmaBlocks wgmma_blocks(int multiprocessors) {
  const PanelBlocks panels = panel_blocks<Sum>(multiprocessors);
  const int twos = multiprocessors < 2 ? 2 : multiprocessors / 2 * 2;
#if defined(WHITTLE_CUDA_SHIM)
  return {panels, multiprocessors, twos, (multiprocessors + 3) / 4 * 4};
#else
  using Four = WgmmaShape<256, 4>;
  return {panels, multiprocessors, twos,
          blocks_at_once(gemm_wgmma_kernel<Four, Sum, kNormalizedFinish<Sum>>, 4, kWgmmaThreads, Four::kSharedBytes,
                         multiprocessors)};
#endif
}

template <typename Sum, Finish kFinish>
void launch_wide_tiles(const Gemm& g, const WgmmaBlocks& blocks, Stream stream) {
  using Two = WgmmaShape<256, 2>;
  if constexpr (has_residual(kFinish)) {
    using Four = WgmmaShape<256, 4>;
    const auto rounds = [](int64_t clusters, int64_t at_once) { return (clusters + at_once - 1) / at_once; };
    if (blocks.fours > 0 &&
        rounds(cluster_tiles<Four>(g), blocks.fours / 4) <= rounds(cluster_tiles<Two>(g), blocks.twos / 2))
      return launch_gemm_wgmma<Four, Sum, kFinish>(g, blocks.fours / 4, stream);
  }
  launch_gemm_wgmma<Two, Sum, kFinish>(g, blocks.twos / 2, stream);
}

// Wide tiles read less per product; narrow ones waste less where n is no multiple of 256, and keep more multiprocessors
// busy where there are few.
template <typename Sum>
void run_gemm_wgmma(const Gemm& g, const WgmmaBlocks& blocks, Stream stream) {
  const int64_t row_tiles = (g.most_rows + kBlockRows - 1) / kBlockRows, wide_columns = (g.n + 255) / 256 * 256;
  const bool wide = g.n > 128 && row_tiles * (wide_columns / 256) >= blocks.alone && wide_columns * 10 <= g.n * 11;
  with_finish<Sum>(g, [&](auto tag) {
    constexpr Finish kFinish = decltype(tag)::kValue;
    if constexpr (is_general(kFinish)) {
      launch_gemm_wgmma<WgmmaShape<128, 1>, Sum, kFinish>(g, blocks.alone, stream);
    } else {
      if (panels_fit(g))
        launch_gemm_panels<Sum, kFinish>(g, blocks.panels, stream);
      else if (wide)
        launch_wide_tiles<Sum, kFinish>(g, blocks, stream);
      else
        launch_gemm_wgmma<WgmmaShape<128, 1>, Sum, kFinish>(g, blocks.alone, stream);
    }
  });
}

}  // namespace whittle::cuda
