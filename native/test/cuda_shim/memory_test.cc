// What the CUDA executor does when memory runs out or the GPU is lost, which only the shim can arrange.
#include "engine/cuda_executor.h"
#include "kernels/kernel_table.h"
#include "test/cuda_compress.h"
#include "test/cuda_shim/shim_device.h"
#include "test/small_model.h"

using namespace whittle;
using namespace whittle::test;

namespace {

std::string code_of(CudaEngine& engine, const SmallBatch& batch, std::vector<float>& out) {
  try {
    engine.run(batch.batch(), Output::logits, out.data(), {});
  } catch (const Error& error) {
    return std::string(error.code()) + ": " + error.what();
  }
  return "";
}

}  // namespace

TEST(cuda_memory, a_batch_that_does_not_fit_is_cut_in_two) {
  std::mt19937_64 random = generator(1);
  const SmallModel model({}, Precision::int8, random);
  const SmallBatch batch(std::vector<int64_t>(40, 50), model.spec, random);
  const auto roomy = make_shim_device(80);
  CudaEngine expected_engine({roomy.get()}, model.spec, kernels(), 1, [] {});
  std::vector<float> expected(200), actual(200, NAN);
  expected_engine.run(batch.batch(), Output::logits, expected.data(), {});

  // The weights, and less than a workspace for the whole batch. The engine is made while there is more, so that it
  // plans for more than there is.
  const int64_t weights = expected_engine.bytes();
  for (const int64_t tokens : {1500, 700, 60}) {
    const auto tight = make_shim_device(90, int64_t{1} << 27);
    CudaEngine engine({tight.get()}, model.spec, kernels(), 1, [] {});
    void* taken =
        tight->allocate((int64_t{1} << 27) - weights - (64 << 10) - workspace_bytes(engine.model(), tokens));
    std::fill(actual.begin(), actual.end(), NAN);
    CHECK_EQUAL(code_of(engine, batch, actual), "");
    for (size_t i = 0; i < actual.size(); ++i) CHECK_EQUAL(actual[i], expected[i]);
    tight->release(taken);
  }
}

TEST(cuda_memory, not_even_one_sequence_fits) {
  std::mt19937_64 random = generator(2);
  const SmallModel model({}, Precision::int8, random);
  const SmallBatch batch({20, 30}, model.spec, random);
  const auto device = make_shim_device(80, int64_t{1} << 27);
  CudaEngine engine({device.get()}, model.spec, kernels(), 1, [] {});
  void* taken = device->allocate(device->free_memory() - 1000);
  std::vector<float> out(10);
  CHECK(code_of(engine, batch, out).find("DEVICE: cuda:0 has no memory left") == 0);
  device->release(taken);
  CHECK_EQUAL(code_of(engine, batch, out), "");  // and goes on when there is some again
}

TEST(cuda_memory, weights_that_do_not_fit) {
  std::mt19937_64 random = generator(3);
  const SmallModel model({}, Precision::int8, random);
  const auto device = make_shim_device(80, 50000);
  std::string code;
  try {
    CudaEngine engine({device.get()}, model.spec, kernels(), 1, [] {});
  } catch (const Error& error) {
    code = error.code();
  }
  CHECK_EQUAL(code, "DEVICE");
  CHECK_EQUAL(device->free_memory(), 50000);  // all of it given back
}

TEST(cuda_memory, weights_that_do_not_fit_are_pruned_and_rounded_in_pieces) {
  std::mt19937_64 random = generator(5);
  // 2 MB of weights, and room for pieces of 65,536 elements.
  const auto device = make_shim_device(80, 2'300'000);
  check_masks(*device, {random_weights(random, 400'000, 0), random_weights(random, 100'001, 0)}, 123'456);
  check_masks(*device, {random_weights(random, 400'000, 1), random_weights(random, 100'001, 1)}, 250'000);
  CHECK_EQUAL(device->free_memory(), 2'300'000);
  const auto small = make_shim_device(80, 40'000);
  check_quantized_weight(*small, random_rows(random, 53, 700), 53, 700);
  CHECK_EQUAL(small->free_memory(), 40'000);
}

TEST(cuda_memory, no_room_to_prune_or_round) {
  const auto device = make_shim_device(80, 100'000);
  const std::vector<float> w(300'000, 1.0f);
  const std::vector<MagnitudeTensor> tensors = {{"w", w.data(), 300'000}};
  std::string message;
  try {
    CudaMagnitudes(*device, tensors, [] {});
  } catch (const Error& error) {
    message = std::string(error.code()) + ": " + error.what();
  }
  CHECK(message.find("DEVICE: cuda:0 has no memory left") == 0);
  std::vector<int8_t> q(w.size());
  float scale = 0;
  message.clear();
  try {
    quantize_weight_on_gpu(*device, "w", w.data(), 1, 300'000, q.data(), &scale, [] {});
  } catch (const Error& error) {
    message = std::string(error.code()) + ": " + error.what();
  }
  CHECK(message.find("DEVICE: cuda:0 has no memory left") == 0);
  CHECK_EQUAL(device->free_memory(), 100'000);
}

TEST(cuda_memory, a_lost_gpu_is_told) {
  std::mt19937_64 random = generator(4);
  const SmallModel model({}, Precision::int8, random);
  const SmallBatch batch({20, 30}, model.spec, random);
  const auto device = make_shim_device(80);
  CudaEngine engine({device.get()}, model.spec, kernels(), 1, [] {});
  lose_device(*device);
  std::vector<float> out(10);
  CHECK(code_of(engine, batch, out).find("DEVICE: cuda:0 (shim) was lost") == 0);
}
