// How the blocks of a product with GELU (gemm_gelu_panels.cuh) tell each other the maxima of their parts of rows.
#pragma once

#include "kernels/cuda/gemm_panels.cuh"

namespace whittle::cuda {

// Where the blocks of a group tell each other what one of their warpgroups has. Maxima are not below 0, so that bit 31
// of their bits is free: it says in which round through the ring of two tiles they were told, and a number from the
// last round is known by it. A ring of two is enough: who tells of tile t has seen tile t - 1 of all others, so that
// they have seen tile t - 2. How many tiles there were stays for the next launch.
struct GeluExchange {
  const GemmGelu& g;
  int warpgroup;
  uint32_t turn;

  // turns_before: how many tiles there were before this launch.
  __device__ __forceinline__ GeluExchange(const GemmGelu& product, int of_warpgroup, uint32_t turns_before)
      : g(product), warpgroup(of_warpgroup), turn(turns_before) {}
  __device__ __forceinline__ uint32_t slots() const {  // of a row
    return (static_cast<uint32_t>(g.grid.panels) + 3) / 4 * 4;
  }
  // Where it is kept how many tiles there were. A block reads it before any of its warps tells something: whoever has
  // seen what all blocks told of their last tiles may then store the next launch's.
  __device__ __forceinline__ uint32_t* turns() const {
    return g.exchange + static_cast<uint32_t>(g.grid.groups) * kGeluRing * slots() + blockIdx.y * kGeluTurns +
           static_cast<uint32_t>(warpgroup);
  }
  __device__ __forceinline__ uint32_t round() const { return (~turn >> 1 & 1) << 31; }
  __device__ __forceinline__ uint32_t* slots_of(uint32_t row) const {
    const uint32_t tile = blockIdx.y * 6 + static_cast<uint32_t>(warpgroup) * 2 + (turn & 1);
    return g.exchange + (tile * kPanelRows + row) * slots();
  }
  // The largest result of a row in this panel, not below 0. The last panel speaks for all slots behind.
  __device__ __forceinline__ void tell_maximum(uint32_t row, float maximum) const {
    const uint32_t panel = blockIdx.x;
    uint32_t* to = slots_of(row);
    const uint32_t told = float_bits(maximum) | round();
    tell(to + panel, told);
    if (panel + 1 == static_cast<uint32_t>(g.grid.panels))
#pragma unroll 1
      for (uint32_t slot = panel + 1; slot < slots(); ++slot) tell(to + slot, told);
  }
  // Waits until all panels have told of these two rows; for whole warps, four lanes a row.
  __device__ __forceinline__ void see_maxima(uint32_t first, uint32_t lane, float (&maxima)[2]) const {
    uint32_t largest[2];
    do {
      largest[0] = largest[1] = 0;
      const uint32_t* told = slots_of(first) + lane % 4 * 4;
      const uint32_t other = 8 * slots();
      // All loads of 32 panels are on their way at once.
#pragma unroll 1
      for (uint32_t slot = lane % 4 * 4; slot < slots(); slot += 32, told += 32) {
        const uint32_t* behind = slot + 16 < slots() ? told + 16 : told;
        const uint4 a = load_told(told), b = load_told(behind);
        const uint4 c = load_told(told + other), d = load_told(behind + other);
        largest[0] = larger(larger(largest[0], a), b);
        largest[1] = larger(larger(largest[1], c), d);
      }
    } while (ballot(((largest[0] | largest[1]) & 0x80000000u) != 0) != 0 && look_again());
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      largest[half] = larger(largest[half], shuffle_xor(largest[half], 1));
      largest[half] = larger(largest[half], shuffle_xor(largest[half], 2));
      maxima[half] = bits_float(largest[half]);
    }
  }

 private:
  static __device__ __forceinline__ uint32_t larger(uint32_t a, uint32_t b) { return a > b ? a : b; }
  // With bit 31 where one is from another round.
  __device__ __forceinline__ uint32_t larger(uint32_t largest, const uint4& told) const {
    const uint32_t now = round();
    largest = larger(larger(largest, told.x ^ now), told.y ^ now);
    return larger(larger(largest, told.z ^ now), told.w ^ now);
  }
};

}  // namespace whittle::cuda
