// What kernels use of the GPU beyond C++: PTX under nvcc, and the same functions in plain C++ under the shim of
// native/test/cuda_shim, so that a kernel's source is the same for both.
#pragma once

#include <cstdint>

#if defined(WHITTLE_CUDA_SHIM)
#include "test/cuda_shim/device_emulation.h"
#else

#include <cuda_runtime.h>

// Whether this pass of the compiler may use wgmma and bulk copies, and whether it needs the mma.sync products: machine
// code for sm_90a never runs them.
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define WHITTLE_HAS_WGMMA 1
#define WHITTLE_HAS_MMA_PRODUCTS 0
#elif defined(__CUDA_ARCH__)
#define WHITTLE_HAS_WGMMA 0
#define WHITTLE_HAS_MMA_PRODUCTS 1
#else
#define WHITTLE_HAS_WGMMA 0
#define WHITTLE_HAS_MMA_PRODUCTS 0
#endif

namespace whittle::cuda {

// In a kernel that this kind of GPU never runs: ends it with an error rather than leave its results as they were.
__device__ __forceinline__ void fail_kernel() {
  asm volatile("trap;");
}

__device__ __forceinline__ uint8_t* dynamic_shared() {
  extern __shared__ __align__(1024) uint8_t whittle_shared[];
  return whittle_shared;
}

__device__ __forceinline__ uint32_t shared_address(const void* pointer) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(pointer));
}

// The address, in global or in shared memory, which the compiler then computes once rather than anew from its parts
// wherever it is used.
template <typename T>
__device__ __forceinline__ const T* settled(const T* address) {
  asm volatile("" : "+l"(address));
  __builtin_assume(__isGlobal(address));
  return address;
}
__device__ __forceinline__ uint32_t settled(uint32_t address) {
  asm volatile("" : "+r"(address));
  return address;
}

// --- warps and blocks ---
__device__ __forceinline__ void sync_block() {
  __syncthreads();
}
__device__ __forceinline__ void sync_warp() {
  __syncwarp();
}
// The same number, but what is made of it stays behind this, in whichever loop: registers are few.
__device__ __forceinline__ int made_here(int value) {
  asm volatile("" : "+r"(value));
  return value;
}
template <typename T>
__device__ __forceinline__ T shuffle_xor(T value, int mask) {
  return __shfl_xor_sync(0xffffffffu, value, mask);
}
template <typename T>
__device__ __forceinline__ T shuffle(T value, int lane) {
  return __shfl_sync(0xffffffffu, value, lane);
}
__device__ __forceinline__ uint32_t warp_max(uint32_t value) {
  return __reduce_max_sync(0xffffffffu, value);
}
__device__ __forceinline__ uint32_t ballot(bool vote) {
  return __ballot_sync(0xffffffffu, vote);
}

// --- numbers ---
__device__ __forceinline__ float exp2_approximate(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
// Two float16 in one word, the first in its lower half; saturated to the largest finite number; NaN stays NaN.
__device__ __forceinline__ uint32_t half_pair(float first, float second) {
  uint32_t pair;
  asm("cvt.rn.satfinite.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(second), "f"(first));
  return pair;
}
// The same for numbers that float16 can hold.
__device__ __forceinline__ uint32_t small_half_pair(float first, float second) {
  uint32_t pair;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(second), "f"(first));
  return pair;
}
__device__ __forceinline__ uint32_t bf16_pair(float first, float second) {
  uint32_t pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(second), "f"(first));
  return pair;
}
__device__ __forceinline__ float half_value(uint16_t half) {
  float value;
  asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(half));
  return value;
}
__device__ __forceinline__ float bf16_value(uint16_t bits) {
  return __uint_as_float(static_cast<uint32_t>(bits) << 16);
}
__device__ __forceinline__ uint32_t float_bits(float value) {
  return __float_as_uint(value);
}
__device__ __forceinline__ float bits_float(uint32_t bits) {
  return __uint_as_float(bits);
}
__device__ __forceinline__ int round_to_int(float value) {  // ties to even
  return __float2int_rn(value);
}
// Products and sums that are rounded each, as the CPU's are.
__device__ __forceinline__ float multiply(float a, float b) {
  return __fmul_rn(a, b);
}
__device__ __forceinline__ float add(float a, float b) {
  return __fadd_rn(a, b);
}
__device__ __forceinline__ double multiply(double a, double b) {
  return __dmul_rn(a, b);
}
__device__ __forceinline__ double add(double a, double b) {
  return __dadd_rn(a, b);
}
// a * b + c, rounded once.
__device__ __forceinline__ float multiply_add(float a, float b, float c) {
  return __fmaf_rn(a, b, c);
}

// The same, kept within 0 and 1; 0 for NaN.
__device__ __forceinline__ float saturated_multiply_add(float a, float b, float c) {
  return __saturatef(__fmaf_rn(a, b, c));
}

// 1 / x within an ulp or two, for x up to 2^126.
__device__ __forceinline__ float reciprocal_approximate(float x) {
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// The bytes of a (0 to 3) and b (4 to 7) that the digits of `order` name, the lowest first.
__device__ __forceinline__ uint32_t permute_bytes(uint32_t a, uint32_t b, uint32_t order) {
  return __byte_perm(a, b, order);
}
// Four numbers within -128 and 127, rounded to integers (ties to even), as int8, the first in the lowest byte.
__device__ __forceinline__ uint32_t rounded_bytes(float a, float b, float c, float d) {
#if __CUDA_ARCH__ >= 860
  // In this form the compiler rounds and packs two by one instruction (F2IP).
  uint32_t upper, all;
  asm("cvt.pack.sat.s8.s32.b32 %0, %1, %2, 0;" : "=r"(upper) : "r"(round_to_int(d)), "r"(round_to_int(c)));
  asm("cvt.pack.sat.s8.s32.b32 %0, %1, %2, %3;"
      : "=r"(all)
      : "r"(round_to_int(b)), "r"(round_to_int(a)), "r"(upper));
  return all;
#else
  const auto rounded = [](float x) { return float_bits(add(x, 12582912.0f)); };  // 1.5 * 2^23: in its lowest byte
  return permute_bytes(permute_bytes(rounded(a), rounded(b), 0x0040), permute_bytes(rounded(c), rounded(d), 0x0040),
                       0x5410);
#endif
}
// sum + a0 b0 + a1 b1: two int16 of a, and the two lower (or higher) int8 of b.
__device__ __forceinline__ int32_t dot_pair_low(uint32_t a, uint32_t b, int32_t sum) {
  return __dp2a_lo(static_cast<int>(a), static_cast<int>(b), sum);
}
__device__ __forceinline__ int32_t dot_pair_high(uint32_t a, uint32_t b, int32_t sum) {
  return __dp2a_hi(static_cast<int>(a), static_cast<int>(b), sum);
}

// --- loads ---
// What nobody writes while the kernel runs: the compiler may ask for it before what stands above is stored.
template <typename T>
__device__ __forceinline__ T load_constant(const T* from) {
  return __ldg(from);
}
// 16 bytes that are asked for here: the compiler does not put that off.
__device__ __forceinline__ uint4 load_here(const void* from) {
  uint4 four;
  asm volatile("ld.global.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(four.x), "=r"(four.y), "=r"(four.z), "=r"(four.w)
               : "l"(from));
  return four;
}

// --- counting in memory that threads share ---
__device__ __forceinline__ void add_atomically(uint32_t* to, uint32_t value) {
  atomicAdd(to, value);
}
__device__ __forceinline__ void add_atomically(uint64_t* to, uint64_t value) {
  atomicAdd(reinterpret_cast<unsigned long long*>(to), static_cast<unsigned long long>(value));
}

// --- memory through which the blocks of a grid tell each other something, number by number ---
__device__ __forceinline__ uint4 load_told(const uint32_t* from) {
  uint4 four;
  asm volatile("ld.relaxed.gpu.global.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(four.x), "=r"(four.y), "=r"(four.z), "=r"(four.w)
               : "l"(from)
               : "memory");
  return four;
}
__device__ __forceinline__ void tell(uint32_t* to, uint32_t value) {
  asm volatile("st.relaxed.gpu.global.u32 [%0], %1;" ::"l"(to), "r"(value) : "memory");
}
// Between one look and the next; true.
__device__ __forceinline__ bool look_again() {
  return true;
}

// --- a number in shared memory by which a thread tells others of its block how far it is ---
__device__ __forceinline__ void tell_block(uint32_t* to, uint32_t value) {
  asm volatile("st.relaxed.cta.shared.u32 [%0], %1;" ::"r"(shared_address(to)), "r"(value) : "memory");
}
__device__ __forceinline__ uint32_t load_told_block(const uint32_t* from) {
  uint32_t value;
  asm volatile("ld.relaxed.cta.shared.u32 %0, [%1];" : "=r"(value) : "r"(shared_address(from)) : "memory");
  return value;
}
// Leaves the multiprocessor to others for a while; true.
__device__ __forceinline__ bool look_again_soon() {
  __nanosleep(200);
  return true;
}

// --- copies to shared memory ---
// 16 bytes, or zeros. Both addresses are multiples of 16.
__device__ __forceinline__ void copy_async(void* shared, const void* global, bool valid = true) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)), "l"(global),
               "r"(valid ? 16 : 0)
               : "memory");
}
// The same to what shared_address gave.
__device__ __forceinline__ void copy_async(uint32_t shared, const void* global) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(shared), "l"(global) : "memory");
}
// 4 bytes, to what shared_address gave.
__device__ __forceinline__ void copy_async_word(uint32_t shared, const void* global) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(shared), "l"(global) : "memory");
}
__device__ __forceinline__ void copy_async_commit() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}
template <int kGroupsLeft>
__device__ __forceinline__ void copy_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kGroupsLeft) : "memory");
}

// --- matrix products of a warp ---
// Four 8 x 8 matrices of 16-bit elements (or 8 x 16 of bytes); lane l gives the address of row l % 8 of matrix l / 8.
__device__ __forceinline__ void load_matrix(uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(row))
               : "memory");
}
__device__ __forceinline__ void load_matrix_transposed(uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(row))
               : "memory");
}
// d[16, 8] += a[16, 32 bytes] b[8, 32 bytes]^T
__device__ __forceinline__ void mma_s8(int32_t (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
// The same with one number to start from in place of d.
__device__ __forceinline__ void mma_s8_from(int32_t start, int32_t (&d)[4], const uint32_t (&a)[4], uint32_t b0,
                                            uint32_t b1) {
  asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%10, %10, %10, %10};"
      : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1), "r"(start));
}
// The bytes of a without signs.
__device__ __forceinline__ void mma_u8_s8(int32_t (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm("mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
__device__ __forceinline__ void mma_bf16(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
__device__ __forceinline__ void mma_half(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

#if WHITTLE_HAS_WGMMA
// --- barriers that count arrivals and bytes ---
__device__ __forceinline__ void barrier_init(uint64_t* barrier, int arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)), "r"(arrivals) : "memory");
}
// Makes initialized barriers visible to the copy engine.
__device__ __forceinline__ void barrier_init_fence() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
}
__device__ __forceinline__ void barrier_arrive(uint64_t* barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier)) : "memory");
}
// Arrives, and expects so many bytes of bulk copies before the phase ends.
__device__ __forceinline__ void barrier_arrive_expect(uint64_t* barrier, uint32_t bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)), "r"(bytes)
               : "memory");
}
// Waits until the phase of this parity has ended. Here and below: by its address in shared memory, which inner loops
// keep, since a pointer is made one anew each time.
__device__ __forceinline__ void barrier_wait(uint32_t barrier, uint32_t parity) {
  asm volatile(
      "{\n.reg .pred done;\nwait:\n"
      "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n@done bra end;\nbra wait;\nend:\n}\n" ::"r"(barrier),
      "r"(parity)
      : "memory");
}
__device__ __forceinline__ void barrier_wait(uint64_t* barrier, uint32_t parity) {
  barrier_wait(shared_address(barrier), parity);
}
// `bytes` (a multiple of 16) by the copy engine; the barrier counts them when they are there.
__device__ __forceinline__ void copy_bulk(void* shared, const void* global, uint32_t bytes, uint64_t* barrier) {
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(
                   shared_address(shared)),
               "l"(global), "r"(bytes), "r"(shared_address(barrier))
               : "memory");
}

// Fetches `bytes` into the second-level cache. Address and bytes are multiples of 16.
__device__ __forceinline__ void prefetch_bulk(const void* global, uint32_t bytes) {
  asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;" ::"l"(global), "r"(bytes) : "memory");
}

// --- clusters: blocks whose shared memory all of them reach ---
__device__ __forceinline__ int cluster_rank() {
  uint32_t rank;
  asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return static_cast<int>(rank);
}
// All threads of all blocks of the cluster, as often in each; those of a warp need not come together.
__device__ __forceinline__ void sync_cluster() {
  asm volatile("barrier.cluster.arrive.release;\nbarrier.cluster.wait.acquire;" ::: "memory");
}
// Arrives at the barrier that lies at this place in block `rank` of the cluster, to tell that products have read what
// they had to. Writes are not for that block to see: release.cluster would wait, each time, until the whole GPU sees
// them.
__device__ __forceinline__ void barrier_arrive_at(uint64_t* barrier, int rank) {
  asm volatile(
      "{\n.reg .b32 remote;\nmapa.shared::cluster.u32 remote, %0, %1;\n"
      "mbarrier.arrive.shared::cluster.b64 _, [remote];\n}\n" ::"r"(shared_address(barrier)),
      "r"(rank)
      : "memory");
}
// The same, if the thread arrives at all.
__device__ __forceinline__ void barrier_arrive_at(uint32_t barrier, int rank, bool arrives) {
  asm volatile(
      "{\n.reg .pred p;\n.reg .b32 remote;\nsetp.ne.u32 p, %2, 0;\nmapa.shared::cluster.u32 remote, %0, %1;\n"
      "@p mbarrier.arrive.shared::cluster.b64 _, [remote];\n}\n" ::"r"(barrier),
      "r"(rank), "r"(static_cast<uint32_t>(arrives))
      : "memory");
}
// copy_bulk to the same place in each block of the cluster whose bit is set, counted by the barrier at the same place.
__device__ __forceinline__ void copy_bulk_to(void* shared, const void* global, uint32_t bytes, uint64_t* barrier,
                                             uint16_t blocks) {
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%0], [%1], %2, [%3], "
      "%4;" ::"r"(shared_address(shared)),
      "l"(global), "r"(bytes), "r"(shared_address(barrier)), "h"(blocks)
      : "memory");
}

// --- matrix products of a warpgroup ---
// Rows of 128 bytes with 128-byte swizzling, groups of 8 rows 1024 bytes apart; `shared` lies within the first row.
__device__ __forceinline__ uint64_t matrix_descriptor(uint32_t shared) {
  const uint64_t address = shared;
  return (address & 0x3ffff) >> 4 | uint64_t{1} << 16 | uint64_t{1024 >> 4} << 32 | uint64_t{1} << 62;
}
__device__ __forceinline__ uint64_t matrix_descriptor(const void* shared) {
  return matrix_descriptor(shared_address(shared));
}
__device__ __forceinline__ void wgmma_fence() {
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
__device__ __forceinline__ void wgmma_commit() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
template <int kGroupsLeft>
__device__ __forceinline__ void wgmma_wait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kGroupsLeft) : "memory");
}
// Keeps the compiler from using accumulators on the other side of this: before the first product, and after the wait.
template <int kCount>
__device__ __forceinline__ void hold_accumulators(int32_t (&d)[kCount]) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) asm volatile("" : "+r"(d[i])::"memory");
}
template <int kCount>
__device__ __forceinline__ void hold_accumulators(float (&d)[kCount]) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) asm volatile("" : "+f"(d[i])::"memory");
}
// Registers for accumulators that the first product writes without reading them.
template <int kCount>
__device__ __forceinline__ void begin_accumulators(int32_t (&d)[kCount]) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) asm volatile("" : "=r"(d[i])::"memory");
}
template <int kCount>
__device__ __forceinline__ void take_registers() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kCount));
}
template <int kCount>
__device__ __forceinline__ void give_registers() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kCount));
}
#endif  // WHITTLE_HAS_WGMMA

}  // namespace whittle::cuda

#if WHITTLE_HAS_WGMMA
#include "kernels/cuda/wgmma.cuh"
#endif

#endif  // WHITTLE_CUDA_SHIM
