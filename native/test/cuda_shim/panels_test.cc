// How tiles of the products by panels are shared among blocks, alone or in clusters.
#define WHITTLE_CUDA_SHIM 1
#include "kernels/cuda/gemm_panels.cuh"
#include "test/test.h"

#include <vector>

using namespace whittle::cuda;

namespace {

template <int kCluster>
void check_shares() {
  for (const int clusters : {1, 3, 33})
    for (const int groups : {1, 3, 8})  // of panels that a cluster has side by side
      for (const int row_tiles : {0, 1, 7, 300})
        for (const int chunk : {1, 8, 1000}) {
          const int panels = groups * kCluster, blocks = clusters * kCluster;
          std::vector<int> visits(static_cast<size_t>(panels * row_tiles)), shares(static_cast<size_t>(blocks));
          const auto visit_all = [&] {
            if (threadIdx.x != 0) return;
            PanelWalk<kCluster>{panels, row_tiles, chunk}.pieces([&](int panel, int first, int count) {
              CHECK_EQUAL(panel % kCluster, static_cast<int>(blockIdx.x) % kCluster);
              for (int tile = first; tile < first + count; ++tile)
                ++visits[static_cast<size_t>(panel * row_tiles + tile)];
              shares[blockIdx.x] += count;
            });
          };
          shim::run_grid({static_cast<unsigned>(blocks), 1, 1}, 128, 0, visit_all, kCluster);
          for (const int count : visits) CHECK_EQUAL(count, 1);
          // Of each chunk a block has at most one tile more than another.
          const int chunks = (row_tiles + chunk - 1) / chunk;
          for (const int share : shares) CHECK(std::abs(share - groups * row_tiles / clusters) <= chunks);
        }
}

}  // namespace

TEST(cuda_panels, every_tile_once_and_equal_shares) {
  check_shares<1>();
  check_shares<2>();
}

// Barriers know two parities: at the end of a launch they look as they did before it to who waits for an early turn.
TEST(cuda_panels, residuals_are_prefetched_to_the_end_by_a_thread_far_behind) {
  constexpr int kBlocks = 8, kTiles = 5, kRows = kTiles * kPanelRows, kTurns = kTiles * kBlocks;
  static_assert(kTurns > kPanelFull);
  const std::vector<float> residual(size_t{kRows} * kPanelColumns);
  Gemm g{};
  g.n = kPanelColumns;
  g.residual = residual.data();
  int ended = 0;
  shim::run_grid({1, 1, 1}, 128, PanelShared::bytes(kBlocks), [&] {
    const PanelShared shared{dynamic_shared(), kBlocks};
    if (threadIdx.x == 0) {
      for (int i = 0; i < kPanelFull; ++i) barrier_init(shared.full(i), 1);
      for (int turn = 0; turn < kTurns; ++turn) barrier_arrive(shared.full(turn % kPanelFull));
      tell_block(shared.tiles_begun(), kTiles);
    }
    sync_block();
    if (threadIdx.x != 32) return;
    prefetch_residuals<sizeof(float)>(g, PanelWalk<1>{1, kTiles, kTiles}, kRows, shared);
    ++ended;
  });
  CHECK_EQUAL(ended, 1);
}
