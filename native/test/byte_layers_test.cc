// Threads that divide the columns of products give what threads that divide rows give.
#include <cstring>
#include <utility>

#include "engine/byte_layers.h"
#include "engine/executor.h"
#include "test/small_model.h"
#include "test/test.h"

using namespace whittle;
using namespace whittle::test;

namespace {

constexpr Output kOutputs[] = {Output::logits, Output::hidden, Output::mean, Output::first};

std::vector<float> run(const PackedModel& model, const SmallBatch& batch, Output output, int threads) {
  const OutputShape shape = output_shape(model, batch.batch(), output);
  std::vector<float> out(static_cast<size_t>(shape.rows * shape.columns), NAN);
  Executor executor;
  executor.run(model, batch.batch(), output, threads, out.data(), {});
  return out;
}

// Lengths around the number of rows up to which so many threads work by columns, several sequences a chunk.
void check(const SmallModelOptions& options, unsigned seed) {
  auto random = generator(seed);
  const SmallModel small(options, Precision::int8, random);
  const PackedModel model(small.spec, kernels(), 1, [] {});
  const std::vector<std::vector<int64_t>> cases = {{1},  {2},  {16}, {5, 1, 9}, {31}, {63},
                                                   {64}, {65}, {96}, {97},      {129}};
  for (const std::vector<int64_t>& lengths : cases) {
    const SmallBatch batch(lengths, small.spec, random);
    for (const Output output : kOutputs) {
      const std::vector<float> expected = run(model, batch, output, 1);
      for (const int threads : {2, 3, 5, 9}) {
        const int64_t before = std::exchange(ByteLayers::cached_weights, 0);
        const std::vector<float> found = run(model, batch, output, threads);
        ByteLayers::cached_weights = before;
        for (const float value : found) CHECK(std::isfinite(value));
        if (std::memcmp(found.data(), expected.data(), expected.size() * sizeof(float)) != 0)
          WHITTLE_FAIL("expected " << threads << " threads to give what one gives for " << batch.batch().tokens()
                                   << " tokens, output " << static_cast<int>(output));
      }
    }
  }
}

}  // namespace

TEST(byte_layers, columns_divided_give_what_rows_give) {
  SmallModelOptions options;
  options.layers = 3;
  options.hidden = 192;
  options.heads = 6;
  options.intermediate = 400;  // the last range of columns is not whole
  check(options, 61);
}
TEST(byte_layers, columns_divided_with_position_bias) {
  SmallModelOptions options;
  options.hidden = 128;
  options.heads = 2;
  options.token_types = 0;
  options.position_bias = true;
  options.task = HeadTask::token_classification;
  check(options, 62);
}
TEST(byte_layers, heads_whose_columns_fill_no_line) {
  SmallModelOptions options;
  options.hidden = 320;
  options.heads = 4;  // of 80: all four together end at a whole line
  check(options, 63);
}
TEST(byte_layers, widths_that_cannot_be_divided_are_not) {
  SmallModelOptions options;
  options.hidden = 96;
  options.heads = 3;
  check(options, 64);
}
