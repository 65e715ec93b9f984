#include "engine/cuda_lane.h"

#include <algorithm>
#include <cstring>
#include <vector>

namespace whittle {

namespace {

constexpr size_t kMostGraphs = 128;

int64_t tiles_of(int64_t length) {
  return (length + cuda::kAttentionQueries - 1) / cuda::kAttentionQueries;
}

}  // namespace

CudaLane::CudaLane(const CudaModel& model, const std::function<OutputShape(int64_t, int64_t, Output)>& shape)
    : model_(model), device_(model.device), shape_(shape), stream_(device_.create_stream()) {}

CudaLane::~CudaLane() {
  drop_graphs();
  if (pinned_) device_.release_pinned(pinned_);
  device_.destroy_stream(stream_);
}

void CudaLane::drop_graphs() {
  for (const auto& [key, graph] : graphs_) device_.destroy(graph);
  graphs_.clear();
}

void CudaLane::reserve(int64_t tokens) {
  if (tokens <= capacity_) return;
  drop_graphs();
  capacity_ = 0;
  workspace_ = {};
  workspace_ = GpuBuffer(device_, workspace_bytes(model_, tokens));
  const std::vector<uint32_t> zeros(static_cast<size_t>(cuda::gelu_exchange_words(model_.gelu)));
  if (!zeros.empty()) {
    uint32_t* exchange = lay_out_workspace(workspace_.as<void>(), model_, {tokens, tokens, tokens}).exchange;
    device_.upload(exchange, zeros.data(), static_cast<int64_t>(zeros.size() * sizeof(uint32_t)), stream_);
    device_.synchronize(stream_);
  }
  capacity_ = bucket_size(tokens);
}

bool CudaLane::first_rows_only(Output output) const {
  return output == Output::pooled || output == Output::first ||
         (output == Output::logits && model_.task == HeadTask::text_classification);
}

// Writes the arrays of the slice into pinned memory.
void CudaLane::stage(const RaggedBatch& batch, const Chunk& chunk, const CudaBucket& bucket) const {
  const CudaBatchArrays to = lay_out_batch(pinned_, bucket);
  const int32_t begin = batch.offsets[chunk.first], end = batch.offsets[chunk.last];
  const size_t bytes = static_cast<size_t>(end - begin) * sizeof(int32_t);
  std::memcpy(to.ids, batch.input_ids + begin, bytes);
  if (model_.token_types > 0) std::memcpy(to.types, batch.token_type_ids + begin, bytes);
  int32_t tiles = 0;
  int32_t* position = to.positions;
  for (int64_t s = chunk.first; s < chunk.last; ++s) {
    const int32_t sequence = static_cast<int32_t>(s - chunk.first), length = batch.offsets[s + 1] - batch.offsets[s];
    to.offsets[sequence] = batch.offsets[s] - begin;
    to.first_tiles[sequence] = {sequence, 0, to.offsets[sequence], length};
    for (int32_t t = 0; t < length; ++t) *position++ = static_cast<int32_t>(model_.position_offset) + t;
    for (int32_t first = 0; first < length; first += cuda::kAttentionQueries)
      to.tiles[tiles++] = {sequence, first, to.offsets[sequence], length};
  }
  const int32_t sequences = static_cast<int32_t>(chunk.last - chunk.first);
  std::fill(to.tiles + tiles, to.tiles + bucket.tiles, cuda::AttentionTile{});
  std::fill(to.first_tiles + sequences, to.first_tiles + bucket.sequences, cuda::AttentionTile{});
  to.offsets[sequences] = end - begin;
  to.counts[0] = end - begin;
  to.counts[1] = sequences;
  to.counts[2] = tiles;
}

void CudaLane::start(const RaggedBatch& batch, const Chunk& chunk, Output output) {
  const int64_t tokens = batch.offsets[chunk.last] - batch.offsets[chunk.first], sequences = chunk.last - chunk.first;
  int64_t tiles = 0;
  for (int64_t s = chunk.first; s < chunk.last; ++s) tiles += tiles_of(batch.offsets[s + 1] - batch.offsets[s]);
  reserve(tokens);
  const CudaBucket bucket{bucket_size(tokens), bucket_size(sequences), bucket_size(tiles)};
  const CudaWorkspace memory = lay_out_workspace(workspace_.as<void>(), model_, bucket);
  const OutputShape shape = shape_(tokens, sequences, output);
  const int64_t batch_bytes = lay_out_batch(nullptr, bucket).bytes;
  const int64_t out_bytes = shape.rows * shape.columns * static_cast<int64_t>(sizeof(float));
  if (batch_bytes + out_bytes > pinned_bytes_) {
    if (pinned_) device_.release_pinned(pinned_);
    pinned_ = nullptr;
    pinned_bytes_ = 0;
    pinned_ = device_.allocate_pinned(2 * (batch_bytes + out_bytes));
    pinned_bytes_ = 2 * (batch_bytes + out_bytes);
  }
  const GraphKey key{bucket, output};
  auto found = graphs_.find(key);
  if (found == graphs_.end()) {
    if (graphs_.size() >= kMostGraphs) drop_graphs();
    found = graphs_.emplace(key, device_.capture(stream_, [&] { enqueue(bucket, memory, output); })).first;
  }
  stage(batch, chunk, bucket);
  const float* result = output == Output::hidden   ? memory.x
                        : output == Output::mean   ? memory.pooled
                        : output == Output::first  ? memory.x
                        : output == Output::pooled ? memory.pooled
                                                   : memory.out;
  staged_bytes_ = batch_bytes;
  try {
    device_.upload(memory.batch.counts, pinned_, batch_bytes, stream_);
    device_.launch(found->second, stream_);
    device_.download(static_cast<char*>(pinned_) + staged_bytes_, result, out_bytes, stream_);
  } catch (...) {
    // Nobody may write to pinned memory, or give it back, while a copy is under way.
    try {
      device_.synchronize(stream_);
    } catch (const Error&) {
      // The GPU is lost, and its copies with it.
    }
    throw;
  }
  const OutputShape before = shape_(batch.offsets[chunk.first], chunk.first, output);
  out_first_ = before.rows * before.columns;
  out_count_ = shape.rows * shape.columns;
  sequences_ = sequences;
  busy_ = true;
}

int64_t CudaLane::finish(float* out) {
  busy_ = false;
  device_.synchronize(stream_);
  std::memcpy(out + out_first_, static_cast<char*>(pinned_) + staged_bytes_,
              static_cast<size_t>(out_count_) * sizeof(float));
  return sequences_;
}

void CudaLane::abandon() {
  busy_ = false;
  device_.synchronize(stream_);
}

bool CudaLane::free_memory() {
  if (capacity_ == 0) return false;
  drop_graphs();
  workspace_ = {};
  capacity_ = 0;
  return true;
}

void CudaLane::product(const CudaLinear& linear, const cuda::Operand& a, const int32_t* rows, int64_t most_rows,
                       cuda::Activation activation, const Residual& residual, void* y, uint16_t* y_low,
                       const CudaHeads& heads) const {
  cuda::Gemm call{};
  call.rows = rows;
  call.most_rows = most_rows;
  call.n = linear.n;
  call.a = a;
  call.w = linear.w.as<uint8_t>();
  call.w_scales = linear.scales.as<float>();
  call.columns = linear.columns.as<int8_t>();
  call.w_sums = linear.sums.as<int32_t>();
  call.bias = linear.bias.as<float>();
  call.activation = activation;
  call.residual = residual.x;
  if (residual.norm) {
    call.residual_stats = residual.stats;
    call.residual_gamma = residual.norm->gamma.as<float>();
    call.residual_beta = residual.norm->beta.as<float>();
  }
  call.format = linear.format;
  call.y = y;
  call.y_low = y_low;
  call.y_form = form_of(model_.precision);
  call.head_size = model_.head_size;
  call.head_scales = heads.scales;
  call.head_scale_stride = heads.scale_stride;
  const cuda::KernelTable& kernels = device_.kernels();
  (linear.form == cuda::Form::int8 ? kernels.gemm_s8 : kernels.gemm_bf16)(call, stream_);
}

cuda::Operand CudaLane::gelu_product(const CudaLinear& linear, const cuda::Operand& a, const int32_t* rows,
                                     int64_t most_rows, cuda::Operand to, uint32_t* exchange) const {
  cuda::GemmGelu call{};
  call.rows = rows;
  call.most_rows = most_rows;
  call.n = linear.n;
  call.a = a;
  call.w = linear.w.as<uint8_t>();
  call.w_scales = linear.scales.as<float>();
  call.columns = linear.columns.as<int8_t>();
  call.bias = linear.bias.as<float>();
  call.y = to;
  call.grid = model_.gelu;
  call.exchange = exchange;
  device_.kernels().gemm_gelu_s8(call, stream_);
  return to;
}

// Rows [rows, linear.k] in the form that the layer multiplies, in the memory of `to`.
cuda::Operand CudaLane::prepare(const CudaLinear& linear, const float* x, const int32_t* rows, int64_t most_rows,
                                cuda::Operand to) const {
  to.form = linear.form;
  to.k = linear.k;
  to.most_outliers = linear.most_outliers;
  if (!linear.sums.bytes()) to.offsets = nullptr;
  cuda::Rows call{rows, most_rows, linear.k, x, {}};
  call.result.operand = to;
  const cuda::KernelTable& kernels = device_.kernels();
  const auto kernel = linear.form != cuda::Form::int8 ? kernels.convert_f32_bf16
                      : to.offsets                    ? kernels.quantize_gelu_u8
                                                      : kernels.quantize_rows_s8;
  kernel(call, stream_);
  return to;
}

// Results of attention in integers as the product reads them, in the memory of `to`.
cuda::Operand CudaLane::quantize(const uint16_t* attended, const int32_t* rows, int64_t most_rows,
                                 cuda::Operand to) const {
  to.k = model_.hidden;
  to.most_outliers = 0;
  to.offsets = nullptr;
  cuda::Rows call{rows, most_rows, to.k, nullptr, {}, attended};
  call.result.operand = to;
  device_.kernels().quantize_rows_s8(call, stream_);
  return to;
}

namespace {

cuda::Operand with_outliers(cuda::Operand operand, int most) {
  operand.most_outliers = most;
  return operand;
}

// Who attends to whom, as both kinds of attention are told it.
template <typename Call>
Call attention_call(const CudaModel& model, const CudaBatchArrays& batch, const CudaBucket& bucket, bool first_rows) {
  Call call{};
  call.most_tiles = first_rows ? bucket.sequences : bucket.tiles;
  call.tiles = first_rows ? batch.first_tiles : batch.tiles;
  call.heads = model.heads;
  call.head_size = model.head_size;
  call.bias = model.position_bias.as<float>();
  call.max_distance = model.positions - model.position_offset;
  call.first_only = first_rows;
  return call;
}

}  // namespace

void CudaLane::attend(const CudaLayer& layer, bool first_rows, const CudaBucket& bucket,
                      const CudaWorkspace& memory) const {
  product(layer.qkv, memory.a, memory.batch.counts, bucket.tokens, cuda::Activation::none, {}, memory.qkv,
          memory.qkv_low);
  auto attention = attention_call<cuda::Attention>(model_, memory.batch, bucket, first_rows);
  attention.tile_count = memory.batch.counts + (first_rows ? 1 : 2);
  attention.offsets = memory.batch.offsets;
  attention.qkv = memory.qkv;
  attention.qkv_low = memory.qkv_low;
  attention.y = memory.a.data;
  attention.y_form = memory.a.form;
  device_.kernels().attention(attention, stream_);
}

void CudaLane::attend_in_integers(const CudaLayer& layer, bool first_rows, const CudaBucket& bucket,
                                  const CudaWorkspace& memory) const {
  const CudaBatchArrays& batch = memory.batch;
  const CudaHeads& heads = memory.heads;
  const bool gives_heads = layer.qkv.format == cuda::Format::heads;
  product(layer.qkv, with_outliers(memory.a, layer.qkv.most_outliers), batch.counts, bucket.tokens,
          cuda::Activation::none, {}, gives_heads ? static_cast<void*>(heads.bytes) : heads.values, nullptr, heads);
  if (!gives_heads)
    device_.kernels().quantize_heads_s8({batch.counts, bucket.tokens, 3 * model_.heads, model_.head_size, heads.values,
                                         heads.bytes, heads.stride, heads.scales, heads.scale_stride},
                                        stream_);
  auto attention = attention_call<cuda::ByteAttention>(model_, batch, bucket, first_rows);
  attention.qkv = heads.bytes;
  attention.stride = heads.stride;
  attention.scales = heads.scales;
  attention.scale_stride = heads.scale_stride;
  attention.y = memory.attended;
  device_.kernels().attention_s8(attention, stream_);
}

void CudaLane::run_layer(size_t index, bool first_rows, const CudaBucket& bucket, const CudaWorkspace& memory) const {
  const CudaLayer& layer = model_.layers[index];
  const bool last = index + 1 == model_.layers.size(), before_last = index + 2 == model_.layers.size();
  const bool int8 = model_.precision == Precision::int8;
  // Whether the layer's result is stored as float32: for who takes it from there, or picks rows of it.
  const bool stores_x = last || (before_last && first_rows && !int8);
  first_rows &= last;
  const cuda::KernelTable& kernels = device_.kernels();
  const CudaBatchArrays& batch = memory.batch;
  if (int8)
    attend_in_integers(layer, first_rows, bucket, memory);
  else
    attend(layer, first_rows, bucket, memory);

  // What follows works row by row, so the last layer need not do it for rows that nobody reads.
  const int32_t* rows = first_rows ? batch.counts + 1 : batch.counts;
  const int64_t most_rows = first_rows ? bucket.sequences : bucket.tokens;
  Residual residual{memory.sums};
  if (index > 0)
    residual = {memory.sums, &model_.layers[index - 1].output_norm, memory.stats};
  else if (int8)
    residual = {memory.sums, &model_.embedding_norm, memory.stats};
  if (first_rows && int8) {
    uint16_t* first = static_cast<uint16_t*>(memory.first);
    kernels.first_rows({batch.counts + 1, bucket.sequences, model_.hidden, static_cast<const uint16_t*>(memory.sums),
                        memory.stats, batch.offsets, first, memory.first_stats},
                       stream_);
    residual.x = first;
    residual.stats = memory.first_stats;
  } else if (first_rows) {
    float* first = static_cast<float*>(memory.first);
    kernels.pooling({batch.counts + 1, bucket.sequences, model_.hidden, memory.x, batch.offsets, false, first},
                    stream_);
    residual = {first};
  }
  cuda::Operand attended = memory.a;
  if (int8)
    attended = quantize(memory.attended, rows, most_rows, memory.a);
  product(layer.attention_output, attended, rows, most_rows, cuda::Activation::none, residual, memory.attention_sums);
  const auto normalize = [&](const CudaNorm& norm, const void* sums, float* x, const cuda::Operand& operand) {
    cuda::Rows call{rows, most_rows, model_.hidden, nullptr, {}};
    if (int8)
      call.halves = static_cast<const uint16_t*>(sums);
    else
      call.in = static_cast<const float*>(sums);
    call.result = {norm.gamma.as<float>(), norm.beta.as<float>(), model_.norm_epsilon, x, operand, memory.stats};
    kernels.layer_norm(call, stream_);
  };
  const cuda::Operand normalized = with_outliers(memory.a, layer.intermediate.most_outliers);
  normalize(layer.attention_norm, memory.attention_sums, nullptr, normalized);

  cuda::Operand inner = memory.inner;
  if (model_.gelu.possible()) {
    inner = gelu_product(layer.intermediate, normalized, rows, most_rows, inner, memory.exchange);
  } else {
    // GELU of what is quantized comes with its quantization.
    product(layer.intermediate, normalized, rows, most_rows, int8 ? cuda::Activation::none : cuda::Activation::gelu, {},
            int8 ? static_cast<void*>(memory.widened) : inner.data);
    if (int8) inner = prepare(layer.output, memory.widened, rows, most_rows, inner);
  }
  product(layer.output, inner, rows, most_rows, cuda::Activation::none,
          {memory.attention_sums, &layer.attention_norm, memory.stats}, memory.sums);
  normalize(layer.output_norm, memory.sums, stores_x ? memory.x : nullptr,
            last ? cuda::Operand{} : with_outliers(memory.a, model_.layers[index + 1].qkv.most_outliers));
}

void CudaLane::enqueue(const CudaBucket& bucket, const CudaWorkspace& memory, Output output) const {
  const cuda::KernelTable& kernels = device_.kernels();
  const CudaBatchArrays& batch = memory.batch;
  cuda::Embeddings embeddings{};
  embeddings.rows = batch.counts;
  embeddings.most_rows = bucket.tokens;
  embeddings.cols = model_.hidden;
  embeddings.ids = batch.ids;
  embeddings.positions = batch.positions;
  embeddings.types = batch.types;
  embeddings.word = model_.word.as<void>();
  embeddings.word_form = model_.word_form;
  embeddings.word_scales = model_.word_scales.as<float>();
  embeddings.position = model_.position.as<float>();
  embeddings.type = model_.token_types > 0 ? model_.token_type.as<float>() : nullptr;
  embeddings.result = {model_.embedding_norm.gamma.as<float>(), model_.embedding_norm.beta.as<float>(),
                       model_.norm_epsilon, memory.x, with_outliers(memory.a, model_.layers.front().qkv.most_outliers)};
  if (model_.precision == Precision::int8) {
    embeddings.result.x = nullptr;
    embeddings.result.stats = memory.stats;
    embeddings.result.sums = static_cast<uint16_t*>(memory.sums);
  }
  kernels.embedding(embeddings, stream_);
  for (size_t i = 0; i < model_.layers.size(); ++i) run_layer(i, first_rows_only(output), bucket, memory);

  const int32_t* sequences = batch.counts + 1;
  if (output == Output::mean)
    kernels.pooling({sequences, bucket.sequences, model_.hidden, memory.x, batch.offsets, true, memory.pooled},
                    stream_);
  if (output == Output::pooled || (output == Output::logits && model_.task == HeadTask::text_classification)) {
    const PoolerActivation kind = model_.pooler_activation;
    const cuda::Activation activation = kind == PoolerActivation::tanh   ? cuda::Activation::tanh
                                        : kind == PoolerActivation::gelu ? cuda::Activation::gelu
                                                                         : cuda::Activation::relu;
    const cuda::Operand a =
        prepare(model_.pooler, memory.x, sequences, bucket.sequences, memory.head_a);
    product(model_.pooler, a, sequences, bucket.sequences, activation, {}, memory.pooled);
    if (output == Output::logits) {
      const cuda::Operand pooled =
          prepare(model_.classifier, memory.pooled, sequences, bucket.sequences, memory.head_a);
      product(model_.classifier, pooled, sequences, bucket.sequences, cuda::Activation::none, {},
              memory.out);
    }
  } else if (output == Output::logits) {
    const cuda::Operand a =
        prepare(model_.classifier, memory.x, batch.counts, bucket.tokens, memory.head_a);
    product(model_.classifier, a, batch.counts, bucket.tokens, cuda::Activation::none, {},
            memory.out);
  }
}

}  // namespace whittle
