// kernels/cuda/device.cuh in plain C++, after the descriptions of the instructions in NVIDIA's PTX manual. Asynchronous
// copies and matrix operations happen as late as they may, so that a missing wait shows as poison.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "formats/half.h"
#include "test/cuda_shim/fibers.h"

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __restrict__ __restrict
#define __launch_bounds__(...)
#define threadIdx (::whittle::cuda::shim::thread_index())
#define blockIdx (::whittle::cuda::shim::block_index())
#define blockDim (::whittle::cuda::shim::block_dimension())
#define gridDim (::whittle::cuda::shim::grid_dimension())
#define WHITTLE_HAS_WGMMA 1
#define WHITTLE_HAS_MMA_PRODUCTS 1

namespace whittle::cuda {

struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(16) int4 {
  int32_t x, y, z, w;
};
struct alignas(16) uint4 {
  uint32_t x, y, z, w;
};
struct alignas(8) uint2 {
  uint32_t x, y;
};
struct alignas(8) float2 {
  float x, y;
};

inline void fail_kernel() {
  shim::fault("a kernel that this kind of GPU never runs");
}
inline uint8_t* dynamic_shared() {
  return shim::shared_memory();
}
inline uint32_t shared_address(const void* pointer) {
  return static_cast<uint32_t>(static_cast<const uint8_t*>(pointer) - shim::shared_memory());
}

template <typename T>
T settled(T address) {
  return address;
}

// --- warps and blocks ---
inline void sync_block() {
  shim::together(shim::Scope::barrier, "sync_block", nullptr, nullptr, 0, static_cast<int>(blockDim.x));
}
inline void sync_warp() {
  shim::together(shim::Scope::warp, "sync_warp", nullptr, nullptr);
}

inline int made_here(int value) {
  return value;
}
template <typename T>
struct Shuffle {
  T value, result;
  int from;
};
template <typename T>
void act_shuffle(void* const* arguments, int count) {
  for (int i = 0; i < count; ++i) {
    auto* one = static_cast<Shuffle<T>*>(arguments[i]);
    one->result = static_cast<Shuffle<T>*>(arguments[one->from & 31])->value;
  }
}
template <typename T>
T shuffle(T value, int lane) {
  Shuffle<T> argument{value, value, lane};
  shim::together(shim::Scope::warp, "shuffle", &argument, act_shuffle<T>);
  return argument.result;
}
template <typename T>
T shuffle_xor(T value, int mask) {
  return shuffle(value, static_cast<int>(threadIdx.x % 32) ^ mask);
}
inline uint32_t warp_max(uint32_t value) {
  shim::together(shim::Scope::warp, "warp_max", &value, [](void* const* arguments, int count) {
    uint32_t largest = 0;
    for (int i = 0; i < count; ++i) largest = std::max(largest, *static_cast<uint32_t*>(arguments[i]));
    for (int i = 0; i < count; ++i) *static_cast<uint32_t*>(arguments[i]) = largest;
  });
  return value;
}
inline uint32_t ballot(bool vote) {
  uint32_t value = vote;
  shim::together(shim::Scope::warp, "ballot", &value, [](void* const* arguments, int count) {
    uint32_t votes = 0;
    for (int i = 0; i < count; ++i) votes |= *static_cast<uint32_t*>(arguments[i]) << i;
    for (int i = 0; i < count; ++i) *static_cast<uint32_t*>(arguments[i]) = votes;
  });
  return value;
}
inline int __ffs(uint32_t value) {
  return __builtin_ffs(static_cast<int>(value));
}
inline int __popc(uint32_t value) {
  return __builtin_popcount(value);
}
// --- numbers ---
inline float exp2_approximate(float x) {
  return std::exp2(x);
}
inline uint32_t half_pair(float first, float second) {
  const auto saturated = [](float x) { return std::fabs(x) > 65504.0f ? std::copysign(65504.0f, x) : x; };
  return float_to_half(saturated(first)) | static_cast<uint32_t>(float_to_half(saturated(second))) << 16;
}
inline uint32_t small_half_pair(float first, float second) {
  return float_to_half(first) | static_cast<uint32_t>(float_to_half(second)) << 16;
}
inline uint32_t bf16_pair(float first, float second) {
  return float_to_bf16(first) | static_cast<uint32_t>(float_to_bf16(second)) << 16;
}
inline float half_value(uint16_t half) {
  return half_to_float(half);
}
inline float bf16_value(uint16_t bits) {
  return bf16_to_float(bits);
}
inline uint32_t float_bits(float value) {
  return std::bit_cast<uint32_t>(value);
}
inline float bits_float(uint32_t bits) {
  return std::bit_cast<float>(bits);
}
inline int round_to_int(float value) {
  return static_cast<int>(std::nearbyint(value));
}
inline float multiply(float a, float b) {
  return a * b;
}
inline float add(float a, float b) {
  return a + b;
}
inline double multiply(double a, double b) {
  return a * b;
}
inline double add(double a, double b) {
  return a + b;
}
inline float multiply_add(float a, float b, float c) {
  return std::fma(a, b, c);
}
inline float saturated_multiply_add(float a, float b, float c) {
  const float sum = std::fma(a, b, c);
  return sum > 0 ? (sum < 1 ? sum : 1.0f) : 0.0f;
}

inline uint32_t rounded_bytes(float a, float b, float c, float d) {
  uint32_t all = 0;
  for (const float value : {d, c, b, a})
    all = all << 8 | static_cast<uint8_t>(std::clamp(round_to_int(value), -128, 127));
  return all;
}
// Up to an ulp off, by turns in one way and the other.
inline float reciprocal_approximate(float x) {
  static int turn = 0;
  turn = (turn + 1) % 3;
  return bits_float(float_bits(1.0f / x) + static_cast<uint32_t>(turn) - 1);
}
inline uint32_t permute_bytes(uint32_t a, uint32_t b, uint32_t order) {
  const uint64_t bytes = a | uint64_t{b} << 32;
  uint32_t result = 0;
  for (int i = 0; i < 4; ++i) result |= static_cast<uint32_t>(bytes >> 8 * (order >> 4 * i & 7) & 0xff) << 8 * i;
  return result;
}
inline int32_t dot_pair_low(uint32_t a, uint32_t b, int32_t sum) {
  return sum + static_cast<int16_t>(a) * static_cast<int8_t>(b) +
         static_cast<int16_t>(a >> 16) * static_cast<int8_t>(b >> 8);
}
inline int32_t dot_pair_high(uint32_t a, uint32_t b, int32_t sum) {
  return dot_pair_low(a, b >> 16, sum);
}

// --- memory through which the blocks of a grid tell each other something ---
inline uint4 load_told(const uint32_t* from) {
  if (reinterpret_cast<uintptr_t>(from) % 16) shim::fault("misaligned load");
  return {from[0], from[1], from[2], from[3]};
}
inline void tell(uint32_t* to, uint32_t value) {
  *to = value;
  shim::progress();
}
inline bool look_again() {
  shim::poll();
  return true;
}

inline void tell_block(uint32_t* to, uint32_t value) {
  tell(to, value);
}
inline uint32_t load_told_block(const uint32_t* from) {
  return *from;
}
inline bool look_again_soon() {
  return look_again();
}

// --- counting in memory that threads share --- (fibers change places at collective instructions only)
inline void add_atomically(uint32_t* to, uint32_t value) {
  *to += value;
}
inline void add_atomically(uint64_t* to, uint64_t value) {
  *to += value;
}

// --- copies to shared memory ---
inline void copy_async(void* shared, const void* global, bool valid = true) {
  if ((reinterpret_cast<uintptr_t>(shared) | reinterpret_cast<uintptr_t>(global)) % 16) shim::fault("misaligned copy");
  shim::defer_copy(shared, global, 16, valid ? 16 : 0);
}
inline void copy_async(uint32_t shared, const void* global) {
  copy_async(shim::shared_memory() + shared, global);
}
inline void copy_async_word(uint32_t shared, const void* global) {
  if ((shared | reinterpret_cast<uintptr_t>(global)) % 4) shim::fault("misaligned copy");
  shim::defer_copy(shim::shared_memory() + shared, global, 4, 4);
}
inline void copy_async_commit() {
  shim::commit_copies();
}
template <int kGroupsLeft>
void copy_async_wait() {
  shim::wait_copies(kGroupsLeft);
}

// --- barriers that count arrivals and bytes ---
// Bits: arrivals of a phase (16), arrivals still missing (16), bytes still missing (31, offset), parity of the phase.
struct BarrierState {
  uint32_t arrivals, missing;
  int64_t bytes;
  uint32_t parity;

  static constexpr int64_t kOffset = int64_t{1} << 30;
  static BarrierState read(const uint64_t* barrier) {
    const uint64_t bits = *barrier;
    return {static_cast<uint32_t>(bits & 0xffff), static_cast<uint32_t>(bits >> 16 & 0xffff),
            static_cast<int64_t>(bits >> 32 & 0x7fffffff) - kOffset, static_cast<uint32_t>(bits >> 63)};
  }
  void write(uint64_t* barrier) {
    if (missing == 0 && bytes == 0) {
      missing = arrivals;
      parity ^= 1;
      shim::progress();
    }
    *barrier = arrivals | static_cast<uint64_t>(missing) << 16 | static_cast<uint64_t>(bytes + kOffset) << 32 |
               static_cast<uint64_t>(parity) << 63;
  }
};
inline void barrier_init(uint64_t* barrier, int arrivals) {
  BarrierState{static_cast<uint32_t>(arrivals), static_cast<uint32_t>(arrivals), 0, 0}.write(barrier);
}
inline void barrier_init_fence() {}
inline void barrier_add(uint64_t* barrier, uint32_t arrivals, int64_t bytes) {
  BarrierState state = BarrierState::read(barrier);
  if (state.missing < arrivals) shim::fault("more arrivals at a barrier than it counts");
  state.missing -= arrivals;
  state.bytes += bytes;
  state.write(barrier);
}
inline void barrier_arrive(uint64_t* barrier) {
  barrier_add(barrier, 1, 0);
}
inline void barrier_arrive_expect(uint64_t* barrier, uint32_t bytes) {
  barrier_add(barrier, 1, bytes);
}
inline void barrier_wait(uint64_t* barrier, uint32_t parity) {
  for (;;) {
    shim::flush_bulk(barrier);
    if (BarrierState::read(barrier).parity != parity) return;
    shim::poll();
  }
}
inline uint64_t* barrier_of(uint32_t address) {
  return reinterpret_cast<uint64_t*>(shim::shared_memory() + address);
}
inline void barrier_wait(uint32_t barrier, uint32_t parity) {
  barrier_wait(barrier_of(barrier), parity);
}
inline int cluster_rank() {
  return shim::cluster_rank();
}
inline void sync_cluster() {
  shim::together(shim::Scope::cluster, "sync_cluster", nullptr, nullptr);
}
template <typename T>
T* in_block(T* shared, int rank) {
  return static_cast<T*>(shim::shared_of(reinterpret_cast<uint8_t*>(shared) - shim::shared_memory(), rank));
}
inline void barrier_arrive_at(uint64_t* barrier, int rank) {
  barrier_arrive(in_block(barrier, rank));
}
inline void barrier_arrive_at(uint32_t barrier, int rank, bool arrives) {
  if (arrives) barrier_arrive_at(barrier_of(barrier), rank);
}
inline void copy_bulk(void* shared, const void* global, uint32_t bytes, uint64_t* barrier) {
  if ((reinterpret_cast<uintptr_t>(shared) | reinterpret_cast<uintptr_t>(global) | bytes) % 16)
    shim::fault("misaligned bulk copy");
  shim::defer_bulk(barrier, [=] {
    std::memcpy(shared, global, bytes);
    barrier_add(barrier, 0, -int64_t{bytes});
  });
}

template <typename T>
T load_constant(const T* from) {
  return *from;
}
inline uint4 load_here(const void* from) {
  return *static_cast<const uint4*>(from);
}
// Reads the bytes, so that sanitizers see addresses beyond an array.
inline void prefetch_bulk(const void* global, uint32_t bytes) {
  if ((reinterpret_cast<uintptr_t>(global) | bytes) % 16) shim::fault("misaligned bulk prefetch");
  const volatile uint8_t* from = static_cast<const uint8_t*>(global);
  for (uint32_t i = 0; i < bytes; i += 16) static_cast<void>(from[i]);
}

inline void copy_bulk_to(void* shared, const void* global, uint32_t bytes, uint64_t* barrier, uint16_t blocks) {
  for (int rank = 0; rank < 16; ++rank)
    if (blocks >> rank & 1)
      copy_bulk(in_block(static_cast<uint8_t*>(shared), rank), global, bytes, in_block(barrier, rank));
}

// --- registers ---
template <int kCount>
void take_registers() {
  static_assert(kCount >= 24 && kCount <= 256 && kCount % 8 == 0);
  shim::together(shim::Scope::warpgroup, "take_registers", nullptr, nullptr);
}
template <int kCount>
void give_registers() {
  static_assert(kCount >= 24 && kCount <= 256 && kCount % 8 == 0);
  shim::together(shim::Scope::warpgroup, "give_registers", nullptr, nullptr);
}

}  // namespace whittle::cuda

#include "test/cuda_shim/matrix_emulation.h"
