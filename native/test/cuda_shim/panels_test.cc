// How tiles of the products by panels are shared among blocks.
#define WHITTLE_CUDA_SHIM 1
#include "kernels/cuda/gemm_panels.cuh"
#include "test/test.h"

#include <vector>

using namespace whittle::cuda;

TEST(cuda_panels, every_tile_once_and_equal_shares) {
  for (const int blocks : {1, 3, 132})
    for (const int panels : {1, 3, 24})
      for (const int row_tiles : {0, 1, 7, 300})
        for (const int chunk : {1, 8, 1000}) {
          std::vector<int> visits(static_cast<size_t>(panels * row_tiles)), shares(static_cast<size_t>(blocks));
          shim::run_grid({static_cast<unsigned>(blocks), 1, 1}, 32, 0, [&] {
            if (threadIdx.x != 0) return;
            PanelWalk{panels, row_tiles, chunk}.pieces([&](int panel, int first, int count) {
              for (int tile = first; tile < first + count; ++tile)
                ++visits[static_cast<size_t>(panel * row_tiles + tile)];
              shares[blockIdx.x] += count;
            });
          });
          for (const int count : visits) CHECK_EQUAL(count, 1);
          // Of each chunk a block has at most one tile more than another.
          const int chunks = (row_tiles + chunk - 1) / chunk;
          for (const int share : shares) CHECK(std::abs(share - panels * row_tiles / blocks) <= chunks);
        }
}
