#include "engine/packed_model.h"

#include <cstring>

#include "cpu/error.h"
#include "formats/half.h"

namespace whittle {

namespace {

// Reads the parameters of a spec and packs them.
class Packer {
 public:
  Packer(const ModelSpec& spec, const KernelTable& kernels, int threads, const std::function<void()>& check)
      : spec_(spec), context_{kernels, ThreadPool::instance(), threads, arena_}, check_(check) {}

  std::vector<float> floats(const std::string& name, const std::vector<int64_t>& shape) {
    check_();
    const StoredParameter& parameter = spec_.at(name, shape);
    std::vector<float> values(static_cast<size_t>(parameter.tensor.elements()));
    reader_.read_parameter(parameter, values.data());
    expect_finite(parameter.tensor, values.data(), Dtype::f32, static_cast<int64_t>(values.size()));
    return values;
  }

  Norm norm(const std::string& name) {
    return {floats(name + ".weight", {spec_.hidden}), floats(name + ".bias", {spec_.hidden})};
  }

  // One linear layer whose outputs are those of several stored ones, each [n, k], one after the other.
  // `outliers` of activation rows are kept at precision int8.
  PackedLinear linear(const std::vector<std::string>& names, int64_t n, int64_t k, Precision precision,
                      int outliers = 0) {
    PackedLinear packed;
    bool stored_s8 = true;
    for (const std::string& name : names) {
      stored_s8 &= spec_.at(name + ".weight", {n, k}).tensor.dtype == Dtype::i8;
      const std::vector<float> bias = floats(name + ".bias", {n});
      packed.bias.insert(packed.bias.end(), bias.begin(), bias.end());
    }
    const int64_t parts = static_cast<int64_t>(names.size());
    if (stored_s8 && precision == Precision::int8) {
      std::vector<int8_t> q(static_cast<size_t>(parts * n * k));
      std::vector<float> scales(static_cast<size_t>(parts * n));
      for (int64_t i = 0; i < parts; ++i) {
        check_();
        const StoredParameter& parameter = spec_.at(names[static_cast<size_t>(i)] + ".weight", {n, k});
        if (!parameter.has_scale || parameter.scale.elements() != n)
          throw Error("BAD_CHECKPOINT", parameter.tensor.file + ": tensor " + parameter.tensor.name +
                                            ": is I8 and needs one scale a row");
        reader_.read(parameter.tensor, q.data() + i * n * k);
        reader_.read_floats(parameter.scale, scales.data() + i * n);
        expect_finite(parameter.scale, scales.data() + i * n, Dtype::f32, n);
      }
      packed.weight = pack_weight_s8(q.data(), scales.data(), parts * n, k, context_, outliers);
    } else {
      std::vector<float> w;
      w.reserve(static_cast<size_t>(parts * n * k));
      for (const std::string& name : names) {
        const std::vector<float> part = floats(name + ".weight", {n, k});
        w.insert(w.end(), part.begin(), part.end());
      }
      packed.weight = pack_weight(w.data(), parts * n, k, precision, context_, outliers);
    }
    return packed;
  }

  // The precision of a layer of the head: the model's, but int8 only where the checkpoint stores int8.
  Precision head_precision(const std::string& name) const {
    const auto found = spec_.parameters.find(name + ".weight");
    const bool s8 = found != spec_.parameters.end() && found->second.tensor.dtype == Dtype::i8;
    return spec_.precision == Precision::int8 && !s8 ? Precision::float32 : spec_.precision;
  }

  // The bias of every distance, from the table of buckets.
  std::vector<float> position_bias() {
    const std::vector<float> table = floats("embeddings.positionBias", {spec_.position_bias_rows, spec_.heads});
    std::vector<float> bias;
    bias.reserve(static_cast<size_t>(spec_.heads) * spec_.position_buckets.size());
    for (int64_t head = 0; head < spec_.heads; ++head)
      for (const int32_t bucket : spec_.position_buckets)
        bias.push_back(table[static_cast<size_t>(bucket * spec_.heads + head)]);
    return bias;
  }

  EmbeddingTable table(const std::string& name, int64_t rows, int64_t width) {
    check_();
    const StoredParameter& parameter = spec_.at(name, {rows, width});
    EmbeddingTable table;
    table.dtype = parameter.tensor.dtype;
    table.rows = rows;
    table.width = width;
    table.data = AlignedBuffer(static_cast<size_t>(parameter.tensor.bytes));
    reader_.read(parameter.tensor, table.data.as<char>());
    expect_finite(parameter.tensor, table.data.as<char>(), table.dtype, rows * width);
    if (table.dtype == Dtype::i8) {
      if (!parameter.has_scale || parameter.scale.elements() != rows)
        throw Error("BAD_CHECKPOINT",
                    parameter.tensor.file + ": tensor " + parameter.tensor.name + ": is I8 and needs one scale a row");
      table.scales.resize(static_cast<size_t>(rows));
      reader_.read_floats(parameter.scale, table.scales.data());
      expect_finite(parameter.scale, table.scales.data(), Dtype::f32, rows);
    }
    return table;
  }

 private:
  const ModelSpec& spec_;
  Arena arena_;
  Context context_;
  const std::function<void()>& check_;
  TensorReader reader_;
};

int64_t linear_bytes(const PackedLinear& linear) {
  return static_cast<int64_t>(linear.weight.data.bytes() + linear.weight.columns.bytes() +
                              (linear.weight.scales.size() + linear.bias.size()) * sizeof(float) +
                              linear.weight.sums.size() * sizeof(int32_t));
}

int64_t norm_bytes(const Norm& norm) {
  return static_cast<int64_t>((norm.gamma.size() + norm.beta.size()) * sizeof(float));
}

}  // namespace

void EmbeddingTable::gather(int64_t row, float* out, const KernelTable& kernels) const {
  const int64_t begin = row * width;
  switch (dtype) {
    case Dtype::f32:
      std::memcpy(out, data.as<float>() + begin, static_cast<size_t>(width) * sizeof(float));
      break;
    case Dtype::f16:
      kernels.widen_f16(data.as<uint16_t>() + begin, width, out);
      break;
    case Dtype::bf16:
      for (int64_t c = 0; c < width; ++c) out[c] = bf16_to_float(data.as<uint16_t>()[begin + c]);
      break;
    case Dtype::i8:
      kernels.widen_s8(data.as<int8_t>() + begin, scales[static_cast<size_t>(row)], width, out);
      break;
  }
}

PackedModel::PackedModel(const ModelSpec& spec, const KernelTable& table, int threads,
                         const std::function<void()>& check)
    : kernels(table),
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
      precision(spec.precision) {
  if (precision == Precision::bfloat16 && !table.native_bf16)
    throw Error("UNSUPPORTED", std::string("Precision bfloat16 needs AVX-512 BF16 or AMX, which the kernels in use (") +
                                   isa_name(table.isa) + ") lack; use float32 or int8");
  spec.expect_attention_fits();
  Packer packer(spec, table, threads, check);
  word = packer.table("embeddings.word", vocabulary, hidden);
  position = packer.floats("embeddings.position", {positions, hidden});
  if (token_types > 0) token_type = packer.floats("embeddings.tokenType", {token_types, hidden});
  if (!spec.position_buckets.empty()) position_bias = packer.position_bias();
  embedding_norm = packer.norm("embeddings.norm");
  for (int64_t i = 0; i < spec.layers; ++i) {
    const std::string name = "layers." + std::to_string(i);
    const std::string attention = name + ".attention";
    PackedLayer layer;
    layer.qkv = packer.linear({attention + ".query", attention + ".key", attention + ".value"}, hidden, hidden,
                              precision, kNormOutliers);
    layer.attention_output = packer.linear({attention + ".output"}, hidden, hidden, precision);
    layer.attention_norm = packer.norm(attention + ".norm");
    layer.intermediate = packer.linear({name + ".intermediate"}, intermediate, hidden, precision, kNormOutliers);
    layer.output = packer.linear({name + ".output"}, hidden, intermediate, precision);
    layer.output_norm = packer.norm(name + ".output.norm");
    layers.push_back(std::move(layer));
  }
  has_pooler = spec.has("pooler.weight");
  if (has_pooler) pooler = packer.linear({"pooler"}, hidden, hidden, packer.head_precision("pooler"));
  if (task != HeadTask::none)
    classifier = packer.linear({"classifier"}, labels, hidden, packer.head_precision("classifier"));
}

int64_t PackedModel::bytes() const {
  int64_t total = static_cast<int64_t>(word.data.bytes() + word.scales.size() * sizeof(float) +
                                       (position.size() + token_type.size() + position_bias.size()) * sizeof(float)) +
                  norm_bytes(embedding_norm) + linear_bytes(pooler) + linear_bytes(classifier);
  for (const PackedLayer& layer : layers)
    total += linear_bytes(layer.qkv) + linear_bytes(layer.attention_output) + linear_bytes(layer.intermediate) +
             linear_bytes(layer.output) + norm_bytes(layer.attention_norm) + norm_bytes(layer.output_norm);
  return total;
}

}  // namespace whittle
