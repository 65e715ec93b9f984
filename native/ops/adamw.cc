#include "ops/adamw.h"

#include <cmath>

#include "ops/tensor_chunks.h"

namespace whittle {

namespace {

constexpr int64_t kPackedRows = 32;  // of a weight, that are packed at once

int64_t whole_rows(int64_t width) {
  return std::max<int64_t>(1, kChunk / width) * width;
}

int64_t chunk_of(const AdamwTensor& tensor) {
  if (tensor.packed.own) return kPackedRows * tensor.columns;
  return tensor.gradient.rows ? whole_rows(tensor.gradient.width) : kChunk;
}

class Update {
 public:
  Update(const AdamwTensor& tensor, const AdamwOptions& options, const KernelTable& kernels)
      : tensor_(tensor),
        options_(options),
        kernels_(kernels),
        correction1_(static_cast<float>(1 - std::pow(options.beta1, static_cast<double>(tensor.step)))),
        correction2_(static_cast<float>(1 - std::pow(options.beta2, static_cast<double>(tensor.step)))) {}

  // Elements [begin, end), a chunk.
  void run(int64_t begin, int64_t end) const {
    if (tensor_.gradient.rows) {
      by_rows(begin, end);
    } else {
      elements(begin, end, tensor_.gradient.data + begin);
    }
    if (tensor_.mask) kernels_.apply_mask(tensor_.parameter + begin, tensor_.mask + begin, end - begin);
    if (tensor_.packed.own) {
      kernels_.pack_weight_bf16(tensor_.parameter, tensor_.gradient.count / tensor_.columns, tensor_.columns,
                                begin / tensor_.columns, end / tensor_.columns, tensor_.packed.own,
                                tensor_.packed.transposed);
    }
  }

 private:
  // The rows that have a gradient, and between them those that have none.
  void by_rows(int64_t begin, int64_t end) const {
    const Gradient& gradient = tensor_.gradient;
    const int32_t* const all = gradient.rows + gradient.row_count;
    const int32_t* next = std::lower_bound(gradient.rows, all, begin / gradient.width);
    while (begin < end) {
      const int64_t listed = next == all ? end : std::min(end, *next * gradient.width);
      if (begin < listed) elements(begin, listed, nullptr);
      if (listed < end) elements(listed, listed + gradient.width, gradient.data + listed);
      begin = listed + gradient.width;
      ++next;
    }
  }

  void elements(int64_t begin, int64_t end, const float* gradient) const {
    kernels_.adamw(tensor_.parameter + begin, gradient, tensor_.first_moment + begin, tensor_.second_moment + begin,
                   end - begin, tensor_.learning_rate, static_cast<float>(options_.beta1),
                   static_cast<float>(options_.beta2), options_.epsilon,
                   options_.decay_in_gradient ? 0 : tensor_.weight_decay,
                   options_.decay_in_gradient ? tensor_.weight_decay : 0, options_.gradient_scale, correction1_,
                   correction2_);
  }

  const AdamwTensor& tensor_;
  const AdamwOptions& options_;
  const KernelTable& kernels_;
  const float correction1_, correction2_;
};

}  // namespace

void adamw(const std::vector<AdamwTensor>& tensors, const AdamwOptions& options, const Context& context) {
  Arena::Scope scope(context.arena);
  const auto count_of = [&](size_t i) { return tensors[i].gradient.count; };
  const auto chunk = [&](size_t i) { return chunk_of(tensors[i]); };
  Chunks(tensors.size(), context.arena, count_of, chunk).for_each(context, [&](size_t i, int64_t at, int64_t) {
    const int64_t begin = at * chunk(i);
    Update(tensors[i], options, context.kernels).run(begin, std::min(begin + chunk(i), count_of(i)));
  });
}

double gradient_norm(const std::vector<Gradient>& gradients, const Context& context) {
  Arena::Scope scope(context.arena);
  const auto count_of = [&](size_t i) {
    return gradients[i].rows ? gradients[i].row_count * gradients[i].width : gradients[i].count;
  };
  const auto chunk = [&](size_t i) { return gradients[i].rows ? whole_rows(gradients[i].width) : kChunk; };
  const Chunks chunks(gradients.size(), context.arena, count_of, chunk);
  double* partial = context.arena.take<double>(chunks.count());
  chunks.for_each(context, [&](size_t i, int64_t at, int64_t task) {
    const Gradient& gradient = gradients[i];
    const int64_t begin = at * chunk(i), end = std::min(begin + chunk(i), count_of(i));
    if (!gradient.rows) {
      partial[task] = context.kernels.sum_of_squares(gradient.data + begin, end - begin);
      return;
    }
    partial[task] = 0;
    for (int64_t row = begin / gradient.width; row < end / gradient.width; ++row) {
      partial[task] +=
          context.kernels.sum_of_squares(gradient.data + gradient.rows[row] * gradient.width, gradient.width);
    }
  });
  double sum = 0;
  for (int64_t task = 0; task < chunks.count(); ++task) sum += partial[task];
  return std::sqrt(sum);
}

}  // namespace whittle
