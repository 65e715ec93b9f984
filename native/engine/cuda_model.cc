#include "engine/cuda_model.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "cpu/arena.h"
#include "cpu/thread_pool.h"
#include "formats/half.h"
#include "ops/weight_rows.h"

namespace whittle {

namespace {

// Rows of the weights of `linear` from `element(r, c, part)`, into zeroed memory.
template <typename T, typename Element>
void fill_blocks(uint8_t* stored, const CudaLinear& linear, int threads, const Element& element) {
  const int64_t k = linear.k, part_blocks = cuda::part_blocks(linear.form, k), parts = cuda::form_parts(linear.form);
  ThreadPool::instance().split(linear.n, 16, threads, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r)
      for (int64_t part = 0; part < parts; ++part)
        for (int64_t c = 0; c < k; ++c) {
          const T value = element(r, c, part);
          std::memcpy(
              stored + cuda::operand_offset(cuda::stored_weight_row(r, linear.format),
                                            part * part_blocks * cuda::kRowBytes + c * static_cast<int64_t>(sizeof(T)),
                                            parts * part_blocks),
              &value, sizeof(T));
        }
  });
}

class Uploader {
 public:
  Uploader(GpuDevice& device, const ModelSpec& spec, const KernelTable& table, int threads,
           const std::function<void()>& check)
      : device_(device),
        spec_(spec),
        table_(table),
        threads_(threads),
        check_(check),
        stream_(device.create_stream()) {}
  ~Uploader() { device_.destroy_stream(stream_); }
  Uploader(const Uploader&) = delete;
  Uploader& operator=(const Uploader&) = delete;

  template <typename T>
  GpuBuffer upload(const T* values, int64_t count) {
    GpuBuffer buffer(device_, count * static_cast<int64_t>(sizeof(T)));
    if (count > 0) device_.upload(buffer.as<void>(), values, buffer.bytes(), stream_);
    device_.synchronize(stream_);
    bytes += buffer.bytes();
    return buffer;
  }
  template <typename T>
  GpuBuffer upload(const std::vector<T>& values) {
    return upload(values.data(), static_cast<int64_t>(values.size()));
  }

  std::vector<float> floats(const std::string& name, const std::vector<int64_t>& shape) {
    check_();
    const StoredParameter& parameter = spec_.at(name, shape);
    std::vector<float> values(static_cast<size_t>(parameter.tensor.elements()));
    reader_.read_parameter(parameter, values.data());
    expect_finite(parameter.tensor, values.data(), Dtype::f32, static_cast<int64_t>(values.size()));
    return values;
  }

  CudaNorm norm(const std::string& name) {
    return {upload(in_order(floats(name + ".weight", {spec_.hidden}))),
            upload(in_order(floats(name + ".bias", {spec_.hidden})))};
  }

  // One linear layer whose outputs are those of several stored ones, each [n, k], one after the other.
  // Its input: anything, results of LayerNorm, which may have outliers, or of GELU.
  enum class Input { any, norm, gelu };
  CudaLinear linear(const std::vector<std::string>& names, int64_t n, int64_t k, Precision precision,
                    cuda::Format format = cuda::Format::f32, Input input = Input::any) {
    CudaLinear linear;
    linear.format = format;
    linear.n = n * static_cast<int64_t>(names.size());
    linear.k = k;
    linear.form = precision == Precision::int8       ? cuda::Form::int8
                  : precision == Precision::bfloat16 ? cuda::Form::bf16
                                                     : cuda::Form::split;
    std::vector<float> bias;
    for (const std::string& name : names) {
      const auto part = floats(name + ".bias", {n});
      bias.insert(bias.end(), part.begin(), part.end());
    }
    linear.bias = upload(gives_sums(linear) ? in_order(bias) : bias);
    if (precision == Precision::int8)
      upload_s8(linear, names, n, input);
    else
      upload_bf16(linear, names, n);
    return linear;
  }

  // The precision of a layer of the head, as PackedModel chooses it.
  Precision head_precision(const std::string& name) const {
    const auto found = spec_.parameters.find(name + ".weight");
    const bool s8 = found != spec_.parameters.end() && found->second.tensor.dtype == Dtype::i8;
    return spec_.precision == Precision::int8 && !s8 ? Precision::float32 : spec_.precision;
  }

  // The bias of every distance, from the table of buckets.
  GpuBuffer position_bias() {
    const std::vector<float> table = floats("embeddings.positionBias", {spec_.position_bias_rows, spec_.heads});
    std::vector<float> bias;
    for (int64_t head = 0; head < spec_.heads; ++head)
      for (const int32_t bucket : spec_.position_buckets)
        bias.push_back(table[static_cast<size_t>(bucket * spec_.heads + head)]);
    return upload(bias);
  }

  // A table of embeddings in the dtype of the checkpoint.
  void table(const std::string& name, int64_t rows, int64_t width, CudaModel& model) {
    check_();
    const StoredParameter& parameter = spec_.at(name, {rows, width});
    std::vector<char> data(static_cast<size_t>(parameter.tensor.bytes));
    reader_.read(parameter.tensor, data.data());
    expect_finite(parameter.tensor, data.data(), parameter.tensor.dtype, rows * width);
    switch (parameter.tensor.dtype) {
      case Dtype::f32:
        model.word_form = cuda::TableForm::f32;
        break;
      case Dtype::f16:
        model.word_form = cuda::TableForm::f16;
        break;
      case Dtype::bf16:
        model.word_form = cuda::TableForm::bf16;
        break;
      case Dtype::i8:
        model.word_form = cuda::TableForm::int8;
        model.word_scales = upload(scales_of(parameter, rows));
        break;
    }
    model.word = upload(data);
  }

  int64_t bytes = 0;

 private:
  static bool gives_sums(const CudaLinear& linear) {
    return linear.form == cuda::Form::int8 && linear.format == cuda::Format::f16;
  }
  // Of an int8 model: `width` values for each hidden column, in the order of sum_place.
  template <typename T>
  std::vector<T> in_order(const std::vector<T>& values, int64_t width = 1) const {
    if (spec_.precision != Precision::int8) return values;
    std::vector<T> ordered(values.size());
    for (int64_t c = 0; c < spec_.hidden; ++c)
      std::copy_n(values.begin() + c * width, width, ordered.begin() + cuda::sum_place(c, spec_.hidden) * width);
    return ordered;
  }
  std::vector<float> scales_of(const StoredParameter& parameter, int64_t rows) {
    if (!parameter.has_scale || parameter.scale.elements() != rows)
      throw Error("BAD_CHECKPOINT",
                  parameter.tensor.file + ": tensor " + parameter.tensor.name + ": is I8 and needs one scale a row");
    std::vector<float> scales(static_cast<size_t>(rows));
    reader_.read_floats(parameter.scale, scales.data());
    expect_finite(parameter.scale, scales.data(), Dtype::f32, rows);
    return scales;
  }

  void upload_s8(CudaLinear& linear, const std::vector<std::string>& names, int64_t n, Input input) {
    const int64_t k = linear.k;
    std::vector<int8_t> q;  // [linear.n, k]
    std::vector<float> scales;
    bool stored_s8 = true;
    for (const std::string& name : names) stored_s8 &= spec_.at(name + ".weight", {n, k}).tensor.dtype == Dtype::i8;
    for (const std::string& name : names) {
      std::vector<int8_t> part(static_cast<size_t>(n * k));
      std::vector<float> part_scales(static_cast<size_t>(n));
      if (stored_s8) {
        check_();
        const StoredParameter& parameter = spec_.at(name + ".weight", {n, k});
        reader_.read(parameter.tensor, part.data());
        part_scales = scales_of(parameter, n);
      } else {
        const std::vector<float> w = floats(name + ".weight", {n, k});
        std::vector<int8_t> padded(static_cast<size_t>(n * padded_k(k)));
        quantize_weight_rows(table_, w.data(), n, k, padded.data(), padded_k(k), part_scales.data());
        for (int64_t r = 0; r < n; ++r)
          std::memcpy(&part[static_cast<size_t>(r * k)], &padded[static_cast<size_t>(r * padded_k(k))],
                      static_cast<size_t>(k));
      }
      q.insert(q.end(), part.begin(), part.end());
      scales.insert(scales.end(), part_scales.begin(), part_scales.end());
    }
    if (gives_sums(linear)) {
      q = in_order(q, k);
      scales = in_order(scales);
    }
    if (input == Input::norm)
      for (auto row = q.begin(); row != q.end(); row += k) {
        const auto ordered = in_order(std::vector<int8_t>(row, row + k));
        std::copy(ordered.begin(), ordered.end(), row);
      }
    linear.w = blocks<int8_t>(linear, [&](int64_t r, int64_t c, int64_t) { return q[static_cast<size_t>(r * k + c)]; });
    linear.scales = upload(scales);
    if (input == Input::gelu) {
      std::vector<int32_t> sums(static_cast<size_t>(linear.n));
      for (int64_t r = 0; r < linear.n; ++r)
        for (int64_t c = 0; c < k; ++c) sums[static_cast<size_t>(r)] += q[static_cast<size_t>(r * k + c)];
      linear.sums = upload(sums);
    }
    if (input != Input::norm) return;
    linear.most_outliers = kNormOutliers;
    std::vector<int8_t> columns(q.size());
    for (int64_t r = 0; r < linear.n; ++r)
      for (int64_t c = 0; c < k; ++c)
        columns[static_cast<size_t>(c * linear.n + r)] = q[static_cast<size_t>(r * k + c)];
    linear.columns = upload(columns);
  }

  void upload_bf16(CudaLinear& linear, const std::vector<std::string>& names, int64_t n) {
    const int64_t k = linear.k;
    std::vector<float> w;
    for (const std::string& name : names) {
      const std::vector<float> part = floats(name + ".weight", {n, k});
      w.insert(w.end(), part.begin(), part.end());
    }
    linear.w = blocks<uint16_t>(linear, [&](int64_t r, int64_t c, int64_t part) {
      const float value = w[static_cast<size_t>(r * k + c)];
      const uint16_t high = float_to_bf16(value);
      return part == 0 ? high : float_to_bf16(value - bf16_to_float(high));
    });
  }

  template <typename T, typename Element>
  GpuBuffer blocks(const CudaLinear& linear, const Element& element) {
    const int64_t rows = (linear.n + cuda::kWeightRows - 1) / cuda::kWeightRows * cuda::kWeightRows;
    std::vector<uint8_t> stored(static_cast<size_t>(cuda::operand_bytes(linear.form, rows, linear.k)));
    fill_blocks<T>(stored.data(), linear, threads_, element);
    return upload(stored);
  }

  GpuDevice& device_;
  const ModelSpec& spec_;
  const KernelTable& table_;
  const int threads_;
  const std::function<void()>& check_;
  cuda::Stream stream_;
  TensorReader reader_;
};

// Of int8 models, as bytes if their product can give them, else to be quantized.
cuda::Format qkv_format(Precision precision, int64_t head_size) {
  if (precision != Precision::int8) return cuda::Format::f16;
  return cuda::product_gives_heads(head_size) ? cuda::Format::heads : cuda::Format::f32;
}

// Of the products that LayerNorm follows.
cuda::Format sum_format(Precision precision) {
  return precision == Precision::int8 ? cuda::Format::f16 : cuda::Format::f32;
}

// One kernel for the intermediate product, GELU and quantization where that is possible. bench/gpu/run.py sets the
// variable if that kernel fails its tests, since what follows might wait for it forever.
cuda::GeluGrid gelu_grid_of(const GpuDevice& device, const ModelSpec& spec) {
  if (spec.precision != Precision::int8 || std::getenv("WHITTLE_BENCH_SEPARATE_GELU")) return {};
  return cuda::gelu_grid(device.kernels(), spec.intermediate, spec.hidden);
}

}  // namespace

CudaModel::CudaModel(GpuDevice& gpu, const ModelSpec& spec, const KernelTable& table, int threads,
                     const std::function<void()>& check)
    : device(gpu),
      hidden(spec.hidden),
      heads(spec.heads),
      head_size(spec.head_size()),
      intermediate(spec.intermediate),
      vocabulary(spec.vocabulary),
      positions(spec.positions),
      position_offset(spec.position_offset),
      token_types(spec.token_types),
      norm_epsilon(spec.norm_epsilon),
      task(spec.task),
      pooler_activation(spec.pooler_activation),
      labels(spec.labels),
      precision(spec.precision),
      gelu(gelu_grid_of(gpu, spec)) {
  const int64_t widest = precision == Precision::float32 ? cuda::kWidestSplitHead : cuda::kWidestHead;
  if (head_size > widest)
    throw Error("UNSUPPORTED", "Expected attention heads of at most " + std::to_string(widest) +
                                   " on a GPU at this precision but the model's have " + std::to_string(head_size));
  spec.expect_attention_fits();
  Uploader uploader(device, spec, table, threads, check);
  uploader.table("embeddings.word", vocabulary, hidden, *this);
  position = uploader.upload(uploader.floats("embeddings.position", {positions, hidden}));
  if (token_types > 0) token_type = uploader.upload(uploader.floats("embeddings.tokenType", {token_types, hidden}));
  if (!spec.position_buckets.empty()) position_bias = uploader.position_bias();
  embedding_norm = uploader.norm("embeddings.norm");
  for (int64_t i = 0; i < spec.layers; ++i) {
    const std::string name = "layers." + std::to_string(i), attention = name + ".attention";
    CudaLayer layer;
    layer.qkv = uploader.linear({attention + ".query", attention + ".key", attention + ".value"}, hidden, hidden,
                                precision, qkv_format(precision, head_size), Uploader::Input::norm);
    layer.attention_output =
        uploader.linear({attention + ".output"}, hidden, hidden, precision, sum_format(precision));
    layer.attention_norm = uploader.norm(attention + ".norm");
    const cuda::Format widened = gelu.possible()                ? cuda::Format::operand_s8
                                 : precision == Precision::int8 ? cuda::Format::f32
                                                                : cuda::Format::operand;
    layer.intermediate = uploader.linear({name + ".intermediate"}, intermediate, hidden, precision, widened,
                                         Uploader::Input::norm);
    layer.output = uploader.linear({name + ".output"}, hidden, intermediate, precision, sum_format(precision),
                                   Uploader::Input::gelu);
    layer.output_norm = uploader.norm(name + ".output.norm");
    layers.push_back(std::move(layer));
  }
  has_pooler = spec.has("pooler.weight");
  if (has_pooler) pooler = uploader.linear({"pooler"}, hidden, hidden, uploader.head_precision("pooler"));
  if (task != HeadTask::none)
    classifier = uploader.linear({"classifier"}, labels, hidden, uploader.head_precision("classifier"));
  bytes = uploader.bytes;
}

}  // namespace whittle
