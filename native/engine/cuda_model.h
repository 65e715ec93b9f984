// The read-only weights of one model on one GPU, in the layout of kernels/cuda/kernel_table.h.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "engine/gpu_device.h"
#include "engine/model_spec.h"
#include "engine/packed_model.h"
#include "kernels/kernel_table.h"

namespace whittle {

// In int8 models, rows of w whose results LayerNorm reads (and scales, sums, bias), columns of w (rows of columns) that
// multiply what it gives, gamma and beta are in the order of cuda::sum_place.
struct CudaLinear {
  cuda::Form form = cuda::Form::int8;
  cuda::Format format = cuda::Format::f32;  // of the result
  int64_t n = 0, k = 0;
  int most_outliers = 0;  // of a row of activations, int8
  GpuBuffer w;            // operand of padded n rows, stored for `format`
  GpuBuffer scales;       // [n], int8
  GpuBuffer columns;      // [k, n], int8 with outliers
  GpuBuffer sums;         // [n], of the rows of w, int8 after GELU
  GpuBuffer bias;         // [n]
};

struct CudaNorm {
  GpuBuffer gamma, beta;  // [hidden]
};

struct CudaLayer {
  CudaLinear qkv, attention_output, intermediate, output;
  CudaNorm attention_norm, output_norm;
};

struct CudaModel {
  // Reads, packs and uploads. int8 weights are PackedModel's, bit for bit; `table` quantizes what the checkpoint
  // holds as floats. float32 is Form::split, bfloat16 Form::bf16. Throws as PackedModel does; also BAD_CHECKPOINT for
  // numbers that are not finite, UNSUPPORTED for heads wider than the kernels take, GpuOutOfMemory.
  CudaModel(GpuDevice& device, const ModelSpec& spec, const KernelTable& table, int threads,
            const std::function<void()>& check);

  GpuDevice& device;
  const int64_t hidden, heads, head_size, intermediate;
  const int64_t vocabulary, positions, position_offset, token_types;
  const float norm_epsilon;
  const HeadTask task;
  const PoolerActivation pooler_activation;
  const int64_t labels;
  const Precision precision;

  // How GELU and the quantization of its results come with the product before them; not possible: after it.
  const cuda::GeluGrid gelu;

  cuda::TableForm word_form = cuda::TableForm::f32;
  GpuBuffer word, word_scales;
  GpuBuffer position;       // [positions, hidden]
  GpuBuffer token_type;     // [token_types, hidden]
  GpuBuffer position_bias;  // [heads, 2 * (positions - position_offset) - 1], or empty
  CudaNorm embedding_norm;
  std::vector<CudaLayer> layers;
  bool has_pooler = false;
  CudaLinear pooler, classifier;

  int64_t bytes = 0;  // on the GPU
};

}  // namespace whittle
