// The optimizers beside AdamW: kernels of every ISA against the reference, steps over many tensors against the formulas
// of their papers in double, masks, threads.
#include <limits>

#include "ops/adafactor.h"
#include "ops/adamw.h"
#include "ops/clip_by_value.h"
#include "ops/lion.h"
#include "ops/moving_average.h"
#include "ops/sgd.h"
#include "test/buffers.h"
#include "test/kernel_variants.h"
#include "test/test.h"

using namespace whittle;
using namespace whittle::test;

namespace {

using Floats = std::vector<float>;

const int64_t kSizes[] = {1, 2, 7, 8, 15, 16, 17, 31, 63, 64, 65, 127, 384, 1021};

const KernelTable& reference() {
  return *kernels_for(Isa::ref);
}

// A copy of `values` between sentinels.
Guarded<float> guarded(const Floats& values) {
  const int64_t count = static_cast<int64_t>(values.size());
  Guarded<float> copy(1, count, count);
  std::copy(values.begin(), values.end(), copy.data());
  return copy;
}

void check_close(Guarded<float>& actual, const Floats& expected, double tolerance, const std::string& what) {
  actual.check_guards(what);
  for (size_t i = 0; i < expected.size(); ++i) {
    const double wanted = static_cast<double>(expected[i]), found = static_cast<double>(actual.data()[i]);
    if (!(std::fabs(found - wanted) <= tolerance * (1 + std::fabs(wanted)))) {
      WHITTLE_FAIL(what << ": element " << i << " of " << expected.size() << " is " << found << " but expected "
                        << wanted << " within " << tolerance);
    }
  }
}

// Calls body(context) with 1, 2 and 4 threads; what it returns must be the same.
template <typename Body>
auto on_threads(const Body& body) {
  Arena arena;
  auto first = body(Context{kernels(), ThreadPool::instance(), 1, arena});
  for (int threads : {2, 4}) CHECK(body(Context{kernels(), ThreadPool::instance(), threads, arena}) == first);
  return first;
}

// Parameters and what an optimizer keeps, with gradients for some steps.
struct Problem {
  std::vector<int64_t> counts;
  std::vector<Floats> parameters;
  std::vector<std::vector<Floats>> gradients;  // by step and tensor

  Problem(std::vector<int64_t> counts_of, int steps) : counts(std::move(counts_of)) {
    auto random = generator(81);
    for (int64_t count : counts) parameters.push_back(random_floats(random, count));
    for (int step = 0; step < steps; ++step) {
      gradients.emplace_back();
      for (int64_t count : counts) gradients.back().push_back(random_floats(random, count));
    }
  }
  std::vector<Floats> zeros() const {
    std::vector<Floats> all;
    for (int64_t count : counts) all.emplace_back(static_cast<size_t>(count));
    return all;
  }
  double gradient(size_t step, size_t i, size_t at) const {
    return static_cast<double>(gradients[step][i][at]) * kScale;
  }
  static double rate(size_t i) { return static_cast<double>(rate_of(i)); }
  static double decay(size_t i) { return static_cast<double>(decay_of(i)); }
  static float rate_of(size_t i) { return 0.01f * static_cast<float>(i + 1); }
  static float decay_of(size_t i) { return i == 0 ? 0.0f : 0.1f; }
  static constexpr float kScale = 0.5f;

  ParameterUpdate update(std::vector<Floats>& current, size_t step, size_t i) const {
    return {current[i].data(), gradients[step][i].data(), counts[i], nullptr, rate_of(i), decay_of(i)};
  }
};

const std::vector<int64_t> kCounts = {5, 1, 40000, 561, 16384};

}  // namespace

TEST(sgd, kernel_of_every_isa) {
  auto random = generator(82);
  for (int64_t count : kSizes) {
    const Floats p = random_floats(random, count), g = random_floats(random, count), v = random_floats(random, count);
    for (int kind = 0; kind < 3; ++kind) {  // without momentum, with it, nesterov
      const auto step = [&](const KernelTable& table, float* parameter, float* velocity) {
        table.sgd(parameter, g.data(), kind == 0 ? nullptr : velocity, count, 0.1f, 0.9f, kind == 2, 0.03f, 0.5f);
      };
      Floats p0 = p, v0 = v;
      step(reference(), p0.data(), v0.data());
      for (const KernelVariant& variant : kernel_variants()) {
        auto p1 = guarded(p), v1 = guarded(v);
        step(*variant.table, p1.data(), v1.data());
        check_close(p1, p0, 1e-6, variant.name + ": parameter, kind " + std::to_string(kind));
        check_close(v1, v0, 1e-6, variant.name + ": velocity, kind " + std::to_string(kind));
      }
    }
  }
}

TEST(sgd, several_steps_agree_with_the_formula_for_any_number_of_threads) {
  const Problem problem(kCounts, 4);
  for (bool nesterov : {false, true}) {
    const auto result = on_threads([&](const Context& context) {
      auto parameters = problem.parameters, velocities = problem.zeros();
      for (size_t step = 0; step < problem.gradients.size(); ++step) {
        std::vector<SgdTensor> tensors;
        for (size_t i = 0; i < kCounts.size(); ++i) {
          tensors.push_back({problem.update(parameters, step, i), velocities[i].data()});
        }
        sgd(tensors, {0.9f, nesterov, Problem::kScale}, context);
      }
      return parameters;
    });
    for (size_t i = 0; i < kCounts.size(); ++i) {
      for (size_t at = 0; at < result[i].size(); at += 7) {
        double p = problem.parameters[i][at], v = 0;
        for (size_t step = 0; step < problem.gradients.size(); ++step) {
          const double d = problem.gradient(step, i, at) + Problem::decay(i) * p;
          v = 0.9 * v + d;
          p -= Problem::rate(i) * (nesterov ? d + 0.9 * v : v);
        }
        CHECK_NEAR(result[i][at], p, 1e-5);
      }
    }
  }
}

TEST(lion, kernel_of_every_isa) {
  auto random = generator(83);
  for (int64_t count : kSizes) {
    const Floats p = random_floats(random, count);
    Floats g = random_floats(random, count), m = random_floats(random, count);
    g[0] = m[0] = 0;  // the sign of 0
    const auto step = [&](const KernelTable& table, float* parameter, float* momentum) {
      table.lion(parameter, g.data(), momentum, count, 1e-2f, 0.9f, 0.99f, 0.1f, 0.5f);
    };
    Floats p0 = p, m0 = m;
    step(reference(), p0.data(), m0.data());
    CHECK_NEAR(p0[0], static_cast<double>(p[0]) * 0.999, 1e-6);
    for (const KernelVariant& variant : kernel_variants()) {
      auto p1 = guarded(p), m1 = guarded(m);
      step(*variant.table, p1.data(), m1.data());
      check_close(p1, p0, 1e-6, variant.name + ": parameter");
      check_close(m1, m0, 1e-6, variant.name + ": momentum");
    }
  }
}

TEST(lion, several_steps_agree_with_the_formula_for_any_number_of_threads) {
  const Problem problem(kCounts, 4);
  const auto result = on_threads([&](const Context& context) {
    auto parameters = problem.parameters, momenta = problem.zeros();
    for (size_t step = 0; step < problem.gradients.size(); ++step) {
      std::vector<LionTensor> tensors;
      for (size_t i = 0; i < kCounts.size(); ++i) {
        tensors.push_back({problem.update(parameters, step, i), momenta[i].data()});
      }
      lion(tensors, {0.9f, 0.99f, Problem::kScale}, context);
    }
    return parameters;
  });
  for (size_t i = 0; i < kCounts.size(); ++i) {
    for (size_t at = 0; at < result[i].size(); at += 7) {
      double p = problem.parameters[i][at], m = 0, nearest = 1;
      for (size_t step = 0; step < problem.gradients.size(); ++step) {
        const double g = problem.gradient(step, i, at), direction = 0.9 * m + 0.1 * g;
        nearest = std::min(nearest, std::fabs(direction));
        p -= Problem::rate(i) * ((direction > 0 ? 1 : -1) + Problem::decay(i) * p);
        m = 0.99 * m + 0.01 * g;
      }
      if (nearest > 1e-6) CHECK_NEAR(result[i][at], p, 1e-5);  // closer to 0, rounding decides the sign
    }
  }
}

TEST(lion, a_decay_below_what_float32_can_take_off_one_is_kept) {
  // 3e-8 is half of the last bit below 1: a factor 1 - 3e-8 is 1 or twice as far away.
  for (const KernelVariant& variant : kernel_variants()) {
    Floats p(64, 1.5f), g(64, 0.0f), m(64, 0.0f);
    variant.table->lion(p.data(), g.data(), m.data(), 64, 1e-4f, 0.9f, 0.99f, 8e-4f, 1);
    for (float value : p) CHECK_EQUAL(value, static_cast<float>(1.5 - 1.5 * 8e-8));
  }
}

TEST(adafactor, kernels_of_every_isa) {
  auto random = generator(84);
  for (int64_t cols : kSizes) {
    for (int64_t rows : {1, 4, 7}) {
      const Floats p = random_floats(random, rows * cols), g = random_floats(random, rows * cols);
      Floats row_factors = random_floats(random, rows, 10), column_factors = random_floats(random, cols, 10);
      for (Floats* factors : {&row_factors, &column_factors}) {
        for (float& factor : *factors) factor = std::fabs(factor);
      }
      row_factors[0] = std::numeric_limits<float>::infinity();  // a row without gradients so far
      const Floats start_rows = random_floats(random, rows), start_columns = random_floats(random, cols);
      Floats p0 = p, row_sums = start_rows, column_sums = start_columns;
      const auto move = [&](const KernelTable& table, float* parameter) {
        table.adafactor(parameter, g.data(), rows, cols, 0.5f, row_factors.data(), column_factors.data(), 50, 1e-3f,
                        1e-4f);
      };
      const auto squares = [&](const KernelTable& table) {
        return table.adafactor_squares(g.data(), rows, cols, 0.5f, row_factors.data(), column_factors.data(), 50);
      };
      move(reference(), p0.data());
      reference().square_sums(g.data(), rows, cols, 0.5f, row_sums.data(), column_sums.data());
      for (const KernelVariant& variant : kernel_variants()) {
        const std::string what = variant.name + ", " + std::to_string(rows) + " rows";
        auto p1 = guarded(p), by_row = guarded(start_rows), by_column = guarded(start_columns);
        move(*variant.table, p1.data());
        check_close(p1, p0, 1e-6, what + ": parameter");
        CHECK_NEAR(squares(*variant.table), squares(reference()), 1e-5);
        variant.table->square_sums(g.data(), rows, cols, 0.5f, by_row.data(), by_column.data());
        check_close(by_row, row_sums, 1e-5, what + ": sums of rows");
        check_close(by_column, column_sums, 1e-5, what + ": sums of columns");
      }
    }
  }
}

namespace {

// torch.optim.Adafactor's formulas on one matrix, or with rows = 0 element by element.
struct AdafactorOracle {
  std::vector<double> p, row_means, column_means;
  int64_t rows, columns;

  AdafactorOracle(const Floats& start, int64_t rows_of, int64_t columns_of)
      : p(start.begin(), start.end()),
        row_means(static_cast<size_t>(rows_of)),
        column_means(static_cast<size_t>(columns_of)),
        rows(rows_of),
        columns(columns_of) {}

  static double root_mean_square(const std::vector<double>& values) {
    double sum = 0;
    for (double value : values) sum += value * value;
    return std::sqrt(sum / static_cast<double>(values.size()));
  }

  void step(const std::vector<double>& g, double number, double rate, double decay, const AdafactorOptions& options) {
    const double weight = std::pow(number, options.beta2_decay), tiny = std::pow(2.0, -23);
    const size_t n = static_cast<size_t>(columns), m = static_cast<size_t>(rows);
    std::vector<double> direction(g.size());
    for (size_t r = 0; r < m; ++r) {
      double sum = 0;
      for (size_t c = 0; c < n; ++c) sum += g[r * n + c] * g[r * n + c];
      row_means[r] += weight * (sum / static_cast<double>(n) - row_means[r]);
    }
    for (size_t c = 0; c < n; ++c) {
      double sum = 0;
      for (size_t at = c; at < g.size(); at += n) sum += g[at] * g[at];
      column_means[c] += weight * (sum / static_cast<double>(g.size() / n) - column_means[c]);
    }
    double mean = 0;
    for (double row : row_means) mean += row / static_cast<double>(m);
    for (size_t at = 0; at < g.size(); ++at) {
      const double variance =
          m == 0 ? column_means[at] : row_means[at / n] * column_means[at % n] / std::max(tiny, mean);
      direction[at] = g[at] / std::sqrt(std::max(tiny * tiny, variance));
    }
    const double scale = std::max(options.epsilon, root_mean_square(p)) * std::min(rate, 1 / std::sqrt(number)) /
                         std::max(1.0, root_mean_square(direction) / options.clip_threshold);
    for (size_t at = 0; at < p.size(); ++at) p[at] -= rate * decay * p[at] + scale * direction[at];
  }
};

}  // namespace

TEST(adafactor, several_steps_agree_with_the_formulas_for_any_number_of_threads) {
  // Rows of 0: element by element. Several chunks and several groups of tensors; wide and tall.
  const std::vector<std::pair<int64_t, int64_t>> shapes = {{3, 5},    {0, 7},     {301, 1021}, {1, 1},    {2, 40000},
                                                           {0, 1537}, {900, 900}, {2000, 3},   {129, 384}};
  std::vector<int64_t> counts;
  for (const auto& [rows, columns] : shapes) counts.push_back(std::max<int64_t>(rows, 1) * columns);
  Problem problem(counts, 3);
  // Rows and columns without gradients, and gradients so small that the limit counts.
  for (auto& step : problem.gradients) {
    std::fill(step[0].begin() + 5, step[0].begin() + 10, 0.0f);
    for (float& value : step[1]) value *= 1e-8f;
    for (size_t at = 0; at < step[8].size(); at += 384) step[8][at] = 0;
  }
  const AdafactorOptions options{-0.8, 1, 1e-3, Problem::kScale};
  const auto result = on_threads([&](const Context& context) {
    auto parameters = problem.parameters;
    std::vector<Floats> rows, columns;
    for (const auto& [r, c] : shapes) {
      rows.emplace_back(static_cast<size_t>(r));
      columns.emplace_back(static_cast<size_t>(c));
    }
    for (size_t step = 0; step < problem.gradients.size(); ++step) {
      std::vector<AdafactorTensor> tensors;
      for (size_t i = 0; i < shapes.size(); ++i) {
        const auto& [r, c] = shapes[i];
        tensors.push_back({problem.update(parameters, step, i), std::max<int64_t>(r, 1), c,
                           r == 0 ? nullptr : rows[i].data(), columns[i].data(), static_cast<int64_t>(step) + 1});
      }
      adafactor(tensors, options, context);
    }
    return std::pair(parameters, std::pair(rows, columns));
  });
  for (size_t i = 0; i < shapes.size(); ++i) {
    AdafactorOracle oracle(problem.parameters[i], shapes[i].first, shapes[i].second);
    for (size_t step = 0; step < problem.gradients.size(); ++step) {
      std::vector<double> g;
      for (float value : problem.gradients[step][i]) g.push_back(static_cast<double>(value) * Problem::kScale);
      oracle.step(g, static_cast<double>(step) + 1, Problem::rate(i), Problem::decay(i), options);
    }
    const auto& [parameters, means] = result;
    for (size_t at = 0; at < oracle.p.size(); ++at) CHECK_NEAR(parameters[i][at], oracle.p[at], 2e-6);
    for (size_t r = 0; r < oracle.row_means.size(); ++r) CHECK_NEAR(means.first[i][r], oracle.row_means[r], 1e-6);
    for (size_t c = 0; c < oracle.column_means.size(); ++c)
      CHECK_NEAR(means.second[i][c], oracle.column_means[c], 1e-6);
  }
}

TEST(optimizers, masked_parameters_stay_at_zero) {
  auto random = generator(85);
  const int64_t rows = 99, columns = 211, count = rows * columns;
  const Floats start = random_floats(random, count), gradient = random_floats(random, count);
  std::vector<uint8_t> mask(static_cast<size_t>(count));
  for (uint8_t& kept : mask) kept = random() % 2;
  Arena arena;
  const Context context{kernels(), ThreadPool::instance(), 2, arena};
  for (int kind = 0; kind < 3; ++kind) {
    Floats parameter = start, state(start.size()), column_means(static_cast<size_t>(columns));
    const ParameterUpdate update{parameter.data(), gradient.data(), count, mask.data(), 0.01f, 0.1f};
    if (kind == 0) sgd({{update, state.data()}}, {0.9f, false, 1}, context);
    if (kind == 1) lion({{update, state.data()}}, {0.9f, 0.99f, 1}, context);
    if (kind == 2)
      adafactor({{update, rows, columns, state.data(), column_means.data(), 1}}, {-0.8, 1, 1e-3, 1}, context);
    for (size_t i = 0; i < mask.size(); ++i) CHECK((parameter[i] == 0) == (mask[i] == 0));
  }
}

TEST(optimizers, adam_with_decay_in_the_gradient) {
  const Problem problem(kCounts, 4);
  const auto result = on_threads([&](const Context& context) {
    auto parameters = problem.parameters, first = problem.zeros(), second = problem.zeros();
    for (size_t step = 0; step < problem.gradients.size(); ++step) {
      std::vector<AdamwTensor> tensors;
      for (size_t i = 0; i < kCounts.size(); ++i) {
        AdamwTensor tensor{};
        tensor.parameter = parameters[i].data();
        tensor.first_moment = first[i].data();
        tensor.second_moment = second[i].data();
        tensor.gradient = {problem.gradients[step][i].data(), kCounts[i]};
        tensor.learning_rate = Problem::rate_of(i);
        tensor.weight_decay = Problem::decay_of(i);
        tensor.step = static_cast<int64_t>(step) + 1;
        tensors.push_back(tensor);
      }
      AdamwOptions options{0.9, 0.999, 1e-8f, Problem::kScale};
      options.decay_in_gradient = true;
      adamw(tensors, options, context);
    }
    return parameters;
  });
  for (size_t i = 0; i < kCounts.size(); ++i) {
    for (size_t at = 0; at < result[i].size(); at += 7) {
      double p = problem.parameters[i][at], m = 0, v = 0, nearest = 1;
      for (size_t step = 0; step < problem.gradients.size(); ++step) {
        const double g = problem.gradient(step, i, at) + Problem::decay(i) * p, t = static_cast<double>(step) + 1;
        nearest = std::min(nearest, std::fabs(g));
        m = 0.9 * m + 0.1 * g;
        v = 0.999 * v + 0.001 * g * g;
        p -= Problem::rate(i) * m / (1 - std::pow(0.9, t)) / (std::sqrt(v / (1 - std::pow(0.999, t))) + 1e-8);
      }
      if (nearest > 1e-3) CHECK_NEAR(result[i][at], p, 1e-5);  // the first step of a gradient near 0 is all rounding
    }
  }
}

TEST(moving_average, every_isa_and_any_number_of_threads) {
  auto random = generator(86);
  for (int64_t count : kSizes) {
    const Floats average = random_floats(random, count), x = random_floats(random, count);
    Floats expected = average;
    reference().moving_average(expected.data(), x.data(), count, 0.3f);
    for (const KernelVariant& variant : kernel_variants()) {
      auto actual = guarded(average);
      variant.table->moving_average(actual.data(), x.data(), count, 0.3f);
      check_close(actual, expected, 1e-6, variant.name);
    }
  }
  const Problem problem(kCounts, 1);
  const auto result = on_threads([&](const Context& context) {
    auto averages = problem.parameters;
    std::vector<MovingAverage> tensors;
    for (size_t i = 0; i < kCounts.size(); ++i) {
      tensors.push_back({averages[i].data(), problem.gradients[0][i].data(), kCounts[i]});
    }
    moving_average(tensors, 0.25f, context);
    return averages;
  });
  for (size_t i = 0; i < kCounts.size(); ++i) {
    for (size_t at = 0; at < result[i].size(); ++at) {
      CHECK_NEAR(result[i][at], 0.75 * problem.parameters[i][at] + 0.25 * problem.gradients[0][i][at], 1e-6);
    }
  }
}

TEST(clip_by_value, every_isa_and_any_number_of_threads) {
  auto random = generator(87);
  const auto cut = [](float value) { return value > 0.5f ? 0.5f : value < -0.5f ? -0.5f : value; };
  for (int64_t count : kSizes) {
    const Floats x = random_floats(random, count);
    Floats expected = x;
    for (float& value : expected) value = cut(value);
    for (const KernelVariant& variant : kernel_variants()) {
      auto actual = guarded(x);
      variant.table->clip_by_value(actual.data(), count, 0.5f);
      check_close(actual, expected, 0, variant.name);
    }
  }
  for (const KernelVariant& variant : kernel_variants()) {
    constexpr float infinity = std::numeric_limits<float>::infinity();
    Floats x(17, 0.0f);
    x[0] = x[16] = std::numeric_limits<float>::quiet_NaN();
    x[1] = infinity;
    x[2] = -infinity;
    variant.table->clip_by_value(x.data(), 17, 2);
    CHECK(std::isnan(x[0]) && std::isnan(x[16]));
    CHECK_EQUAL(x[1], 2.0f);
    CHECK_EQUAL(x[2], -2.0f);
  }
  const Problem problem(kCounts, 0);
  const auto result = on_threads([&](const Context& context) {
    auto clipped = problem.parameters;
    std::vector<ClippedTensor> tensors;
    for (size_t i = 0; i < kCounts.size(); ++i) tensors.push_back({clipped[i].data(), kCounts[i]});
    tensors.push_back(tensors[2]);  // the gradient of two parameters
    clip_by_value(tensors, 0.5f, context);
    return clipped;
  });
  for (size_t i = 0; i < kCounts.size(); ++i) {
    for (size_t at = 0; at < result[i].size(); ++at) CHECK_EQUAL(result[i][at], cut(problem.parameters[i][at]));
  }
}
