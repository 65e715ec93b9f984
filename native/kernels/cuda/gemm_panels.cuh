// Products by wgmma (sm_90a) where 128 rows of W, a panel, fit into shared memory beside the stages of A: k of at most
// 1024 bytes. A block keeps its panel and lets the rows of A pass by, 64 after 64, so that only A is read again and
// again. Three warpgroups take every third tile of 64 x 128 each, so that while one multiplies, the others finish and
// store their sums. Of a fourth one thread fills stages of A, one fetches panels, and one the residuals ahead.
//
// Blocks whose panels lie side by side form a cluster, pass the same rows by and fetch a part of them each, for all:
// read by every block, A is what the second-level cache has most to do with.
#pragma once

#include "kernels/cuda/gemm_heads.cuh"
#include "kernels/cuda/gemm_stages.cuh"

namespace whittle::cuda {

static constexpr int kPanelGroups = 3, kPanelThreads = (kPanelGroups + 1) * 128;  // the last group fetches
static constexpr int kPanelRows = 64, kPanelColumns = kBlockRows, kPanelStages = 12, kMostPanelBlocks = 8;
static constexpr int kPanelStageBytes = kPanelRows * kRowBytes;
// Barriers for stages that are full: that of turn t is number t % kPanelFull. A barrier has two parities only, so that
// whoever waits for turn t must know that turn t - kPanelFull is over, or takes the turn before that for t. A warpgroup
// does not see the turns of others' tiles. When it has seen its tile's last turn t, turn t - kPanelStages is over, and
// its next tile begins with turn t + (kPanelGroups - 1) * blocks + 1.
static constexpr int kPanelFull = 32;
static_assert(kPanelFull >= kPanelStages + (kPanelGroups - 1) * kMostPanelBlocks + 1);
// A chunk of A that stays in the second-level cache while all panels pass over it.
static constexpr int64_t kPanelChunkBytes = int64_t{16} << 20;

struct PanelTurn {
  StageTurn<kPanelStages> of_stage;
  StageTurn<kPanelFull> of_full;
  __device__ __forceinline__ void next() {
    of_stage.next();
    of_full.next();
  }
};

// Shared memory: the panel, the stages, the barriers, and how many tiles fill_stages has begun.
struct PanelShared {
  uint8_t* shared;
  int blocks;  // of k

  static constexpr int kWords = kPanelFull + kPanelStages + kMostPanelBlocks + 1 + 1;
  static constexpr int64_t bytes(int64_t blocks) {
    return blocks * kBlockBytes + kPanelStages * kPanelStageBytes + kWords * static_cast<int>(sizeof(uint64_t));
  }
  __device__ __forceinline__ uint8_t* panel(int block) const { return shared + block * kBlockBytes; }
  __device__ __forceinline__ uint8_t* stage(int i) const { return panel(blocks) + i * kPanelStageBytes; }
  __device__ __forceinline__ uint64_t* full(int i) const {
    return reinterpret_cast<uint64_t*>(stage(kPanelStages)) + i;
  }
  __device__ __forceinline__ uint64_t* empty(int i) const { return full(kPanelFull + i); }
  __device__ __forceinline__ uint64_t* panel_full(int block) const { return empty(kPanelStages + block); }
  __device__ __forceinline__ uint64_t* panel_empty() const { return panel_full(kMostPanelBlocks); }
  __device__ __forceinline__ uint32_t* tiles_begun() const { return reinterpret_cast<uint32_t*>(panel_empty() + 1); }
};
static_assert(PanelShared::bytes(kMostPanelBlocks) <= 227 * 1024);

#if WHITTLE_HAS_WGMMA
// Tiles in the order in which they are shared among the clusters: chunk by chunk of A, panels by panels, from the first
// rows to the last. Each cluster has an equal run of every chunk's tiles, a block of it those of its panel.
template <int kCluster>
struct PanelWalk {
  int panels, row_tiles, chunk;

  // visit(panel, first row tile, tiles) for each piece of one panel in this block's runs.
  template <typename Visit>
  __device__ __forceinline__ void pieces(const Visit& visit) const {
    const uint32_t cluster = blockIdx.x / kCluster, clusters = gridDim.x / kCluster;
    const int rank = kCluster > 1 ? cluster_rank() : 0;
    for (int first = 0; first < row_tiles; first += chunk) {
      const int tiles = row_tiles - first < chunk ? row_tiles - first : chunk;
      // A chunk has 2,048 row tiles at most: times panels and clusters that is far below 2^32.
      const uint32_t all = static_cast<uint32_t>(panels / kCluster * tiles);
      const int end = static_cast<int>(all * (cluster + 1) / clusters);
      for (int at = static_cast<int>(all * cluster / clusters); at < end;) {
        const int row = at % tiles, count = tiles - row < end - at ? tiles - row : end - at;
        visit(at / tiles * kCluster + rank, first + row, count);
        at += count;
      }
    }
  }
};

// Stages of A, for one thread. It waits for nothing but that the stage is free in all blocks of the cluster. If kTells,
// prefetch_residuals waits for it.
template <bool kTells, int kCluster>
__device__ __forceinline__ void fill_stages(const Gemm& g, const PanelWalk<kCluster>& walk, const PanelShared& shared) {
  constexpr int kShare = kPanelStageBytes / kCluster;
  StageTurn<kPanelStages> turn;
  int full_turn = 0;
  uint32_t begun = 0;
  walk.pieces([&](int, int first, int count) {
    for (int tile = first; tile < first + count; ++tile) {
      if (kTells) tell_block(shared.tiles_begun(), ++begun);
      const uint8_t* a = g.a.data + int64_t{tile / 2} * shared.blocks * kBlockBytes + tile % 2 * kPanelStageBytes;
#pragma unroll 1
      for (int block = shared.blocks; block > 0; --block, a += kBlockBytes, ++full_turn, turn.next()) {
        uint8_t* stage = shared.stage(turn.stage);
        uint64_t* full = shared.full(full_turn % kPanelFull);
        barrier_wait(shared.empty(turn.stage), turn.parity ^ 1);
        barrier_arrive_expect(full, kPanelStageBytes);
        if constexpr (kCluster == 1) {
          copy_bulk(stage, a, kPanelStageBytes, full);
        } else {
          const int share = cluster_rank() * kShare;
          copy_bulk_to(stage + share, a + share, kShare, full, (1 << kCluster) - 1);
        }
      }
    }
  });
}

// Panel after panel, for another thread.
template <int kCluster>
__device__ __forceinline__ void fill_panels(const Gemm& g, const PanelWalk<kCluster>& walk, const PanelShared& shared) {
  uint32_t parity = 1;
  walk.pieces([&](int panel, int, int) {
    barrier_wait(shared.panel_empty(), parity);  // Passes at once the first time.
    parity ^= 1;
#pragma unroll 1
    for (int block = 0; block < shared.blocks; ++block) {
      barrier_arrive_expect(shared.panel_full(block), kBlockBytes);
      copy_bulk(shared.panel(block), g.w + (int64_t{panel} * shared.blocks + block) * kBlockBytes, kBlockBytes,
                shared.panel_full(block));
    }
  });
}

// Fetches the residual of each tile into the second-level cache when its stages begin to fill: memory has little to do
// while it is multiplied, and much when it is finished. This thread may be behind the others by any number of tiles, so
// that it cannot wait at their barriers, which have two parities: it would wait forever for the turn after their last.
// It leaves tiles out whose products are over.
template <int kBytes, int kCluster>
__device__ __forceinline__ void prefetch_residuals(const Gemm& g, const PanelWalk<kCluster>& walk, int rows,
                                                   const PanelShared& shared) {
  int tile = 0;
  walk.pieces([&](int panel, int first, int count) {
    const int column = panel * kPanelColumns, left = static_cast<int>(g.n) - column;
    const uint32_t bytes = static_cast<uint32_t>(left < kPanelColumns ? left : kPanelColumns) * kBytes;
#pragma unroll 1
    for (int row = first * kPanelRows; count > 0; --count) {
      ++tile;
      int begun = static_cast<int>(load_told_block(shared.tiles_begun()));
      while (begun < tile && look_again_soon()) begun = static_cast<int>(load_told_block(shared.tiles_begun()));
      const int end = row + kPanelRows;
      if ((begun - 1 - tile) * shared.blocks >= kPanelStages) row = end;
#pragma unroll 1
      for (; row < end; ++row)
        if (row < rows)
          prefetch_bulk(static_cast<const uint8_t*>(g.residual) + (row * g.n + column) * kBytes, bytes);
    }
  });
}

// Addresses in shared memory, the same in all lanes, as the compiler knows of what a lane is asked for: they then take no
// registers of the lanes.
struct PanelAddresses {
  uint32_t panel, stages, full, empty, panel_full;

  __device__ __forceinline__ explicit PanelAddresses(const PanelShared& shared)
      : panel(shuffle(shared_address(shared.panel(0)), 0)),
        stages(panel + static_cast<uint32_t>(shared.blocks) * kBlockBytes),
        full(stages + kPanelStages * kPanelStageBytes),
        empty(full + kPanelFull * 8),
        panel_full(empty + kPanelStages * 8) {}
};

// sums [64, 128] of the warpgroup = `blocks` stages, from turn `turn` on, times the panel. early: what is done while the
// first products are under way, and late: while the last ones are.
template <int kCluster, typename Sum, typename Early, typename Late>
__device__ __forceinline__ void multiply_panel(const PanelAddresses& at, int blocks, uint32_t turn, bool new_panel,
                                               uint32_t panel_parity, int lane, const Early& early, const Late& late,
                                               Sum (&sums)[kPanelColumns / 2]) {
  clear_sums(sums);
  uint32_t stage = turn % kPanelStages, last = 0;
  int step = 0;
  const auto multiply_until = [&](int end) {
#pragma unroll 1
    for (; step < end; ++step) {
      if (new_panel) barrier_wait(at.panel_full + static_cast<uint32_t>(step) * 8, panel_parity);
      barrier_wait(at.full + turn % kPanelFull * 8, turn / kPanelFull & 1);
      start_products(at.stages + stage * kPanelStageBytes, at.panel + static_cast<uint32_t>(step) * kBlockBytes,
                     step > 0, sums);
      wgmma_wait<1>();
      barrier_arrive_at(at.empty + last * 8, lane, step > 0 && lane < kCluster);
      last = stage;
      stage = stage + 1 == kPanelStages ? 0 : stage + 1;
      ++turn;
    }
  };
  multiply_until(blocks < 2 ? blocks : 2);
  early();
  multiply_until(blocks);
  late();
  wgmma_wait<0>();
  hold_accumulators(sums);
  barrier_arrive_at(at.empty + last * 8, lane, lane < kCluster);
}

template <typename Sum, Finish kFinish, int kCluster>
__device__ __forceinline__ void multiply_panels(const Gemm& g, const PanelWalk<kCluster>& walk, int64_t rows,
                                                const PanelShared& shared) {
  const PanelAddresses addresses(shared);
  // The same numbers in all lanes, too.
  const int group = shuffle(static_cast<int>(threadIdx.x) / 128, 0);
  const int first_row = shuffle(static_cast<int>(threadIdx.x) % 128 / 32 * 16, 0);  // of the warp, in a tile
  const int lane = static_cast<int>(threadIdx.x) % 32;
  int tiles_before = 0;
  uint32_t parity = 0;
  walk.pieces([&](int panel, int first, int count) {
    const int own = (group - tiles_before % kPanelGroups + kPanelGroups) % kPanelGroups;
    // Every warp tells once a panel that it is done with it, not before the panel is there: a warp with nothing to do
    // would tell of later ones already.
    if (own >= count) {
      barrier_wait(shared.panel_full(0), parity);
      if (lane == 0) barrier_arrive(shared.panel_empty());
    }
    for (int tile = own; tile < count; tile += kPanelGroups) {
      const int64_t row = int64_t{first + tile} * kPanelRows + first_row + lane / 4;
      const int64_t column = int64_t{panel} * kPanelColumns;
      TileRow pair[2] = {tile_row<Sum>(g, row, rows), tile_row<Sum>(g, row + 8, rows)};  // read meanwhile
      Sum sums[kPanelColumns / 2];
      const uint32_t turn = static_cast<uint32_t>((tiles_before + tile) * shared.blocks);
      constexpr bool kHeads = kFinish == Finish::heads;
      OutliersAhead<kPanelColumns / 32> ahead;
      ResidualAhead<kFinish, kPanelColumns / 2> residual;
      const auto early = [&] {
        if constexpr (kHeads) ahead.fetch_outliers(g, pair);
        residual.fetch(g, pair, column, lane);
      };
      const auto late = [&] {
        if constexpr (kHeads) ahead.fetch_columns(g, 0, column, lane);
      };
      multiply_panel<kCluster>(addresses, shared.blocks, turn, tile == own, parity, lane, early, late, sums);
      if (tile + kPanelGroups >= count && lane == 0) barrier_arrive(shared.panel_empty());
      if constexpr (kHeads) ahead.add_all(g, column, lane, pair, sums);
      finish_tile<kFinish>(g, pair, column, lane, residual, sums);
    }
    tiles_before += count;
    parity ^= 1;
  });
}
#endif

template <typename Sum, Finish kFinish, int kCluster>
__global__ void __launch_bounds__(kPanelThreads, 1) gemm_panels_kernel(const Gemm g) {
#if WHITTLE_HAS_WGMMA
  const int64_t rows = *g.rows;
  const int thread = static_cast<int>(threadIdx.x), blocks = static_cast<int>(part_blocks(g.a.form, g.a.k));
  const PanelWalk<kCluster> walk{static_cast<int>((g.n + kPanelColumns - 1) / kPanelColumns),
                                 static_cast<int>((rows + kPanelRows - 1) / kPanelRows),
                                 static_cast<int>(kPanelChunkBytes / (blocks * kPanelStageBytes))};
  const PanelShared shared{dynamic_shared(), blocks};
  if (thread == 0) {
    for (int i = 0; i < kPanelFull; ++i) barrier_init(shared.full(i), 1);
    for (int i = 0; i < kPanelStages; ++i) barrier_init(shared.empty(i), 4 * kCluster);  // a warp that reads it
    for (int i = 0; i < kMostPanelBlocks; ++i) barrier_init(shared.panel_full(i), 1);
    barrier_init(shared.panel_empty(), 4 * kPanelGroups);
    *shared.tiles_begun() = 0;
    barrier_init_fence();
  }
  if (kCluster > 1)
    sync_cluster();
  else
    sync_block();
  if (thread >= kPanelGroups * 128) {
    give_registers<32>();
    // A warp each.
    if (thread == kPanelGroups * 128) fill_stages<has_residual(kFinish)>(g, walk, shared);
    if (thread == kPanelGroups * 128 + 32) fill_panels(g, walk, shared);
    if (has_residual(kFinish) && thread == kPanelGroups * 128 + 64)
      prefetch_residuals<residual_bytes(kFinish)>(g, walk, static_cast<int>(rows), shared);
  } else {
    take_registers<160>();
    multiply_panels<Sum, kFinish>(g, walk, rows, shared);
  }
  if (kCluster > 1) sync_cluster();  // Nobody's shared memory goes while others may still arrive there.
#else
  fail_kernel();
#endif
}

inline bool panels_fit(const Gemm& g) {
  return g.a.form != Form::split && part_blocks(g.a.form, g.a.k) <= kMostPanelBlocks;
}

// The results of int8 encoders: others keep to blocks of their own.
constexpr bool panels_in_clusters(Finish finish) {
  return finish == Finish::heads || has_residual(finish);
}
// How many blocks of panels a GPU has at work at once, in clusters of two too. Clusters of four were slower: an H200 has
// room for 120 blocks of them, 12 multiprocessors less.
struct PanelBlocks {
  int alone = 1, twos = 0;
};

template <typename Sum>
PanelBlocks panel_blocks(int multiprocessors) {
#if defined(WHITTLE_CUDA_SHIM)
  return {multiprocessors, (multiprocessors + 1) / 2 * 2};
#else
  const int bytes = static_cast<int>(PanelShared::bytes(kMostPanelBlocks));
  return {multiprocessors,
          blocks_at_once(gemm_panels_kernel<Sum, kNormalizedFinish<Sum>, 2>, 2, kPanelThreads, bytes, multiprocessors)};
#endif
}

template <typename Sum, Finish kFinish, int kCluster>
void launch_panel_clusters(const Gemm& g, int blocks, Stream stream) {
  const int64_t tiles = (g.most_rows + kPanelRows - 1) / kPanelRows * ((g.n + kPanelColumns - 1) / kPanelColumns);
  launch(gemm_panels_kernel<Sum, kFinish, kCluster>, {tiles < blocks ? tiles : blocks, 1, kCluster}, kPanelThreads,
         static_cast<int>(PanelShared::bytes(part_blocks(g.a.form, g.a.k))), stream, g);
}

// In clusters of two if their panels are whole and they leave few multiprocessors without work.
template <typename Sum, Finish kFinish>
void launch_gemm_panels(const Gemm& g, const PanelBlocks& blocks, Stream stream) {
  if constexpr (panels_in_clusters(kFinish)) {
    const int64_t panels = (g.n + kPanelColumns - 1) / kPanelColumns;
    if (panels % 2 == 0 && blocks.twos * 10 >= blocks.alone * 9)
      return launch_panel_clusters<Sum, kFinish, 2>(g, blocks.twos, stream);
  }
  launch_panel_clusters<Sum, kFinish, 1>(g, blocks.alone, stream);
}

}  // namespace whittle::cuda
