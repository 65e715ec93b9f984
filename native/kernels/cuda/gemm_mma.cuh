// Products by mma.sync (sm_80 and later): tiles of 128 x 128, steps of 128 bytes of k, three stages of shared memory
// filled by cp.async. Eight warps, each with 64 x 32 of the tile.
#pragma once

#include "kernels/cuda/gemm_heads.cuh"

namespace whittle::cuda {

static constexpr int kMmaThreads = 256, kMmaStages = 3, kMmaColumns = 128;
static constexpr int kMmaStageBytes = 2 * kBlockBytes;  // A, then W
static constexpr int kMmaSharedBytes = kMmaStages * kMmaStageBytes;

__device__ __forceinline__ void mma(int32_t (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  mma_s8(d, a, b0, b1);
}
__device__ __forceinline__ void mma(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  mma_bf16(d, a, b0, b1);
}

// 32 bytes of k from a stage into the warp's sums. `part`: which 32 of the 128 bytes.
template <typename Sum>
__device__ __forceinline__ void multiply_part(const uint8_t* stage, int part, int row, int column, int lane,
                                              Sum (&sums)[4][4][4]) {
  const int matrix = lane / 8, in_matrix = lane % 8;
  uint32_t w[2][4];
#pragma unroll
  for (int j = 0; j < 2; ++j) {
    const int r = column + j * 16 + matrix / 2 * 8 + in_matrix, chunk = 2 * part + matrix % 2;
    load_matrix(w[j], stage + kBlockBytes + r * kRowBytes + ((chunk ^ (r % 8)) * 16));
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    uint32_t a[4];
    const int r = row + i * 16 + matrix % 2 * 8 + in_matrix, chunk = 2 * part + matrix / 2;
    load_matrix(a, stage + r * kRowBytes + ((chunk ^ (r % 8)) * 16));
#pragma unroll
    for (int j = 0; j < 4; ++j) mma(sums[i][j], a, w[j / 2][j % 2 * 2], w[j / 2][j % 2 * 2 + 1]);
  }
}

template <typename Sum, Finish kFinish>
__global__ void __launch_bounds__(kMmaThreads, 1) gemm_mma_kernel(const Gemm g) {
#if WHITTLE_HAS_MMA_PRODUCTS
  const int64_t rows = *g.rows;
  const int64_t row_tile = blockIdx.y, column_tile = blockIdx.x;
  if (row_tile * kBlockRows >= rows) return;
  uint8_t* shared = dynamic_shared();
  const int thread = static_cast<int>(threadIdx.x), lane = thread % 32, warp = thread / 32;
  const int warp_row = warp / 4 * 64, warp_column = warp % 4 * 32;
  const Steps steps = steps_of(g.a);
  const int count = steps.count();
  const uint8_t* a = g.a.data + row_tile * steps.stored() * kBlockBytes;
  const uint8_t* w = g.w + column_tile * steps.stored() * kBlockBytes;

  const auto fetch = [&](int step) {
    if (step < count) {
      uint8_t* stage = shared + step % kMmaStages * kMmaStageBytes;
      const uint8_t* from_a = a + int64_t{steps.a(step)} * kBlockBytes;
      const uint8_t* from_w = w + int64_t{steps.w(step)} * kBlockBytes;
#pragma unroll
      for (int at = 0; at < kBlockBytes; at += 16 * kMmaThreads) {
        copy_async(stage + at + thread * 16, from_a + at + thread * 16);
        copy_async(stage + kBlockBytes + at + thread * 16, from_w + at + thread * 16);
      }
    }
    copy_async_commit();
  };

  Sum sums[4][4][4];
#pragma unroll
  for (int i = 0; i < 4; ++i)
#pragma unroll
    for (int j = 0; j < 4; ++j)
#pragma unroll
      for (int e = 0; e < 4; ++e) sums[i][j][e] = 0;

  for (int step = 0; step < kMmaStages - 1; ++step) fetch(step);
  for (int step = 0; step < count; ++step) {
    copy_async_wait<kMmaStages - 2>();
    sync_block();  // The stage is there for all, and all are done with the one that is filled next.
    fetch(step + kMmaStages - 1);
    const uint8_t* stage = shared + step % kMmaStages * kMmaStageBytes;
#pragma unroll
    for (int part = 0; part < 4; ++part) multiply_part(stage, part, warp_row, warp_column, lane, sums);
  }

  const int64_t column = column_tile * kMmaColumns + warp_column;
  if constexpr (kFinish == Finish::heads) {
    finish_heads_of_warps(g, rows, row_tile * kBlockRows, warp_row, column, lane, sums,
                          reinterpret_cast<float*>(shared));
  } else {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int64_t row = row_tile * kBlockRows + warp_row + i * 16 + lane / 4;
      const TileRow pair[2] = {tile_row<Sum>(g, row, rows), tile_row<Sum>(g, row + 8, rows)};
      Sum of_rows[16];
#pragma unroll
      for (int at = 0; at < 16; ++at) of_rows[at] = sums[i][at / 4][at % 4];
      ResidualAhead<kFinish, 16> residual;
      if (column < g.n) residual.fetch(g, pair, column, lane);
      finish_tile<kFinish>(g, pair, column, lane, residual, of_rows);
    }
  }
#else
  fail_kernel();
#endif
}

template <typename Sum>
void run_gemm_mma(const Gemm& g, Stream stream) {
  const Grid grid{(g.n + kMmaColumns - 1) / kMmaColumns, (g.most_rows + kBlockRows - 1) / kBlockRows};
  with_finish<Sum>(g, [&](auto tag) {
    launch(gemm_mma_kernel<Sum, decltype(tag)::kValue>, grid, kMmaThreads, kMmaSharedBytes, stream, g);
  });
}

}  // namespace whittle::cuda
