// Runs ragged batches through a model on one or several GPUs: slices of the batch go to the next lane that is free, so
// that copies of one overlap with the kernels of another.
#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <vector>

#include "engine/cuda_lane.h"

namespace whittle {

// A model on one GPU, with its lanes.
class CudaReplica {
 public:
  CudaReplica(GpuDevice& device, const ModelSpec& spec, const KernelTable& table, int threads,
              const std::function<void()>& check);

  const CudaModel& model() const { return model_; }
  // Tokens of a slice, at most: what free memory allows, and less once it turned out to be too much.
  int64_t budget() const { return budget_; }
  void lower_budget(int64_t tokens);
  // A lane that nobody uses; waits for one if `wait`, else may be null.
  CudaLane* take(bool wait);
  void give_back(CudaLane* lane);
  // Gives back the workspaces of lanes that nobody uses; false if there are none.
  bool free_idle_lanes();

 private:
  CudaModel model_;
  std::atomic<int64_t> budget_;
  std::mutex mutex_;
  std::condition_variable returned_;
  std::vector<std::unique_ptr<CudaLane>> lanes_;
  std::vector<CudaLane*> idle_;
};

class CudaEngine {
 public:
  // The model on each of the devices. Throws as CudaModel.
  CudaEngine(const std::vector<GpuDevice*>& devices, const ModelSpec& spec, const KernelTable& table, int threads,
             const std::function<void()>& check);

  const CudaModel& model() const { return replicas_.front()->model(); }
  int64_t bytes() const;  // on all devices
  OutputShape output_shape(int64_t tokens, int64_t sequences, Output output) const;

  // As Executor::run; thread safe. A slice that does not fit into memory is cut in two. Throws Error ABORTED, DEVICE if
  // a GPU is lost, GpuOutOfMemory if not even one sequence fits.
  void run(const RaggedBatch& batch, Output output, float* out, const RunControl& control);

  // How many engines hold this; counted by them.
  std::atomic<int> users{0};

 private:
  std::vector<std::unique_ptr<CudaReplica>> replicas_;
};

}  // namespace whittle
