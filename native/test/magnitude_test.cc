// The oracle of magnitude pruning is a stable sort of all elements by magnitude.
#include "compress/magnitude.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>

#include "cpu/error.h"
#include "test/test.h"

using namespace whittle;

namespace {

using Tensors = std::vector<std::vector<float>>;

struct Pruned {
  MagnitudeCut cut;
  std::vector<std::vector<uint8_t>> masks;
};

Pruned prune(const Tensors& values, int64_t count, int threads, const KernelTable& table) {
  Arena arena;
  const Context context{table, ThreadPool::instance(), threads, arena};
  std::vector<MagnitudeTensor> tensors;
  Pruned result;
  std::vector<uint8_t*> pointers;
  for (size_t t = 0; t < values.size(); ++t) {
    tensors.push_back({"tensor" + std::to_string(t), values[t].data(), static_cast<int64_t>(values[t].size())});
    result.masks.emplace_back(values[t].size(), 0xAA);
  }
  for (auto& mask : result.masks) pointers.push_back(mask.data());
  result.cut = magnitude_cut(tensors, count, context);
  magnitude_masks(tensors, result.cut, pointers, context);
  for (size_t t = 0; t < values.size(); ++t)
    CHECK_EQUAL(masked_count(pointers[t], tensors[t].count, context),
                std::count(result.masks[t].begin(), result.masks[t].end(), 0));
  return result;
}

std::vector<std::vector<uint8_t>> sorted_masks(const Tensors& values, int64_t count) {
  std::vector<float> all;
  for (const auto& tensor : values) all.insert(all.end(), tensor.begin(), tensor.end());
  std::vector<int64_t> order(all.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return std::fabs(all[a]) < std::fabs(all[b]); });
  std::vector<uint8_t> flat(all.size(), 1);
  for (int64_t i = 0; i < count; ++i) flat[order[i]] = 0;
  std::vector<std::vector<uint8_t>> masks;
  size_t offset = 0;
  for (const auto& tensor : values) {
    masks.emplace_back(flat.begin() + offset, flat.begin() + offset + tensor.size());
    offset += tensor.size();
  }
  return masks;
}

void check(const Tensors& values, int64_t count) {
  const auto expected = sorted_masks(values, count);
  for (int isa = 0; isa < kIsaCount; ++isa) {
    const KernelTable* table = kernels_for(static_cast<Isa>(isa));
    if (!table) continue;
    for (int threads : {1, 3}) {
      const Pruned actual = prune(values, count, threads, *table);
      for (size_t t = 0; t < values.size(); ++t)
        if (actual.masks[t] != expected[t])
          WHITTLE_FAIL("mask of tensor " << t << " differs from the sort's at " << isa_name(static_cast<Isa>(isa))
                                         << ", " << threads << " threads, cutting " << count);
    }
  }
}

void check_all_counts(const Tensors& values, const std::vector<int64_t>& counts) {
  for (int64_t count : counts) check(values, count);
}

std::vector<float> normal(int64_t count, uint64_t stream) {
  auto random = test::generator(stream);
  std::normal_distribution<float> distribution(0, 0.05f);
  std::vector<float> values(count);
  for (float& value : values) value = distribution(random);
  return values;
}

std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return std::string(error.code()) + ": " + error.what();
  }
  return "nothing was thrown";
}

}  // namespace

TEST(magnitude, random_weights_equal_a_sort) {
  const Tensors values = {normal(63, 1), normal(1, 2), {}, normal(1009, 3), normal(64, 4)};
  check_all_counts(values, {0, 1, 2, 500, 1000, 1136, 1137});
}

TEST(magnitude, more_than_one_chunk_a_tensor) {
  const Tensors values = {normal((1 << 18) + 17, 5), normal(1 << 19, 6)};
  check_all_counts(values, {1, 123457, 400000});
}

TEST(magnitude, few_distinct_values_cut_the_first_ties) {
  auto random = test::generator(7);
  Tensors values(3);
  for (auto& tensor : values)
    for (int i = 0; i < 200; ++i) tensor.push_back(static_cast<float>(static_cast<int>(random() % 5)) - 2);
  for (int64_t count = 0; count <= 600; count += 7) check(values, count);
}

TEST(magnitude, ties_across_chunks) {
  const Tensors values = {std::vector<float>((1 << 18) + 5, -0.5f), std::vector<float>(100, 0.5f)};
  check_all_counts(values, {1, (1 << 18) - 1, 1 << 18, (1 << 18) + 1, (1 << 18) + 5, (1 << 18) + 50});
}

TEST(magnitude, signed_zeros_and_denormals) {
  const float tiny = std::numeric_limits<float>::denorm_min();
  const float smallest = std::numeric_limits<float>::min();
  const float largest = std::numeric_limits<float>::max();
  Tensors values = {{0.0f, -0.0f, tiny, -tiny, 2 * tiny, smallest, -largest, largest, 1.0f, -0.0f, 0.0f, -smallest}};
  for (int repeat = 0; repeat < 3; ++repeat) values[0].insert(values[0].end(), values[0].begin(), values[0].end());
  for (int64_t count = 0; count <= static_cast<int64_t>(values[0].size()); ++count) check(values, count);
}

TEST(magnitude, neighbors_in_the_lower_bits) {
  std::vector<float> values;
  auto random = test::generator(8);
  for (int i = 0; i < 5000; ++i) {
    const uint32_t bits = 0x3F800000u | static_cast<uint32_t>(random() & 0xFFFF) | (random() & 1 ? 0x80000000u : 0);
    float value;
    std::memcpy(&value, &bits, sizeof value);
    values.push_back(value);
  }
  check_all_counts({values}, {1, 17, 2500, 4999, 5000});
}

TEST(magnitude, threshold_is_the_kth_magnitude) {
  const std::vector<float> values = {3, -1, 2, -1, 5};
  CHECK_EQUAL(prune({values}, 1, 2, kernels()).cut.threshold, 1.0f);
  CHECK_EQUAL(prune({values}, 3, 2, kernels()).cut.threshold, 2.0f);
  CHECK_EQUAL(prune({values}, 1, 2, kernels()).cut.kept_ties, 1);
  CHECK_EQUAL(prune({values}, 0, 2, kernels()).cut.threshold, -1.0f);
}

TEST(magnitude, non_finite_weights_are_named) {
  Tensors values = {normal(100, 9), normal(100, 10)};
  values[1][42] = std::numeric_limits<float>::quiet_NaN();
  CHECK_EQUAL(message_of([&] { prune(values, 50, 2, kernels()); }),
              "BAD_CHECKPOINT: Expected finite weights to prune but tensor \"tensor1\" holds NaN at element 42");
  values[1][42] = -std::numeric_limits<float>::infinity();
  CHECK_EQUAL(
      message_of([&] { prune(values, 0, 2, kernels()); }),
      "BAD_CHECKPOINT: Expected finite weights to prune but tensor \"tensor1\" holds an infinity at element 42");
}

TEST(magnitude, too_large_counts_are_refused) {
  CHECK_EQUAL(message_of([&] {
                prune({{1, 2}}, 3, 1, kernels());
              }),
              "BAD_OPTION: Expected 0 to 2 elements to cut but received 3");
}
