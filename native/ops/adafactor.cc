#include "ops/adafactor.h"

#include <cmath>

namespace whittle {

namespace {

// Tensors go through all passes in groups of at least so many elements, to keep all threads busy, and hardly more:
// their parameters and gradients then come from memory once and from a cache after that.
constexpr int64_t kGroup = 1 << 17;

constexpr double kSmallest = 0x1p-23;  // of float32: what row means, and roots of second moments, are kept above
constexpr float kLimit = 0x1p23f;      // 1 / kSmallest

// One tensor on its way through the passes.
struct Progress {
  float* row_factors;     // [rows]: 1 / sqrt(row mean / mean of all row means)
  float* column_factors;  // [columns]: 1 / sqrt(column mean)
  float mean_of_rows;
  float step, decay;
};

// What a chunk of rows adds to the sums over its tensor.
struct Partial {
  float* column_squares;     // [columns] of the gradient
  double row_means;          // their sum
  double parameter_squares;  // of all elements
  double direction_squares;
};

class Group {
 public:
  Group(const AdafactorTensor* tensors, size_t count, const AdafactorOptions& options, const Context& context)
      : tensors_(tensors),
        count_(count),
        options_(options),
        context_(context),
        chunks_(
            count, context.arena, [=](size_t i) { return tensors[i].rows; },
            [=](size_t i) { return chunk_of(tensors[i]); }),
        progress_(context.arena.take<Progress>(static_cast<int64_t>(count))),
        partial_(context.arena.take<Partial>(chunks_.count())) {
    for (size_t i = 0; i < count; ++i) {
      const int64_t columns = tensors[i].columns, chunks = chunks_.first(i + 1) - chunks_.first(i);
      progress_[i] = {context.arena.take<float>(tensors[i].rows), context.arena.take<float>(columns), 0, 0, 0};
      float* squares = context.arena.take<float>(chunks * columns);
      for (int64_t chunk = 0; chunk < chunks; ++chunk) {
        partial_[chunks_.first(i) + chunk] = {squares + chunk * columns, 0, 0, 0};
      }
    }
  }

  void update() {
    for_each_task([&](size_t i, int64_t begin, int64_t end, Partial& partial) { measure(i, begin, end, partial); });
    context_.pool.run(static_cast<int64_t>(count_), context_.threads,
                      [&](int64_t i) { take_moments(static_cast<size_t>(i)); });
    for_each_task([&](size_t i, int64_t begin, int64_t end, Partial& partial) { direct(i, begin, end, partial); });
    for (size_t i = 0; i < count_; ++i) choose_step(i);
    for_each_task([&](size_t i, int64_t begin, int64_t end, Partial&) { move(i, begin, end); });
  }

 private:
  // Rows that one task takes.
  static int64_t chunk_of(const AdafactorTensor& tensor) {
    const int64_t rows = std::max<int64_t>(1, kChunk / std::max<int64_t>(1, tensor.columns));
    return rows < 4 ? rows : rows / 4 * 4;  // kernels take 4 rows at once
  }
  template <typename Body>
  void for_each_task(const Body& body) {
    chunks_.for_each(context_, [&](size_t i, int64_t chunk, int64_t task) {
      const int64_t rows = chunk_of(tensors_[i]), begin = chunk * rows;
      body(i, begin, std::min(begin + rows, tensors_[i].rows), partial_[task]);
    });
  }
  float weight(size_t i) const {
    return static_cast<float>(std::pow(static_cast<double>(tensors_[i].step), options_.beta2_decay));
  }

  // Sums of squares of rows [begin, end), and their row means.
  void measure(size_t i, int64_t begin, int64_t end, Partial& partial) {
    const AdafactorTensor& tensor = tensors_[i];
    const int64_t at = begin * tensor.columns, rows = end - begin;
    float* row_squares = progress_[i].row_factors + begin;  // until they become factors
    std::fill(row_squares, row_squares + rows, 0.0f);
    std::fill(partial.column_squares, partial.column_squares + tensor.columns, 0.0f);
    context_.kernels.square_sums(tensor.gradient + at, rows, tensor.columns, options_.gradient_scale, row_squares,
                                 partial.column_squares);
    partial.parameter_squares = context_.kernels.sum_of_squares(tensor.parameter + at, rows * tensor.columns);
    if (!tensor.row_means) return;
    const float share = weight(i), columns = static_cast<float>(tensor.columns);
    for (int64_t r = 0; r < rows; ++r) {
      float& mean = tensor.row_means[begin + r];
      mean += share * (row_squares[r] / columns - mean);
      partial.row_means += static_cast<double>(mean);
    }
  }

  void take_moments(size_t i) {
    const AdafactorTensor& tensor = tensors_[i];
    if (tensor.count == 0) return;
    Progress& progress = progress_[i];
    float* sums = progress.column_factors;
    std::fill(sums, sums + tensor.columns, 0.0f);
    double row_means = 0;
    for (int64_t task = chunks_.first(i); task < chunks_.first(i + 1); ++task) {
      const float* squares = partial_[task].column_squares;
      for (int64_t c = 0; c < tensor.columns; ++c) sums[c] += squares[c];
      row_means += partial_[task].row_means;
    }
    const float share = weight(i), rows = static_cast<float>(tensor.rows);
    for (int64_t c = 0; c < tensor.columns; ++c) {
      float& mean = tensor.column_means[c];
      mean += share * (sums[c] / rows - mean);
      progress.column_factors[c] = 1 / std::sqrt(mean);
    }
    progress.mean_of_rows = static_cast<float>(std::max(kSmallest, row_means / static_cast<double>(tensor.rows)));
  }

  // The factors of rows [begin, end), and the squares of their directions.
  void direct(size_t i, int64_t begin, int64_t end, Partial& partial) {
    const AdafactorTensor& tensor = tensors_[i];
    const Progress& progress = progress_[i];
    float* factors = progress.row_factors + begin;
    for (int64_t r = 0; r < end - begin; ++r) {
      factors[r] = tensor.row_means ? std::sqrt(progress.mean_of_rows / tensor.row_means[begin + r]) : 1;
    }
    partial.direction_squares =
        context_.kernels.adafactor_squares(tensor.gradient + begin * tensor.columns, end - begin, tensor.columns,
                                           options_.gradient_scale, factors, progress.column_factors, kLimit);
  }

  void choose_step(size_t i) {
    const AdafactorTensor& tensor = tensors_[i];
    Progress& progress = progress_[i];
    double parameter_squares = 0, direction_squares = 0;
    for (int64_t task = chunks_.first(i); task < chunks_.first(i + 1); ++task) {
      parameter_squares += partial_[task].parameter_squares;
      direction_squares += partial_[task].direction_squares;
    }
    const double count = static_cast<double>(tensor.count), learning_rate = static_cast<double>(tensor.learning_rate);
    const double rate = std::max(options_.epsilon, std::sqrt(parameter_squares / count)) *
                        std::min(learning_rate, 1 / std::sqrt(static_cast<double>(tensor.step)));
    const double excess = std::sqrt(direction_squares / count) / options_.clip_threshold;
    progress.step = static_cast<float>(rate / std::max(1.0, excess));
    progress.decay = tensor.learning_rate * tensor.weight_decay;
  }

  void move(size_t i, int64_t begin, int64_t end) {
    const AdafactorTensor& tensor = tensors_[i];
    const Progress& progress = progress_[i];
    const int64_t at = begin * tensor.columns, rows = end - begin;
    context_.kernels.adafactor(tensor.parameter + at, tensor.gradient + at, rows, tensor.columns,
                               options_.gradient_scale, progress.row_factors + begin, progress.column_factors, kLimit,
                               progress.step, progress.decay);
    if (tensor.mask) context_.kernels.apply_mask(tensor.parameter + at, tensor.mask + at, rows * tensor.columns);
  }

  const AdafactorTensor* tensors_;
  size_t count_;
  const AdafactorOptions& options_;
  const Context& context_;
  const Chunks chunks_;  // of rows
  Progress* progress_;   // [count]
  Partial* partial_;     // [chunks]
};

}  // namespace

void adafactor(const std::vector<AdafactorTensor>& tensors, const AdafactorOptions& options, const Context& context) {
  for (size_t begin = 0, end = 0; begin < tensors.size(); begin = end) {
    int64_t elements = 0;
    while (end < tensors.size() && elements < kGroup) elements += tensors[end++].count;
    Arena::Scope scope(context.arena);
    Group(tensors.data() + begin, end - begin, options, context).update();
  }
}

}  // namespace whittle
