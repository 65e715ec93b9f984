// The embedding against a reference in double with gradients by central differences; the loss; the sums by id.
#include "training/embedding.h"

#include <algorithm>

#include "cpu/error.h"
#include "ops/dropout.h"
#include "ops/embedding.h"
#include "test/buffers.h"
#include "test/test.h"
#include "training/cross_entropy.h"

using namespace whittle;
using namespace whittle::test;

namespace {

constexpr int64_t kHidden = 20, kVocabulary = 11, kPositions = 9, kTypes = 2;

struct Model {
  std::vector<std::vector<double>> values;  // in the order of EmbeddingTensors
  std::vector<int32_t> ids, types, offsets{0};
  EmbeddingOptions options{kHidden, kVocabulary, kPositions, kTypes, 2, 1e-5f, 0.25f, 9, 4};

  explicit Model(const std::vector<int>& lengths) {
    auto random = generator(61);
    for (int64_t rows : {kVocabulary, kPositions, kTypes, int64_t{1}, int64_t{1}}) {
      const auto floats = random_floats(random, rows * kHidden);
      values.emplace_back(floats.begin(), floats.end());
    }
    for (int length : lengths) {
      offsets.push_back(offsets.back() + length);
      for (int i = 0; i < length; ++i) {
        ids.push_back(static_cast<int32_t>(random() % 5 * 2));  // even ids, some repeated, not always all
        types.push_back(i % 2);
      }
    }
  }
  EmbeddingBatch batch() const {
    return {ids.data(), types.data(), offsets.data(), static_cast<int64_t>(offsets.size()) - 1};
  }

  std::vector<double> forward() const {
    std::vector<double> y;
    for (size_t s = 0; s + 1 < offsets.size(); ++s) {
      for (int32_t token = offsets[s]; token < offsets[s + 1]; ++token) append_token(token, offsets[s], y);
    }
    return y;
  }

 private:
  void append_token(int32_t token, int32_t begin, std::vector<double>& y) const {
    const size_t at = static_cast<size_t>(token), hidden = static_cast<size_t>(kHidden);
    std::vector<double> sum(hidden);
    double mean = 0, variance = 0;
    for (size_t c = 0; c < hidden; ++c) {
      sum[c] = values[0][static_cast<size_t>(ids[at]) * hidden + c] +
               values[1][static_cast<size_t>(token - begin + 2) * hidden + c] +
               values[2][static_cast<size_t>(types[at]) * hidden + c];
      mean += sum[c] / kHidden;
    }
    for (double value : sum) variance += (value - mean) * (value - mean) / kHidden;
    const Dropout dropout{options.dropout, options.seed, options.step, 0, DropoutSite::embedding};
    uint8_t bits[16];
    dropout.bits(static_cast<uint32_t>(token), kHidden, bits, *kernels_for(Isa::ref));
    for (size_t c = 0; c < hidden; ++c) {
      const double normed = (sum[c] - mean) / std::sqrt(variance + options.norm_epsilon) * values[3][c] + values[4][c];
      y.push_back((bits[c / 8] >> (c % 8) & 1) ? normed * dropout.scale() : 0);
    }
  }
};

}  // namespace

TEST(embedding, agrees_with_the_reference_and_central_differences) {
  Model model({3, 1, 7, 0, 5});
  const int64_t tokens = model.offsets.back();
  auto random = generator(62);
  const auto dy = random_floats(random, tokens * kHidden);
  const std::vector<double> expected = model.forward();
  std::vector<std::vector<float>> values, gradients;
  for (const auto& tensor : model.values) {
    values.emplace_back(tensor.begin(), tensor.end());
    gradients.emplace_back(tensor.size(), -7.0f);  // rows that do not occur keep this
  }
  const EmbeddingTensors<const float> p{values[0].data(), values[1].data(), values[2].data(), values[3].data(),
                                        values[4].data()};
  const EmbeddingTensors<float> g{gradients[0].data(), gradients[1].data(), gradients[2].data(), gradients[3].data(),
                                  gradients[4].data()};
  std::vector<std::vector<float>> first;
  for (int threads : {1, 3}) {
    Arena arena;
    const Context context{kernels(), ThreadPool::instance(), threads, arena};
    std::vector<float> y(dy.size()), saved(static_cast<size_t>(embedding_saved_floats(tokens)));
    embedding_forward(model.batch(), model.options, p, y.data(), saved.data(), context);
    for (size_t i = 0; i < y.size(); ++i) CHECK_NEAR(y[i], expected[i], 1e-5);
    embedding_backward(model.batch(), model.options, p, saved.data(), dy.data(), g, context);
    if (threads == 1) first = gradients;
    CHECK(first == gradients);
  }
  const auto loss = [&] {
    const std::vector<double> y = model.forward();
    double total = 0;
    for (size_t i = 0; i < y.size(); ++i) total += y[i] * dy[i];
    return total;
  };
  for (size_t tensor = 0; tensor < 5; ++tensor) {
    for (size_t i = 0; i < model.values[tensor].size(); ++i) {
      const size_t row = i / static_cast<size_t>(kHidden);
      const bool occurs = tensor == 0 ? std::count(model.ids.begin(), model.ids.end(), static_cast<int32_t>(row)) > 0
                                      : tensor != 1 || row >= 2;
      if (!occurs) {
        CHECK_EQUAL(gradients[tensor][i], -7.0f);
        continue;
      }
      double& value = model.values[tensor][i];
      const double kept = value, step = 1e-5;
      value = kept + step;
      const double above = loss();
      value = kept - step;
      const double below = loss();
      value = kept;
      CHECK_NEAR(gradients[tensor][i], (above - below) / (2 * step), 1e-4);
    }
  }
}

TEST(embedding, refuses_ids_and_lengths_outside_the_tables) {
  Arena arena;
  const Context context{kernels(), ThreadPool::instance(), 2, arena};
  std::vector<float> word(kVocabulary * kHidden), position(kPositions * kHidden), type(kTypes * kHidden), norm(kHidden),
      y(100 * kHidden);
  const EmbeddingTensors<const float> p{word.data(), position.data(), type.data(), norm.data(), norm.data()};
  const auto refused = [&](Model& model) {
    try {
      embedding_forward(model.batch(), model.options, p, y.data(), nullptr, context);
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  Model model({3, 4});
  CHECK(refused(model).empty());
  model.ids[5] = kVocabulary;
  CHECK_EQUAL(refused(model), std::string("Expected inputIds from 0 to 10 but inputIds[5] is 11"));
  model.ids[5] = -1;
  CHECK(refused(model).find("inputIds[5] is -1") != std::string::npos);
  model.ids[5] = 0;
  model.types[1] = 2;
  CHECK(refused(model).find("tokenTypeIds[1] is 2") != std::string::npos);
  Model too_long({2, 8});
  CHECK_EQUAL(refused(too_long), std::string("Expected sequences of at most 7 tokens but sequence 1 has 8"));
}

TEST(embedding, sums_by_id_are_in_order) {
  auto random = generator(63);
  const int64_t rows = 40, width = 19, count = 700;
  std::vector<int32_t> ids;
  for (int64_t i = 0; i < count; ++i) ids.push_back(static_cast<int32_t>(random() % rows));
  const auto dy = random_floats(random, count * width);
  std::vector<float> expected(static_cast<size_t>(rows * width), 0.0f);
  for (int64_t i = 0; i < count; ++i) {
    for (int64_t c = 0; c < width; ++c) {
      expected[static_cast<size_t>(ids[static_cast<size_t>(i)] * width + c)] += dy[static_cast<size_t>(i * width + c)];
    }
  }
  for (int threads : {1, 2, 4}) {
    Arena arena;
    const Context context{kernels(), ThreadPool::instance(), threads, arena};
    std::vector<float> table(expected.size(), 0.0f);
    scatter_add_rows(dy.data(), ids.data(), count, rows, width, table.data(), context);
    CHECK(table == expected);
  }
}

TEST(cross_entropy, loss_and_gradient) {
  Arena arena;
  const Context context{kernels(), ThreadPool::instance(), 2, arena};
  auto random = generator(64);
  const int64_t rows = 9, classes = 7;
  auto logits = random_floats(random, rows * classes, 3);
  logits[0] = 200;  // the probability of class 1 of row 0 rounds to 0
  std::vector<int32_t> labels = {1, 0, 6, kIgnoredLabel, 3, 3, kIgnoredLabel, 5, 2};
  const auto loss = [&](const std::vector<float>& values) {
    double total = 0;
    for (size_t r = 0; r < labels.size(); ++r) {
      if (labels[r] == kIgnoredLabel) continue;
      double sum = 0, highest = -1e30;
      for (size_t c = 0; c < 7; ++c) highest = std::max<double>(highest, values[r * 7 + c]);
      for (size_t c = 0; c < 7; ++c) sum += std::exp(values[r * 7 + c] - highest);
      total += highest + std::log(sum) - values[r * 7 + static_cast<size_t>(labels[r])];
    }
    return total / 7;
  };
  std::vector<float> gradient(logits.size(), poison<float>());
  const CrossEntropy result =
      softmax_cross_entropy(logits.data(), labels.data(), rows, classes, gradient.data(), context);
  CHECK_EQUAL(result.counted, int64_t{7});
  CHECK_NEAR(result.loss, loss(logits), 1e-6);
  CHECK_NEAR(softmax_cross_entropy(logits.data(), labels.data(), rows, classes, nullptr, context).loss, loss(logits),
             1e-6);
  for (size_t i = 0; i < logits.size(); ++i) {
    auto shifted = logits;
    shifted[i] = logits[i] + 0.01f;
    const double above = loss(shifted), up = static_cast<double>(shifted[i]) - logits[i];
    shifted[i] = logits[i] - 0.01f;
    const double below = loss(shifted), down = static_cast<double>(logits[i]) - shifted[i];
    CHECK_NEAR(gradient[i], (above - below) / (up + down), 1e-4);
  }
  std::fill(labels.begin(), labels.end(), kIgnoredLabel);
  CHECK_EQUAL(softmax_cross_entropy(logits.data(), labels.data(), rows, classes, gradient.data(), context).loss, 0.0);
  for (float value : gradient) CHECK_EQUAL(value, 0.0f);
  labels[2] = 7;
  bool refused = false;
  try {
    softmax_cross_entropy(logits.data(), labels.data(), rows, classes, nullptr, context);
  } catch (const Error&) {
    refused = true;
  }
  CHECK(refused);
}
