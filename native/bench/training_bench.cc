// Times the parts of a training step of MiniLM-L6 (6 layers, hidden 384, 12 heads, intermediate 1536) natively.
//
//   whittle_training_bench [--threads N] [--seconds S] [--dropout RATE] [--part WORD] [--cpu-time]
//   [SEQUENCESxLENGTH...]
//   whittle_training_bench --peak float32|bfloat16 [--threads N]
//
// Prints one JSON object a line: { "work", "milliseconds", "tokensPerSecond", "shareOfPeak"? }, medians over turns.
// --cpu-time: one thread, counted in its CPU time, and the best turn, for a machine that others use at the same time.
// --peak: takes turns as bench/harness/contest.ts asks for, and multiplies from registers in each.
// shareOfPeak: floating-point operations of the products against what the same threads multiply from registers.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <random>
#include <string>
#include <vector>

#include "ops/adamw.h"
#include "ops/attention.h"
#include "training/embedding.h"
#include "training/products.h"
#include "training/transformer_block.h"

namespace {

using namespace whittle;

constexpr int64_t kLayers = 6, kHidden = 384, kHeads = 12, kIntermediate = 1536, kVocabulary = 30522, kPositions = 512;

bool cpu_time = false;

// Seconds of the clock, or of this thread's CPU time.
double now() {
  timespec time;
  clock_gettime(cpu_time ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

double seconds_since(double start) {
  return now() - start;
}

std::vector<float> random_floats(int64_t count, float scale) {
  static std::mt19937 random(1);
  std::normal_distribution<float> normal(0, scale);
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = normal(random);
  return values;
}

// Operations done.
double multiply_from_registers(int64_t (*peak)(int64_t), int threads, int64_t rounds) {
  std::vector<int64_t> operations(static_cast<size_t>(threads));
  ThreadPool::instance().run(threads, threads,
                             [&](int64_t thread) { operations[static_cast<size_t>(thread)] = peak(rounds); });
  double total = 0;
  for (int64_t done : operations) total += static_cast<double>(done);
  return total;
}

// Answers each line of the standard input with a turn of about half a second.
void take_peak_turns(const std::string& precision, int threads) {
  const bool bf16 = precision == "bfloat16" && kernels().native_bf16;
  int64_t (*peak)(int64_t) = bf16 ? kernels().peak_bf16 : kernels().peak_f32;
  std::puts("ready");
  std::fflush(stdout);
  for (int read; (read = std::getchar()) != EOF;) {
    if (read != '\n') continue;
    double operations = 0;
    const double start = now();
    while (seconds_since(start) < 0.5) operations += multiply_from_registers(peak, threads, 1000000);
    std::printf("{\"units\":%.0f,\"seconds\":%.6f}\n", operations, seconds_since(start));
    std::fflush(stdout);
  }
}

class Bench {
 public:
  Bench(int threads, double seconds, float dropout, std::string part, int64_t sequences, int64_t length)
      : context_{kernels(), ThreadPool::instance(), threads, arena_},
        seconds_(seconds),
        dropout_(dropout),
        part_(std::move(part)) {
    for (int64_t s = 0; s <= sequences; ++s) offsets_.push_back(static_cast<int32_t>(s * length));
    shape_ = {offsets_.data(), sequences, kHidden, kHeads, kIntermediate};
    name_ = std::to_string(sequences) + "x" + std::to_string(length);
  }

  void layers(Precision precision) {
    const int64_t tokens = shape_.tokens();
    const char* kind = precision == Precision::bfloat16 ? " bfloat16" : " float32";
    std::vector<float> x = random_floats(tokens * kHidden, 1), y(x.size()), dx(x.size());
    std::vector<float> weights = random_floats(parameter_count(), 0.05f), gradients(weights.size());
    std::vector<std::vector<float>> saved(kLayers);
    for (auto& buffer : saved) {
      buffer.resize(static_cast<size_t>(block_saved_floats(shape_, tokens, precision, context_.kernels)));
    }
    const auto p = tensors<const float>(weights.data());
    const auto g = tensors<float>(gradients.data());
    BlockOptions options{1e-12f, dropout_, dropout_, 1, 1, 0, precision};
    const double forward_work = static_cast<double>(tokens * kLayers) *
                                (2.0 * kHidden * (4 * kHidden + 2 * kIntermediate) + 4.0 * kHidden * offsets_[1]);
    measure(name_ + kind + " 6 layers forward", forward_work, precision, [&] {
      for (int64_t layer = 0; layer < kLayers; ++layer) {
        transformer_block_forward(shape_, options, p, {}, x.data(), y.data(), saved[static_cast<size_t>(layer)].data(),
                                  context_);
      }
    });
    measure(name_ + kind + " 6 layers forward and backward", 3 * forward_work, precision, [&] {
      for (int64_t layer = 0; layer < kLayers; ++layer) {
        transformer_block_forward(shape_, options, p, {}, x.data(), y.data(), saved[static_cast<size_t>(layer)].data(),
                                  context_);
      }
      for (int64_t layer = kLayers; layer-- > 0;) {
        transformer_block_backward(shape_, options, p, {}, x.data(), saved[static_cast<size_t>(layer)].data(), y.data(),
                                   dx.data(), g, context_);
      }
    });
  }

  // What a step packs of the layers' weights: once for the forward, once, transposed, for the backward pass.
  void packing() {
    const std::vector<float> weights = random_floats(kLayers * parameter_count(), 0.05f);
    const Products<bf16> products(context_);
    const auto pack_both = [&](const float* w, int64_t n, int64_t k) {
      Arena::Scope scope(arena_);
      products.pack(w, k, 1, n, k);
      products.pack(w, 1, k, k, n);
    };
    measure(name_ + " bfloat16 packing of 6 layers' weights", 0, Precision::bfloat16, [&] {
      for (int64_t layer = 0; layer < kLayers; ++layer) {
        const auto p = tensors<const float>(weights.data() + layer * parameter_count());
        for (const float* w : {p.query_weight, p.key_weight, p.value_weight, p.attention_output_weight}) {
          pack_both(w, kHidden, kHidden);
        }
        pack_both(p.intermediate_weight, kIntermediate, kHidden);
        pack_both(p.output_weight, kHidden, kIntermediate);
      }
    });
  }

  // The products alone of all layers, each with weights of its own.
  void products_alone() {
    for (const auto& [n, k] : {std::pair{kHidden, kHidden}, {kIntermediate, kHidden}, {kHidden, kIntermediate}}) {
      product_and_gradient(n, k);
    }
  }

  void attention_alone(Precision precision) {
    const int64_t tokens = shape_.tokens();
    const char* kind = precision == Precision::bfloat16 ? " bfloat16" : " float32";
    std::vector<float> qkv = random_floats(tokens * 3 * kHidden, 1), out(static_cast<size_t>(tokens * kHidden)),
                       gradients(qkv.size());
    const Dropout dropout{dropout_, 1, 1, 1, DropoutSite::attention_probabilities};
    const Attention arguments{qkv.data(),
                              qkv.data() + kHidden,
                              qkv.data() + 2 * kHidden,
                              3 * kHidden,
                              shape_.offsets,
                              shape_.sequences,
                              kHeads,
                              kHidden / kHeads,
                              out.data(),
                              kHidden,
                              dropout_ > 0 ? &dropout : nullptr};
    const double work = 4.0 * static_cast<double>(kHidden * tokens * offsets_[1]);
    measure(name_ + kind + " attention forward", work, precision, [&] { attention(arguments, precision, context_); });
    if (precision == Precision::bfloat16 && context_.kernels.native_bf16) return training_attention(arguments, work);
    measure(name_ + " float32 attention backward", 2.5 * work, precision, [&] {
      attention_backward(arguments, out.data(), gradients.data(), gradients.data() + kHidden,
                         gradients.data() + 2 * kHidden, nullptr, context_);
    });
  }

  // On bf16 in and out, as layers run it.
  void training_attention(const Attention& a, double work) {
    const int64_t tokens = shape_.tokens();
    std::vector<bf16> qkv(static_cast<size_t>(tokens * 3 * kHidden)), gradients(qkv.size()),
        out(static_cast<size_t>(tokens * kHidden)), dout(out.size());
    std::vector<float> softmax(static_cast<size_t>(attention_softmax_floats(tokens, kHeads)));
    context_.kernels.convert_f32_bf16(a.q, 3 * kHidden, tokens, 3 * kHidden, qkv.data(), 3 * kHidden);
    context_.kernels.convert_f32_bf16(a.q, 3 * kHidden, tokens, kHidden, dout.data(), kHidden);
    const AttentionOf<bf16> arguments{
        qkv.data(), qkv.data() + kHidden, qkv.data() + 2 * kHidden, 3 * kHidden, a.offsets, a.sequences, kHeads,
        a.head_size, out.data(), kHidden, a.dropout};
    measure(name_ + " bfloat16 attention forward in training", work, Precision::bfloat16,
            [&] { attention(arguments, softmax.data(), context_); });
    measure(name_ + " bfloat16 attention backward", 2.5 * work, Precision::bfloat16, [&] {
      attention_backward(arguments, softmax.data(), dout.data(), gradients.data(), gradients.data() + kHidden,
                         gradients.data() + 2 * kHidden, nullptr, context_);
    });
  }

  void embedding_alone() {
    const int64_t tokens = shape_.tokens();
    std::vector<float> word = random_floats(kVocabulary * kHidden, 0.05f),
                       position = random_floats(kPositions * kHidden, 0.05f), type = random_floats(2 * kHidden, 0.05f),
                       weight(kHidden, 1), bias(kHidden), y(static_cast<size_t>(tokens * kHidden)),
                       saved(static_cast<size_t>(embedding_saved_floats(tokens))), d_word(word.size()),
                       d_position(position.size()), d_type(type.size()), d_weight(kHidden), d_bias(kHidden);
    std::vector<int32_t> ids, types(static_cast<size_t>(tokens));
    std::mt19937 random(2);
    for (int64_t i = 0; i < tokens; ++i) ids.push_back(static_cast<int32_t>(random() % kVocabulary));
    const EmbeddingBatch batch{ids.data(), types.data(), shape_.offsets, shape_.sequences};
    const EmbeddingOptions options{kHidden, kVocabulary, kPositions, 2, 0, 1e-12f, dropout_, 1, 1};
    const EmbeddingTensors<const float> p{word.data(), position.data(), type.data(), weight.data(), bias.data()};
    const EmbeddingTensors<float> g{d_word.data(), d_position.data(), d_type.data(), d_weight.data(), d_bias.data()};
    measure(name_ + " embedding forward and backward", 0, Precision::float32, [&] {
      embedding_forward(batch, options, p, y.data(), saved.data(), context_);
      embedding_backward(batch, options, p, saved.data(), y.data(), g, context_);
    });
    std::vector<float> layers = random_floats(kLayers * parameter_count(), 0.05f), d_layers(layers.size(), 1e-3f);
    optimizer("all parameters", {{&word, &d_word}, {&layers, &d_layers}});
    optimizer("layers only", {{&layers, &d_layers}});
    packing_optimizer();
  }

 private:
  void product_and_gradient(int64_t n, int64_t k) {
    const int64_t tokens = shape_.tokens();
    const Products<bf16> products(context_);
    const int64_t x_stride = operand_stride<bf16>(k), dy_stride = operand_stride<bf16>(n);
    std::vector<bf16> x(static_cast<size_t>(tokens * x_stride)), dy(static_cast<size_t>(tokens * dy_stride));
    const std::vector<float> weights = random_floats(n * k, 0.05f);
    std::vector<AlignedBuffer> packed;
    std::vector<std::vector<float>> gradients;
    for (int64_t layer = 0; layer < kLayers; ++layer) {
      packed.emplace_back(static_cast<size_t>(PackedForms::floats(n, k, context_.kernels)) * sizeof(float));
      const PackedForms forms = PackedForms::within(packed.back().as<float>(), n, k, context_.kernels);
      context_.kernels.pack_weight_bf16(weights.data(), n, k, 0, n, forms.own, forms.transposed);
      gradients.emplace_back(static_cast<size_t>(n * k));
    }
    const double work = 2.0 * static_cast<double>(kLayers * tokens * n * k);
    const std::string what = name_ + " bfloat16 products with " + std::to_string(n) + "x" + std::to_string(k);
    measure(what, work, Precision::bfloat16, [&] {
      for (const AlignedBuffer& buffer : packed) {
        products.row_blocks(tokens, [&](int64_t, int64_t begin, int64_t end) {
          products.multiply_by_columns(x.data() + begin * x_stride, x_stride, end - begin, {buffer.as<void>(), n, k},
                                       [](const float*, int64_t, int64_t) {});
        });
      }
    });
    measure(what + ", weight gradients", work, Precision::bfloat16, [&] {
      for (std::vector<float>& gradient : gradients) {
        float* const to = gradient.data();
        products.weight_gradient(dy.data(), dy_stride, 0, n, x.data(), x_stride, k, tokens, &to, 1);
      }
    });
  }

  struct Trained {
    std::vector<float>* values;
    std::vector<float>* gradient;
  };

  void optimizer(const std::string& what, const std::vector<Trained>& trained) {
    std::vector<std::vector<float>> moments;
    for (const Trained& one : trained) {
      moments.emplace_back(one.values->size(), 1e-4f);
      moments.emplace_back(one.values->size(), 1e-4f);
    }
    std::vector<AdamwTensor> all;
    std::vector<Gradient> gradients;
    for (size_t i = 0; i < trained.size(); ++i) {
      const Gradient gradient{trained[i].gradient->data(), static_cast<int64_t>(trained[i].values->size())};
      gradients.push_back(gradient);
      all.push_back({trained[i].values->data(), moments[2 * i].data(), moments[2 * i + 1].data(), gradient, nullptr,
                     1e-5f, 0.01f, 10});
    }
    measure(name_ + " AdamW, " + what, 0, Precision::float32, [&] { adamw(all, {0.9, 0.999, 1e-8f, 1}, context_); });
    measure(name_ + " gradient norm, " + what, 0, Precision::float32, [&] { gradient_norm(gradients, context_); });
  }

  // The layers' weights alone, with and without their packed forms.
  void packing_optimizer() {
    std::vector<std::vector<float>> arrays;
    std::vector<AlignedBuffer> packed;
    std::vector<AdamwTensor> plain, packing;
    const auto add = [&](int64_t n, int64_t k) {
      for (int array = 0; array < 4; ++array) arrays.push_back(random_floats(n * k, 0.05f));
      float* const values[4] = {arrays.end()[-1].data(), arrays.end()[-2].data(), arrays.end()[-3].data(),
                                arrays.end()[-4].data()};
      for (float& value : arrays.end()[-3]) value = std::abs(value);
      plain.push_back({values[0], values[1], values[2], {values[3], n * k}, nullptr, 1e-5f, 0.01f, 10});
      packed.emplace_back(static_cast<size_t>(PackedForms::floats(n, k, context_.kernels)) * sizeof(float));
      packing.push_back(plain.back());
      packing.back().columns = k;
      packing.back().packed = PackedForms::within(packed.back().as<float>(), n, k, context_.kernels);
    };
    for (int64_t layer = 0; layer < kLayers; ++layer) {
      for (int part = 0; part < 4; ++part) add(kHidden, kHidden);
      add(kIntermediate, kHidden);
      add(kHidden, kIntermediate);
    }
    for (const auto& [what, tensors] : {std::pair{"weights", &plain}, {"weights and their packed forms", &packing}}) {
      measure(name_ + " AdamW, " + what, 0, Precision::float32,
              [&, all = tensors] { adamw(*all, {0.9, 0.999, 1e-8f, 1}, context_); });
    }
  }

  static int64_t parameter_count() {
    return 4 * kHidden * kHidden + 2 * kHidden * kIntermediate + 9 * kHidden + kIntermediate;
  }

  template <typename T>
  static BlockTensors<T> tensors(T* data) {
    const int64_t sizes[16] = {
        kHidden * kHidden,       kHidden, kHidden * kHidden, kHidden, kHidden * kHidden,       kHidden,
        kHidden * kHidden,       kHidden, kHidden,           kHidden, kHidden * kIntermediate, kIntermediate,
        kHidden * kIntermediate, kHidden, kHidden,           kHidden};
    T* parts[16];
    for (int i = 0; i < 16; ++i) {
      parts[i] = data;
      data += sizes[i];
    }
    return {parts[0], parts[1],  parts[2],  parts[3],  parts[4],  parts[5],  parts[6],  parts[7], parts[8],
            parts[9], parts[10], parts[11], parts[12], parts[13], parts[14], parts[15], nullptr};
  }

  template <typename Body>
  void measure(const std::string& work, double operations, Precision precision, const Body& body) {
    const bool bf16 = precision == Precision::bfloat16 && context_.kernels.native_bf16;
    int64_t (*peak)(int64_t) = bf16 ? context_.kernels.peak_bf16 : context_.kernels.peak_f32;
    if (work.find(part_) == std::string::npos) return;
    std::vector<double> times, peaks;
    body();
    const double start = now();
    while (times.size() < 5 || seconds_since(start) < seconds_) {
      const double turn = now();
      body();
      times.push_back(seconds_since(turn));
      if (operations > 0) peaks.push_back(peak_rate(peak));
    }
    const double time = typical(times, 0);
    std::printf("{\"work\":\"%s\",\"milliseconds\":%.3f,\"tokensPerSecond\":%.0f", work.c_str(), time * 1e3,
                static_cast<double>(shape_.tokens()) / time);
    if (operations > 0) std::printf(",\"shareOfPeak\":%.3f", operations / time / typical(peaks, 1));
    std::printf("}\n");
    std::fflush(stdout);
  }

  // The median; of CPU time the lowest (best 0) or highest (best 1).
  static double typical(std::vector<double> values, int best) {
    std::sort(values.begin(), values.end());
    if (cpu_time) return best ? values.back() : values.front();
    return values[values.size() / 2];
  }

  double peak_rate(int64_t (*peak)(int64_t)) {
    const double start = now();
    return multiply_from_registers(peak, context_.threads, 100000) / seconds_since(start);
  }

  Arena arena_;
  Context context_;
  double seconds_;
  float dropout_;
  std::string part_;
  std::vector<int32_t> offsets_;
  BlockShape shape_;
  std::string name_;
};

}  // namespace

int main(int count, char** arguments) {
  int threads = ThreadPool::instance().default_threads();
  double seconds = 1;
  float dropout = 0.1f;
  std::string peak;  // precision whose peak takes turns
  std::string part;  // only works whose name contains it
  std::vector<std::string> shapes;
  for (int i = 1; i < count; ++i) {
    const std::string word = arguments[i];
    if (word == "--threads" && i + 1 < count) {
      threads = std::max(1, std::atoi(arguments[++i]));
    } else if (word == "--seconds" && i + 1 < count) {
      seconds = std::atof(arguments[++i]);
    } else if (word == "--dropout" && i + 1 < count) {
      dropout = static_cast<float>(std::atof(arguments[++i]));
    } else if (word == "--cpu-time") {
      cpu_time = true;
      threads = 1;
    } else if (word == "--peak" && i + 1 < count) {
      peak = arguments[++i];
    } else if (word == "--part" && i + 1 < count) {
      part = arguments[++i];
    } else {
      shapes.push_back(word);
    }
  }
  if (shapes.empty()) shapes = {"32x128", "32x14"};
  try {
    if (!peak.empty()) {
      take_peak_turns(peak, threads);
      return 0;
    }
    std::fprintf(stderr, "ISA %s, %d threads\n", isa_name(kernels().isa), threads);
    for (const std::string& shape : shapes) {
      const size_t cross = shape.find('x');
      if (cross == std::string::npos) throw std::runtime_error("expected SEQUENCESxLENGTH but found " + shape);
      Bench bench(threads, seconds, dropout, part, std::atoll(shape.c_str()), std::atoll(shape.c_str() + cross + 1));
      for (Precision precision : {Precision::float32, Precision::bfloat16}) {
        bench.layers(precision);
        bench.attention_alone(precision);
      }
      bench.products_alone();
      bench.packing();
      bench.embedding_alone();
    }
  } catch (const std::exception& error) {
    std::fprintf(stderr, "whittle_training_bench: %s\n", error.what());
    return 1;
  }
}
