#include "ops/adamw.h"

#include <algorithm>
#include <cmath>

namespace whittle {

namespace {

constexpr int64_t kChunk = 1 << 14;  // elements of one task, and of one partial sum; whole rows where there are rows

// Number of the first chunk of each of `count` tensors, and the total at the end.
template <typename ChunksOf>
int64_t* first_chunks(size_t count, Arena& arena, const ChunksOf& chunks_of) {
  int64_t* first = arena.take<int64_t>(static_cast<int64_t>(count) + 1);
  first[0] = 0;
  for (size_t i = 0; i < count; ++i) first[i + 1] = first[i] + chunks_of(i);
  return first;
}

int64_t chunk_rows(const Gradient& gradient) {
  return std::max<int64_t>(1, kChunk / gradient.width);
}

int64_t chunks(int64_t count, int64_t chunk) {
  return (count + chunk - 1) / chunk;
}

class Update {
 public:
  Update(const AdamwTensor& tensor, const AdamwOptions& options, const KernelTable& kernels)
      : tensor_(tensor), options_(options), kernels_(kernels) {
    correction1_ = static_cast<float>(1 - std::pow(options.beta1, static_cast<double>(tensor.step)));
    correction2_ = static_cast<float>(1 - std::pow(options.beta2, static_cast<double>(tensor.step)));
  }

  void chunk(int64_t index) const {
    const Gradient& gradient = tensor_.gradient;
    if (!gradient.rows) {
      const int64_t begin = index * kChunk, end = std::min(begin + kChunk, gradient.count);
      elements(begin, end, gradient.data + begin);
      return;
    }
    // The listed rows with their gradient, the rows between them with none.
    const int64_t width = gradient.width, step = chunk_rows(gradient);
    int64_t row = index * step;
    const int64_t last = std::min(row + step, gradient.count / width);
    const int32_t* listed_end = gradient.rows + gradient.row_count;
    for (const int32_t* listed = std::lower_bound(gradient.rows, listed_end, row); row < last; ++listed) {
      const int64_t next = listed < listed_end && *listed < last ? *listed : last;
      elements(row * width, next * width, nullptr);
      if (next < last) elements(next * width, (next + 1) * width, gradient.data + next * width);
      row = next + 1;
    }
  }

 private:
  void elements(int64_t begin, int64_t end, const float* gradient) const {
    if (begin >= end) return;
    kernels_.adamw(tensor_.parameter + begin, gradient, tensor_.first_moment + begin, tensor_.second_moment + begin,
                   end - begin, tensor_.learning_rate, static_cast<float>(options_.beta1),
                   static_cast<float>(options_.beta2), options_.epsilon, tensor_.weight_decay, options_.gradient_scale,
                   correction1_, correction2_);
    if (tensor_.mask) kernels_.apply_mask(tensor_.parameter + begin, tensor_.mask + begin, end - begin);
  }

  const AdamwTensor& tensor_;
  const AdamwOptions& options_;
  const KernelTable& kernels_;
  float correction1_, correction2_;
};

}  // namespace

void adamw(const std::vector<AdamwTensor>& tensors, const AdamwOptions& options, const Context& context) {
  Arena::Scope scope(context.arena);
  const int64_t* first = first_chunks(tensors.size(), context.arena, [&](size_t i) {
    const Gradient& gradient = tensors[i].gradient;
    return gradient.rows ? chunks(gradient.count / gradient.width, chunk_rows(gradient))
                         : chunks(gradient.count, kChunk);
  });
  context.pool.run(first[tensors.size()], context.threads, [&](int64_t task) {
    const size_t i = static_cast<size_t>(std::upper_bound(first, first + tensors.size(), task) - first) - 1;
    Update(tensors[i], options, context.kernels).chunk(task - first[i]);
  });
}

double gradient_norm(const std::vector<Gradient>& gradients, const Context& context) {
  Arena::Scope scope(context.arena);
  const int64_t* first = first_chunks(gradients.size(), context.arena, [&](size_t i) {
    const Gradient& gradient = gradients[i];
    return gradient.rows ? chunks(gradient.row_count, chunk_rows(gradient)) : chunks(gradient.count, kChunk);
  });
  const int64_t tasks = first[gradients.size()];
  double* partial = context.arena.take<double>(tasks);
  context.pool.run(tasks, context.threads, [&](int64_t task) {
    const size_t i = static_cast<size_t>(std::upper_bound(first, first + gradients.size(), task) - first) - 1;
    const Gradient& gradient = gradients[i];
    const int64_t step = gradient.rows ? chunk_rows(gradient) : kChunk;
    const int64_t begin = (task - first[i]) * step;
    if (!gradient.rows) {
      const int64_t end = std::min(begin + step, gradient.count);
      partial[task] = context.kernels.sum_of_squares(gradient.data + begin, end - begin);
      return;
    }
    partial[task] = 0;
    for (int64_t r = begin; r < std::min(begin + step, gradient.row_count); ++r) {
      partial[task] +=
          context.kernels.sum_of_squares(gradient.data + gradient.rows[r] * gradient.width, gradient.width);
    }
  });
  double sum = 0;
  for (int64_t task = 0; task < tasks; ++task) sum += partial[task];
  return std::sqrt(sum);
}

}  // namespace whittle
