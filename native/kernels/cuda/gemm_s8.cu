// int8 products, exact in int32, with the scales, outliers, bias, activation and residual of ops/gemm.cc.
#include "kernels/cuda/gemm_mma.cuh"
#include "kernels/cuda/gemm_wgmma.cuh"

namespace whittle::cuda {

namespace {

int gemm_s8_multiprocessors = 1;
WideClusters gemm_s8_clusters;

void gemm_s8_mma(const Gemm& g, Stream stream) {
  run_gemm_mma<int32_t>(g, stream);
}

void gemm_s8_wgmma(const Gemm& g, Stream stream) {
  run_gemm_wgmma<int32_t>(g, gemm_s8_multiprocessors, gemm_s8_clusters, stream);
}

}  // namespace

void add_gemm_s8(KernelTable& table, const Target& target) {
  gemm_s8_multiprocessors = target.multiprocessors;
  if (target.capability == 90) gemm_s8_clusters = wide_clusters<int32_t>(target.multiprocessors);
  table.gemm_s8 = target.capability == 90 ? gemm_s8_wgmma : gemm_s8_mma;
}

}  // namespace whittle::cuda
