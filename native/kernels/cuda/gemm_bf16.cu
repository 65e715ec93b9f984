// bf16 products with float32 sums, and float32 ones as three of bf16 (Form::split).
#include "kernels/cuda/gemm_mma.cuh"
#include "kernels/cuda/gemm_wgmma.cuh"

namespace whittle::cuda {

namespace {

WgmmaBlocks gemm_bf16_blocks;

void gemm_bf16_mma(const Gemm& g, Stream stream) {
  run_gemm_mma<float>(g, stream);
}

void gemm_bf16_wgmma(const Gemm& g, Stream stream) {
  run_gemm_wgmma<float>(g, gemm_bf16_blocks, stream);
}

}  // namespace

void add_gemm_bf16(KernelTable& table, const Target& target) {
  if (target.capability == 90) gemm_bf16_blocks = wgmma_blocks<float>(target.multiprocessors);
  table.gemm_bf16 = target.capability == 90 ? gemm_bf16_wgmma : gemm_bf16_mma;
}

}  // namespace whittle::cuda
