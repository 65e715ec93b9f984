#include "engine/cuda_executor.h"

#include <algorithm>
#include <deque>
#include <thread>

namespace whittle {

namespace {

constexpr int kLanes = 3;  // of a GPU: one computes, one is filled, one is emptied
constexpr int64_t kMostTokens = 32768, kFewestTokens = 64;
constexpr int64_t kWorthwhileTokens = 4096;

OutputShape shape_of(const CudaModel& model, int64_t tokens, int64_t sequences, Output output) {
  if (output == Output::hidden) return {tokens, model.hidden};
  if (output != Output::logits) {
    if (output == Output::pooled && !model.has_pooler)
      throw Error("BAD_OPTION", "Expected output logits, hidden, mean or first: the model has no pooler");
    return {sequences, model.hidden};
  }
  if (model.task == HeadTask::none)
    throw Error("BAD_OPTION", "Expected output hidden, pooled, mean or first: the model has no head that gives logits");
  return {model.task == HeadTask::text_classification ? sequences : tokens, model.labels};
}

// The slices of one run that wait, shared by the threads of its GPUs.
class Slices {
 public:
  // A slice leaves each of the `gpus` its share, if that is worth a launch.
  Slices(const RaggedBatch& batch, int64_t gpus)
      : batch_(batch),
        most_(std::max(kWorthwhileTokens, (batch.tokens() + gpus - 1) / gpus)),
        left_{0, batch.sequences} {}

  // The next consecutive sequences of together at most `budget` tokens, at least one. False if none is left.
  bool next(int64_t budget, Chunk& chunk) {
    const std::lock_guard lock(mutex_);
    if (!returned_.empty()) {
      chunk = returned_.front();
      returned_.pop_front();
      return true;
    }
    if (left_.first == left_.last) return false;
    budget = std::min(budget, most_);
    chunk = {left_.first, left_.first + 1};
    while (chunk.last < left_.last && batch_.offsets[chunk.last + 1] - batch_.offsets[chunk.first] <= budget)
      ++chunk.last;
    left_.first = chunk.last;
    return true;
  }
  void put_back(const Chunk& chunk) {
    const std::lock_guard lock(mutex_);
    const int64_t middle = chunk.first + (chunk.last - chunk.first) / 2;
    returned_.push_back({chunk.first, middle});
    returned_.push_back({middle, chunk.last});
  }

 private:
  const RaggedBatch& batch_;
  const int64_t most_;
  std::mutex mutex_;
  Chunk left_;
  std::deque<Chunk> returned_;
};

// What the threads of a run share.
struct Progress {
  const RunControl& control;
  int64_t total;
  std::mutex mutex;
  int64_t done = 0;
  std::exception_ptr error;
  std::atomic<bool> stopped{false};

  bool stop() {
    if (control.aborted && control.aborted()) stopped = true;
    return stopped;
  }
  void add(int64_t sequences) {
    const std::lock_guard lock(mutex);
    done += sequences;
    if (control.progress && !stopped) control.progress(done, total);
  }
  void fail() {
    const std::lock_guard lock(mutex);
    if (!error) error = std::current_exception();
    stopped = true;
  }
};

// Keeps lanes busy in turns. Takes another only when there is a slice for it, so that runs side by side share them.
class Turns {
 public:
  Turns(CudaReplica& replica, const RaggedBatch& batch, Output output, float* out, Progress& progress)
      : replica_(replica), batch_(batch), output_(output), out_(out), progress_(progress) {}
  ~Turns() {
    for (CudaLane* lane : lanes_) {
      try {
        if (lane->busy()) lane->abandon();
      } catch (...) {
        // The first error is reported already.
      }
      replica_.give_back(lane);
    }
  }
  Turns(const Turns&) = delete;
  Turns& operator=(const Turns&) = delete;

  void run(Slices& slices) {
    Chunk chunk;
    while (!progress_.stop() && slices.next(replica_.budget(), chunk)) start(next_lane(), chunk, slices);
    while (!lanes_.empty() && !progress_.stop()) {
      finish(*lanes_.front());
      replica_.give_back(lanes_.front());
      lanes_.pop_front();
    }
  }

 private:
  // A lane that nobody uses, or the one that was started first of those taken, once it is done.
  CudaLane& next_lane() {
    CudaLane* lane = static_cast<int>(lanes_.size()) < kLanes ? replica_.take(lanes_.empty()) : nullptr;
    if (!lane) {
      lane = lanes_.front();
      finish(*lane);
      lanes_.pop_front();
    }
    lanes_.push_back(lane);
    return *lane;
  }
  void finish(CudaLane& lane) {
    if (lane.busy()) progress_.add(lane.finish(out_));
  }
  void start(CudaLane& lane, const Chunk& chunk, Slices& slices) {
    try {
      lane.start(batch_, chunk, output_);
    } catch (const GpuOutOfMemory&) {
      // Lanes that wait hold memory that this one may use, so they are emptied first.
      if (free_idle_lanes(lane)) {
        try {
          return lane.start(batch_, chunk, output_);
        } catch (const GpuOutOfMemory&) {
          // Cut in two below.
        }
      }
      if (chunk.last - chunk.first == 1) throw;
      replica_.lower_budget((batch_.offsets[chunk.last] - batch_.offsets[chunk.first]) / 2);
      slices.put_back(chunk);
    }
  }
  bool free_idle_lanes(const CudaLane& but) {
    bool freed = replica_.free_idle_lanes();
    for (CudaLane* lane : lanes_)
      if (lane != &but) {
        finish(*lane);
        freed |= lane->free_memory();
      }
    return freed;
  }

  CudaReplica& replica_;
  const RaggedBatch& batch_;
  const Output output_;
  float* const out_;
  Progress& progress_;
  std::deque<CudaLane*> lanes_;  // taken; the one started first comes first
};

}  // namespace

CudaReplica::CudaReplica(GpuDevice& device, const ModelSpec& spec, const KernelTable& table, int threads,
                         const std::function<void()>& check)
    : model_(device, spec, table, threads, check) {
  const int64_t free = device.free_memory() / 10 * 8 / kLanes;
  int64_t tokens = kMostTokens;
  while (tokens > kFewestTokens && workspace_bytes(model_, tokens) > free) tokens /= 2;
  budget_ = tokens;
  for (int i = 0; i < kLanes; ++i) {
    lanes_.push_back(std::make_unique<CudaLane>(model_, [this](int64_t count, int64_t sequences, Output output) {
      return shape_of(model_, count, sequences, output);
    }));
    idle_.push_back(lanes_.back().get());
  }
}

void CudaReplica::lower_budget(int64_t tokens) {
  int64_t current = budget_;
  const int64_t wanted = std::max(tokens, kFewestTokens);
  while (wanted < current && !budget_.compare_exchange_weak(current, wanted)) {
  }
}

CudaLane* CudaReplica::take(bool wait) {
  std::unique_lock lock(mutex_);
  if (wait) returned_.wait(lock, [this] { return !idle_.empty(); });
  if (idle_.empty()) return nullptr;
  CudaLane* lane = idle_.back();
  idle_.pop_back();
  return lane;
}

void CudaReplica::give_back(CudaLane* lane) {
  {
    const std::lock_guard lock(mutex_);
    idle_.push_back(lane);
  }
  returned_.notify_one();
}

bool CudaReplica::free_idle_lanes() {
  const std::lock_guard lock(mutex_);
  bool freed = false;
  for (CudaLane* lane : idle_) freed |= lane->free_memory();
  return freed;
}

CudaEngine::CudaEngine(const std::vector<GpuDevice*>& devices, const ModelSpec& spec, const KernelTable& table,
                       int threads, const std::function<void()>& check) {
  for (GpuDevice* device : devices)
    replicas_.push_back(std::make_unique<CudaReplica>(*device, spec, table, threads, check));
}

int64_t CudaEngine::bytes() const {
  int64_t sum = 0;
  for (const auto& replica : replicas_) sum += replica->model().bytes;
  return sum;
}

OutputShape CudaEngine::output_shape(int64_t tokens, int64_t sequences, Output output) const {
  return shape_of(model(), tokens, sequences, output);
}

void CudaEngine::run(const RaggedBatch& batch, Output output, float* out, const RunControl& control) {
  if (batch.sequences == 0) return;
  Slices slices(batch, static_cast<int64_t>(replicas_.size()));
  Progress progress{control, batch.sequences, {}, 0, nullptr, false};
  const auto work = [&](CudaReplica& replica) {
    try {
      Turns(replica, batch, output, out, progress).run(slices);
    } catch (...) {
      progress.fail();
    }
  };
  std::vector<std::thread> others;
  for (size_t i = 1; i < replicas_.size(); ++i) others.emplace_back(work, std::ref(*replicas_[i]));
  work(*replicas_.front());
  for (std::thread& other : others) other.join();
  if (progress.error) std::rethrow_exception(progress.error);
  if (progress.stopped) throw Error("ABORTED", "Stopped by the caller's signal");
}

}  // namespace whittle
