// The CUDA products' own sources as C++, see device_emulation.h.
#include "kernels/cuda/gemm_bf16.cu"
#include "kernels/cuda/gemm_gelu_s8.cu"
#include "kernels/cuda/gemm_s8.cu"
