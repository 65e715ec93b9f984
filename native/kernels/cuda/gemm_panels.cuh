// Products by wgmma (sm_90a) where 128 rows of W, a panel, fit into shared memory beside the stages of A: k of at most
// 1024 bytes. A block keeps its panel and lets the rows of A pass by, 64 after 64, so that only A is read again and
// again. One warp fills stages; three warpgroups take every third tile of 64 x 128 each, so that while one multiplies,
// the others finish and store their sums.
#pragma once

#include "kernels/cuda/gemm_heads.cuh"
#include "kernels/cuda/gemm_stages.cuh"

namespace whittle::cuda {

static constexpr int kPanelGroups = 3, kPanelThreads = (kPanelGroups + 1) * 128;  // the last to fill stages
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
  static __device__ __forceinline__ PanelTurn after(int count) {
    return {StageTurn<kPanelStages>::after(count), StageTurn<kPanelFull>::after(count)};
  }
};

// Shared memory: the panel, the stages, the barriers.
struct PanelShared {
  uint8_t* shared;
  int blocks;  // of k

  static constexpr int kBarriers = kPanelFull + kPanelStages + kMostPanelBlocks + 1;
  static constexpr int64_t bytes(int64_t blocks) {
    return blocks * kBlockBytes + kPanelStages * kPanelStageBytes + kBarriers * static_cast<int>(sizeof(uint64_t));
  }
  __device__ __forceinline__ uint8_t* panel(int block) const { return shared + block * kBlockBytes; }
  __device__ __forceinline__ uint8_t* stage(int i) const { return panel(blocks) + i * kPanelStageBytes; }
  __device__ __forceinline__ uint64_t* full(int i) const {
    return reinterpret_cast<uint64_t*>(stage(kPanelStages)) + i;
  }
  __device__ __forceinline__ uint64_t* empty(int i) const { return full(kPanelFull + i); }
  __device__ __forceinline__ uint64_t* panel_full(int block) const { return empty(kPanelStages + block); }
  __device__ __forceinline__ uint64_t* panel_empty() const { return panel_full(kMostPanelBlocks); }
};
static_assert(PanelShared::bytes(kMostPanelBlocks) <= 227 * 1024);

// Tiles in the order in which they are shared among the blocks: chunk by chunk of A, panel by panel, from the first
// rows to the last. Each block has an equal run of every chunk's tiles.
struct PanelWalk {
  int panels, row_tiles, chunk;

  // visit(panel, first row tile, tiles) for each piece of one panel in this block's runs.
  template <typename Visit>
  __device__ __forceinline__ void pieces(const Visit& visit) const {
    const int block = static_cast<int>(blockIdx.x), blocks = static_cast<int>(gridDim.x);
    for (int first = 0; first < row_tiles; first += chunk) {
      const int tiles = row_tiles - first < chunk ? row_tiles - first : chunk, all = panels * tiles;
      const int end = static_cast<int>(int64_t{all} * (block + 1) / blocks);
      for (int at = static_cast<int>(int64_t{all} * block / blocks); at < end;) {
        const int row = at % tiles, count = tiles - row < end - at ? tiles - row : end - at;
        visit(at / tiles, first + row, count);
        at += count;
      }
    }
  }
};

#if WHITTLE_HAS_WGMMA
template <Finish kFinish>
__device__ __forceinline__ void fill_panels(const Gemm& g, const PanelWalk& walk, int64_t rows,
                                            const PanelShared& shared) {
  PanelTurn turn;
  uint32_t parity = 1;
  walk.pieces([&](int panel, int first, int count) {
    const int turns = count * shared.blocks;
    int filled = 0;
    const auto fill_until = [&](int end) {
      for (; filled < end; ++filled, turn.next()) {
        const int tile = first + filled / shared.blocks, block = filled % shared.blocks, stage = turn.of_stage.stage;
        const int64_t at = (int64_t{tile / 2} * shared.blocks + block) * kBlockBytes + tile % 2 * kPanelStageBytes;
        uint64_t* full = shared.full(turn.of_full.stage);
        barrier_wait(shared.empty(stage), turn.of_stage.parity ^ 1);
        barrier_arrive_expect(full, kPanelStageBytes);
        copy_bulk(shared.stage(stage), g.a.data + at, kPanelStageBytes, full);
        const int row = block * kPanelRows / shared.blocks, end = (block + 1) * kPanelRows / shared.blocks;
        ResidualRows<kFinish>(g, rows, int64_t{tile} * kPanelRows + row, end - row, int64_t{panel} * kPanelColumns,
                              kPanelColumns, 1)
            .prefetch(g);
      }
    };
    // Stages of the last panel's tiles become free without this one: they are filled before it may be.
    fill_until(turns < kPanelStages ? turns : kPanelStages);
    barrier_wait(shared.panel_empty(), parity);  // Passes at once the first time.
    parity ^= 1;
    for (int block = 0; block < shared.blocks; ++block) {
      barrier_arrive_expect(shared.panel_full(block), kBlockBytes);
      copy_bulk(shared.panel(block), g.w + (int64_t{panel} * shared.blocks + block) * kBlockBytes, kBlockBytes,
                shared.panel_full(block));
    }
    fill_until(turns);
  });
}

// sums [64, 128] of the warpgroup = the stages from `turn` on times the panel.
template <typename Sum>
__device__ __forceinline__ void multiply_panel(const PanelShared& shared, PanelTurn turn, bool new_panel,
                                               uint32_t panel_parity, int lane, Sum (&sums)[kPanelColumns / 2]) {
  clear_sums(sums);
  int last = 0;
  for (int block = 0; block < shared.blocks; ++block, turn.next()) {
    if (new_panel) barrier_wait(shared.panel_full(block), panel_parity);
    barrier_wait(shared.full(turn.of_full.stage), turn.of_full.parity);
    start_products(shared.stage(turn.of_stage.stage), shared.panel(block), block > 0, sums);
    if (block > 0) {
      wgmma_wait<1>();
      if (lane == 0) barrier_arrive(shared.empty(last));
    }
    last = turn.of_stage.stage;
  }
  wgmma_wait<0>();
  hold_accumulators(sums);
  if (lane == 0) barrier_arrive(shared.empty(last));
}

template <typename Sum, Finish kFinish>
__device__ __forceinline__ void multiply_panels(const Gemm& g, const PanelWalk& walk, int64_t rows,
                                                const PanelShared& shared) {
  const int thread = static_cast<int>(threadIdx.x), group = thread / 128, lane = thread % 32;
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
      const int64_t row = int64_t{first + tile} * kPanelRows + thread % 128 / 32 * 16 + lane / 4;
      const TileRow pair[2] = {tile_row<Sum>(g, row, rows), tile_row<Sum>(g, row + 8, rows)};  // read meanwhile
      Sum sums[kPanelColumns / 2];
      multiply_panel(shared, PanelTurn::after((tiles_before + tile) * shared.blocks), tile == own, parity, lane, sums);
      if (tile + kPanelGroups >= count && lane == 0) barrier_arrive(shared.panel_empty());
      finish_tile<kFinish>(g, pair, int64_t{panel} * kPanelColumns, lane, sums);
    }
    tiles_before += count;
    parity ^= 1;
  });
}
#endif

template <typename Sum, Finish kFinish>
__global__ void __launch_bounds__(kPanelThreads, 1) gemm_panels_kernel(const Gemm g) {
#if WHITTLE_HAS_WGMMA
  const int64_t rows = *g.rows;
  const int thread = static_cast<int>(threadIdx.x), blocks = static_cast<int>(part_blocks(g.a.form, g.a.k));
  const PanelWalk walk{static_cast<int>((g.n + kPanelColumns - 1) / kPanelColumns),
                       static_cast<int>((rows + kPanelRows - 1) / kPanelRows),
                       static_cast<int>(kPanelChunkBytes / (blocks * kPanelStageBytes))};
  const PanelShared shared{dynamic_shared(), blocks};
  if (thread == 0) {
    for (int i = 0; i < kPanelFull; ++i) barrier_init(shared.full(i), 1);
    for (int i = 0; i < kPanelStages; ++i) barrier_init(shared.empty(i), 4);  // one a warp that multiplies the stage
    for (int i = 0; i < kMostPanelBlocks; ++i) barrier_init(shared.panel_full(i), 1);
    barrier_init(shared.panel_empty(), 4 * kPanelGroups);
    barrier_init_fence();
  }
  sync_block();
  if (thread >= kPanelGroups * 128) {
    give_registers<24>();
    if (thread == kPanelGroups * 128) fill_panels<kFinish>(g, walk, rows, shared);
  } else {
    take_registers<160>();
    multiply_panels<Sum, kFinish>(g, walk, rows, shared);
  }
#else
  fail_kernel();
#endif
}

inline bool panels_fit(const Gemm& g) {
  return g.a.form != Form::split && part_blocks(g.a.form, g.a.k) <= kMostPanelBlocks;
}

template <typename Sum, Finish kFinish>
void launch_gemm_panels(const Gemm& g, int multiprocessors, Stream stream) {
  const int64_t tiles =
      (g.most_rows + kPanelRows - 1) / kPanelRows * ((g.n + kPanelColumns - 1) / kPanelColumns);
  launch(gemm_panels_kernel<Sum, kFinish>, {tiles < multiprocessors ? tiles : multiprocessors}, kPanelThreads,
         static_cast<int>(PanelShared::bytes(part_blocks(g.a.form, g.a.k))), stream, g);
}

}  // namespace whittle::cuda
