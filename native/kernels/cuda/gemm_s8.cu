// int8 products, exact in int32, with the scales, outliers, bias, activation and residual of ops/gemm.cc.
#include "kernels/cuda/gemm_mma.cuh"
#include "kernels/cuda/gemm_wgmma.cuh"

namespace whittle::cuda {

namespace {

WgmmaBlocks gemm_s8_blocks;

void gemm_s8_mma(const Gemm& g, Stream stream) {
  run_gemm_mma<int32_t>(g, stream);
}

void gemm_s8_wgmma(const Gemm& g, Stream stream) {
  run_gemm_wgmma<int32_t>(g, gemm_s8_blocks, stream);
}

}  // namespace

void add_gemm_s8(KernelTable& table, const Target& target) {
  if (target.capability == 90) gemm_s8_blocks = wgmma_blocks<int32_t>(target.multiprocessors);
  table.gemm_s8 = target.capability == 90 ? gemm_s8_wgmma : gemm_s8_mma;
}

}  // namespace whittle::cuda
