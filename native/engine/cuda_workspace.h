// Where a lane keeps a batch and what the kernels make of it on the GPU.
#pragma once

#include <compare>
#include <cstdint>

#include "engine/cuda_model.h"

namespace whittle {

// Sizes that launches are made for; a slice has at most these. Few different ones, so that few graphs serve all
// batches.
struct CudaBucket {
  int64_t tokens, sequences, tiles;
  auto operator<=>(const CudaBucket&) const = default;
};
// The least of 16, 24, 32, 48, 64, 96, ... that is not below `count`.
int64_t bucket_size(int64_t count);

// What a batch tells the kernels, in one copy.
struct CudaBatchArrays {
  int32_t* counts;  // tokens, sequences, tiles
  int32_t *ids, *positions, *types, *offsets;
  cuda::AttentionTile *tiles, *first_tiles;
  int64_t bytes;
};

// Query, key and value of int8 models.
struct CudaHeads {
  int8_t* bytes;  // [tokens, stride]
  int64_t stride;
  float* scales;  // [3 * heads, scale_stride]
  int64_t scale_stride;
  float* values;  // [tokens, 3 * hidden], if their product does not give bytes
};

struct CudaWorkspace {
  uint32_t* exchange;  // of products with GELU, at the same place for all buckets: zeros when the memory is new
  CudaBatchArrays batch;
  // [tokens, hidden]: a layer's sums, and those between attention and what follows, in int8 as float16, else as float32.
  // LayerNorm of them is stored only as operands of products; who adds it takes it from them and from what it took of
  // their rows. x is what of it is stored: in float models where the layer's sums lie; in int8, the last layer's alone
  // and where those after attention lay.
  void *sums, *attention_sums;
  float* x;
  cuda::RowStats* stats;        // [tokens]
  void* first;                  // [sequences, hidden]: rows of sums, or of x
  cuda::RowStats* first_stats;  // [sequences], int8 only
  float *pooled, *out;          // [sequences, hidden], [tokens, labels]
  cuda::Operand a, inner;       // inputs of products: hidden wide, intermediate wide
  uint16_t *qkv, *qkv_low;      // [tokens, 3 * hidden], not of int8
  CudaHeads heads;              // int8 only, as what follows
  uint16_t* attended;           // [tokens, hidden]
  float* widened;               // [tokens, intermediate] if GELU comes after its product
  cuda::Operand head_a;         // of pooler and classifier
  int64_t bytes;
};

// Both for a bucket, from `start` on; a null start only counts bytes.
CudaBatchArrays lay_out_batch(void* start, const CudaBucket& bucket);
CudaWorkspace lay_out_workspace(void* start, const CudaModel& model, const CudaBucket& bucket);

// Bytes of the workspace for any slice of so many tokens.
int64_t workspace_bytes(const CudaModel& model, int64_t tokens);

// Of the model's layers.
cuda::Form form_of(Precision precision);

}  // namespace whittle
