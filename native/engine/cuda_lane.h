// One stream of a GPU with its memory: runs one slice of a ragged batch at a time, from ids to results, as a graph.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <utility>

#include "engine/batcher.h"
#include "engine/cuda_workspace.h"
#include "engine/executor.h"

namespace whittle {

class CudaLane {
 public:
  CudaLane(const CudaModel& model, const std::function<OutputShape(int64_t tokens, int64_t sequences, Output)>& shape);
  ~CudaLane();
  CudaLane(const CudaLane&) = delete;
  CudaLane& operator=(const CudaLane&) = delete;

  // Enqueues sequences [chunk.first, chunk.last) of a checked batch: copies, kernels, copies. Throws GpuOutOfMemory,
  // and is then as before.
  void start(const RaggedBatch& batch, const Chunk& chunk, Output output);
  bool busy() const { return busy_; }
  // Waits for what was started, and writes its rows of the output of the whole batch. Returns the sequences done.
  int64_t finish(float* out);
  // Waits for what was started, and drops it.
  void abandon();
  // Gives the workspace back; false if there is none. Not while it is busy.
  bool free_memory();

 private:
  using GraphKey = std::pair<CudaBucket, Output>;

  void reserve(int64_t tokens);
  void drop_graphs();
  void stage(const RaggedBatch& batch, const Chunk& chunk, const CudaBucket& bucket) const;
  void enqueue(const CudaBucket& bucket, const CudaWorkspace& memory, Output output) const;
  // first_rows: after the last layer's attention only the first row of each sequence is wanted.
  void run_layer(size_t layer, bool first_rows, const CudaBucket& bucket, const CudaWorkspace& memory) const;
  // From memory.a to memory.a, or to memory.attended in int8.
  void attend(const CudaLayer& layer, bool first_rows, const CudaBucket& bucket, const CudaWorkspace& memory) const;
  void attend_in_integers(const CudaLayer& layer, bool first_rows, const CudaBucket& bucket,
                          const CudaWorkspace& memory) const;
  // What a product adds: x, of its result's format, or if there is a norm, LayerNorm(x), whose rows have these stats.
  struct Residual {
    const void* x = nullptr;
    const CudaNorm* norm = nullptr;
    const cuda::RowStats* stats = nullptr;
  };
  void product(const CudaLinear& linear, const cuda::Operand& a, const int32_t* rows, int64_t most_rows,
               cuda::Activation activation, const Residual& residual, void* y, uint16_t* y_low = nullptr,
               const CudaHeads& heads = {}) const;
  // GELU of the product, quantized, in the memory of `to`; as model.gelu says.
  cuda::Operand gelu_product(const CudaLinear& linear, const cuda::Operand& a, const int32_t* rows, int64_t most_rows,
                             cuda::Operand to, uint32_t* exchange) const;
  cuda::Operand prepare(const CudaLinear& linear, const float* x, const int32_t* rows, int64_t most_rows,
                        cuda::Operand to) const;
  cuda::Operand quantize(const uint16_t* attended, const int32_t* rows, int64_t most_rows, cuda::Operand to) const;
  bool first_rows_only(Output output) const;

  const CudaModel& model_;
  GpuDevice& device_;
  const std::function<OutputShape(int64_t, int64_t, Output)> shape_;
  cuda::Stream stream_;
  int64_t capacity_ = 0;  // tokens
  GpuBuffer workspace_;  // sizes follow from the capacity in the end, so that all buckets share it
  void* pinned_ = nullptr;
  int64_t pinned_bytes_ = 0;
  std::map<GraphKey, GpuGraph> graphs_;
  bool busy_ = false;
  int64_t staged_bytes_ = 0, out_first_ = 0, out_count_ = 0, sequences_ = 0;
};

}  // namespace whittle
