// The CUDA kernels' own sources as C++, see device_emulation.h.
#include "kernels/cuda/attention.cu"
#include "kernels/cuda/attention_rows_bf16.cu"
#include "kernels/cuda/convert_f32_bf16.cu"
#include "kernels/cuda/embedding.cu"
#include "kernels/cuda/layer_norm.cu"
#include "kernels/cuda/pooling.cu"
#include "kernels/cuda/quantize_gelu_u8.cu"
#include "kernels/cuda/quantize_rows_s8.cu"
