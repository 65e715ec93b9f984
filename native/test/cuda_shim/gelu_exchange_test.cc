// What the blocks of a product with GELU tell each other, launch after launch, and that a forgotten turn shows.
#define WHITTLE_CUDA_SHIM 1
#include "kernels/cuda/gemm_gelu_panels.cuh"
#include "test/test.h"

#include <vector>

using namespace whittle::cuda;

namespace {

constexpr int kPanels = 3, kGroups = 2, kTiles = 5;

float maximum(int launch, int tile, int row, int panel) {
  return static_cast<float>((launch * 31 + tile * 17 + row * 7 + panel * 13) % 101);
}

// Each block tells of kTiles tiles and sees those of all panels of its group. How often it saw something wrong.
int wrong_maxima(std::vector<uint32_t>& words, int launch) {
  GemmGelu g{};
  g.grid = {kPanels, kGroups, 1};
  g.exchange = words.data();
  int wrong = 0;
  shim::run_grid(
      {kPanels, kGroups, 1}, 128, 1024,
      [&] {
        const uint32_t lane = threadIdx.x % 32, first = threadIdx.x / 32 * 16 + lane / 4;
        GeluExchange exchange(g, 0, *GeluExchange(g, 0, 0).turns());
        sync_block();  // Nobody of the block tells anything before all have read.
        for (int tile = 0; tile < kTiles; ++tile, ++exchange.turn) {
          const auto of = [&](int half, int panel) {
            return maximum(launch, tile + static_cast<int>(blockIdx.y), static_cast<int>(first) + 8 * half, panel);
          };
          for (int half = 0; half < 2; ++half)
            if (lane % 4 == 0)
              exchange.tell_maximum(first + 8u * static_cast<uint32_t>(half), of(half, static_cast<int>(blockIdx.x)));
          float seen[2];
          exchange.see_maxima(first, lane, seen);
          for (int half = 0; half < 2; ++half) {
            float largest = 0;
            for (int panel = 0; panel < kPanels; ++panel) largest = std::max(largest, of(half, panel));
            wrong += seen[half] != largest;
          }
        }
        if (blockIdx.x == 0 && threadIdx.x == 0) *exchange.turns() = exchange.turn;
      },
      1, true);
  return wrong;
}

}  // namespace

TEST(cuda_gelu_exchange, everyone_sees_the_largest_of_this_launch) {
  std::vector<uint32_t> words(static_cast<size_t>(gelu_exchange_words({kPanels, kGroups, 1})));
  for (int launch = 0; launch < 16; ++launch) CHECK_EQUAL(wrong_maxima(words, launch), 0);
}

TEST(cuda_gelu_exchange, forgotten_turns_show) {
  std::vector<uint32_t> words(static_cast<size_t>(gelu_exchange_words({kPanels, kGroups, 1})));
  int wrong = 0;
  for (int launch = 0; launch < 16; ++launch) {
    wrong += wrong_maxima(words, launch);
    for (int group = 0; group < kGroups; ++group)
      words[static_cast<size_t>(kGroups * kGeluRing * gelu_slots(kPanels) + group * kGeluTurns)] = 0;
  }
  CHECK(wrong > 0);
}
