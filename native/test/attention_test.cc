// Attention of one head on every ISA against the plain reference, forward and backward.
#include "test/buffers.h"
#include "test/kernel_variants.h"
#include "test/test.h"

using namespace whittle;
using namespace whittle::test;

namespace {

struct Head {
  int64_t length, size, stride;
  std::vector<float> q, k, v, bias, dout;
  std::vector<uint8_t> bits;
  KeepMask mask;

  Head(std::mt19937_64& random, int64_t length, int64_t size)
      : length(length),
        size(size),
        stride(size + 5),
        q(random_floats(random, length * stride)),
        k(random_floats(random, length * stride)),
        v(random_floats(random, length * stride)),
        bias(random_floats(random, length * (length + 1))),
        dout(random_floats(random, length * stride)),
        bits(static_cast<size_t>(length * ((length + 15) / 16 * 2 + 2))) {
    for (uint8_t& byte : bits) byte = static_cast<uint8_t>(random() | random());
    mask = {bits.data(), (length + 15) / 16 * 2 + 2, 1.3f};
  }
  float scale() const { return 1 / std::sqrt(static_cast<float>(size)); }
};

const int64_t kLengths[] = {1, 2, 7, 14, 15, 16, 17, 31, 33, 48, 63, 64, 65, 97, 128, 200};
const int64_t kHeadSizes[] = {1, 8, 15, 16, 32, 40, 64};

template <typename Body>
void for_each_head(uint64_t stream, const Body& body) {
  auto random = generator(stream);
  for (int64_t length : kLengths) {
    for (int64_t size : kHeadSizes) {
      const Head head(random, length, size);
      const ScoreBias full{head.bias.data(), length}, by_distance{head.bias.data() + length - 1, -1};
      const ScoreBias* biases[] = {nullptr, &full, &by_distance};
      for (int choice = 0; choice < 6; ++choice) {
        body(head, biases[choice / 2], choice & 1 ? &head.mask : nullptr,
             "length " + std::to_string(length) + ", head size " + std::to_string(size) + ", choice " +
                 std::to_string(choice));
      }
    }
  }
}

void check_close(Guarded<float>& actual, Guarded<float>& expected, int64_t rows, int64_t cols, double tolerance,
                 const std::string& what) {
  actual.check_guards(what);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < cols; ++c) {
      const double wanted = expected.at(r, c);
      if (!(std::fabs(actual.at(r, c) - wanted) <= tolerance * (1 + std::fabs(wanted)))) {
        WHITTLE_FAIL(what << ": [" << r << ", " << c << "] is " << actual.at(r, c) << " but expected " << wanted);
      }
    }
  }
}

// scratch memory with sentinels: kernels stay within what they ask for.
struct Scratch {
  explicit Scratch(int64_t floats) : memory(1, floats, floats) {}
  Guarded<float> memory;
};

}  // namespace

TEST(attention, forward_of_every_isa) {
  for_each_head(51, [](const Head& head, const ScoreBias* bias, const KeepMask* keep, const std::string& name) {
    const auto run = [&](auto scratch_floats, auto kernel, Guarded<float>& out, const std::string& what) {
      Scratch scratch(scratch_floats(head.length, head.size));
      kernel(head.q.data(), head.k.data(), head.v.data(), head.stride, head.length, head.size, head.scale(), bias,
             scratch.memory.data(), out.data(), head.size + 3, keep);
      scratch.memory.check_guards(what + ": scratch");
    };
    const KernelTable& reference = *kernels_for(Isa::ref);
    Guarded<float> expected(head.length, head.size, head.size + 3), rounded(head.length, head.size, head.size + 3);
    run(reference.attention_scratch, reference.attention, expected, name);
    run(reference.attention_bf16_scratch, reference.attention_bf16, rounded, name);
    for (const KernelVariant& variant : kernel_variants()) {
      const std::string what = variant.name + ", " + name;
      Guarded<float> out(head.length, head.size, head.size + 3);
      run(variant.table->attention_scratch, variant.table->attention, out, what);
      check_close(out, expected, head.length, head.size, 1e-5, what);
      if (!variant.table->native_bf16) continue;
      Guarded<float> out_bf16(head.length, head.size, head.size + 3);
      run(variant.table->attention_bf16_scratch, variant.table->attention_bf16, out_bf16, what);
      // Both round to bf16, at places that may differ: 2^-8 relative to values of order 1.
      check_close(out_bf16, rounded, head.length, head.size, 8e-3, what + ", bf16");
    }
  });
}

TEST(attention, backward_of_every_isa) {
  for_each_head(52, [](const Head& head, const ScoreBias* bias, const KeepMask* keep, const std::string& name) {
    struct Gradients {
      Guarded<float> q, k, v, bias;
      Gradients(int64_t length, int64_t size, int64_t stride)
          : q(length, size, stride),
            k(length, size, stride),
            v(length, size, stride),
            bias(1, length * (length + 1), length * (length + 1)) {
        std::fill_n(bias.data(), length * (length + 1), 0.0f);
      }
    };
    const auto run = [&](const KernelTable& table, Gradients& d, const std::string& what) {
      Scratch scratch(table.attention_backward_scratch(head.length, head.size));
      float* dbias = bias ? d.bias.data() + (bias->data - head.bias.data()) : nullptr;
      table.attention_backward(head.q.data(), head.k.data(), head.v.data(), head.stride, head.length, head.size,
                               head.scale(), bias, head.dout.data(), head.stride, keep, scratch.memory.data(),
                               d.q.data(), d.k.data(), d.v.data(), dbias);
      scratch.memory.check_guards(what + ": scratch");
    };
    Gradients expected(head.length, head.size, head.stride);
    run(*kernels_for(Isa::ref), expected, name);
    for (const KernelVariant& variant : kernel_variants()) {
      const std::string what = variant.name + ", " + name;
      Gradients actual(head.length, head.size, head.stride);
      run(*variant.table, actual, what);
      check_close(actual.q, expected.q, head.length, head.size, 2e-5, what + ": dq");
      check_close(actual.k, expected.k, head.length, head.size, 2e-5, what + ": dk");
      check_close(actual.v, expected.v, head.length, head.size, 2e-5, what + ": dv");
      check_close(actual.bias, expected.bias, 1, head.length * (head.length + 1), 2e-5, what + ": dbias");
    }
  });
}
