#include "ops/adamw.h"

#include <algorithm>
#include <cmath>

namespace whittle {

namespace {

constexpr int64_t kChunk = 1 << 14;  // elements of one task, and of one partial sum

// Number of the first chunk of each of `count` tensors, and the total at the end.
template <typename CountOf>
int64_t* first_chunks(size_t count, Arena& arena, const CountOf& count_of) {
  int64_t* first = arena.take<int64_t>(static_cast<int64_t>(count) + 1);
  first[0] = 0;
  for (size_t i = 0; i < count; ++i) first[i + 1] = first[i] + (count_of(i) + kChunk - 1) / kChunk;
  return first;
}

// Calls body(i, begin, end, task) for the chunks of all tensors, in parallel.
template <typename CountOf, typename Body>
void for_each_chunk(const int64_t* first, size_t count, const CountOf& count_of, const Context& context,
                    const Body& body) {
  context.pool.run(first[count], context.threads, [&](int64_t task) {
    const size_t i = static_cast<size_t>(std::upper_bound(first, first + count, task) - first) - 1;
    const int64_t begin = (task - first[i]) * kChunk;
    body(i, begin, std::min(begin + kChunk, count_of(i)), task);
  });
}

void update(const AdamwTensor& tensor, int64_t begin, int64_t end, const AdamwOptions& options,
            const KernelTable& kernels) {
  const double step = static_cast<double>(tensor.step);
  const float correction1 = static_cast<float>(1 - std::pow(options.beta1, step));
  const float correction2 = static_cast<float>(1 - std::pow(options.beta2, step));
  kernels.adamw(tensor.parameter + begin, tensor.gradient.data + begin, tensor.first_moment + begin,
                tensor.second_moment + begin, end - begin, tensor.learning_rate, static_cast<float>(options.beta1),
                static_cast<float>(options.beta2), options.epsilon, tensor.weight_decay, options.gradient_scale,
                correction1, correction2);
  if (tensor.mask) kernels.apply_mask(tensor.parameter + begin, tensor.mask + begin, end - begin);
}

}  // namespace

void adamw(const std::vector<AdamwTensor>& tensors, const AdamwOptions& options, const Context& context) {
  Arena::Scope scope(context.arena);
  const auto count_of = [&](size_t i) { return tensors[i].gradient.count; };
  const int64_t* first = first_chunks(tensors.size(), context.arena, count_of);
  for_each_chunk(first, tensors.size(), count_of, context, [&](size_t i, int64_t begin, int64_t end, int64_t) {
    update(tensors[i], begin, end, options, context.kernels);
  });
}

double gradient_norm(const std::vector<Gradient>& gradients, const Context& context) {
  Arena::Scope scope(context.arena);
  const auto count_of = [&](size_t i) { return gradients[i].count; };
  const int64_t* first = first_chunks(gradients.size(), context.arena, count_of);
  const int64_t tasks = first[gradients.size()];
  double* partial = context.arena.take<double>(tasks);
  for_each_chunk(first, gradients.size(), count_of, context, [&](size_t i, int64_t begin, int64_t end, int64_t task) {
    partial[task] = context.kernels.sum_of_squares(gradients[i].data + begin, end - begin);
  });
  double sum = 0;
  for (int64_t task = 0; task < tasks; ++task) sum += partial[task];
  return std::sqrt(sum);
}

}  // namespace whittle
