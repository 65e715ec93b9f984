// Attention, what goes row by row, and the compression of weights.
#include "bench/cuda/bench.h"
#include "formats/half.h"
#include "test/buffers.h"

namespace whittle::bench {

using test::CudaBench;

namespace {

std::string sizes(int64_t rows, int64_t columns) {
  return std::to_string(rows) + " x " + std::to_string(columns);
}

// A ragged batch of one attention, on the GPU.
struct RaggedHeads {
  std::vector<int32_t> offsets = {0};
  std::vector<cuda::AttentionTile> tiles;
  int64_t heads, size, hidden;
  double operations = 0;

  RaggedHeads(const std::vector<int64_t>& lengths, int64_t count, int64_t head_size)
      : heads(count), size(head_size), hidden(count * head_size) {
    for (size_t s = 0; s < lengths.size(); ++s) {
      offsets.push_back(offsets.back() + static_cast<int32_t>(lengths[s]));
      operations += 4.0 * static_cast<double>(lengths[s] * lengths[s] * hidden);
      for (int64_t q = 0; q < lengths[s]; q += cuda::kAttentionQueries)
        tiles.push_back({static_cast<int32_t>(s), static_cast<int32_t>(q), offsets[s], static_cast<int32_t>(lengths[s])});
    }
  }
  int64_t tokens() const { return offsets.back(); }
  // What both kinds of attention are told.
  template <typename Call>
  Call call(CudaBench& bench) const {
    Call call{};
    call.most_tiles = static_cast<int64_t>(tiles.size());
    call.tiles = bench.put(tiles);
    call.heads = heads;
    call.head_size = size;
    return call;
  }
};

cuda::ByteAttention put_attention_s8(CudaBench& bench, std::mt19937_64& random, const RaggedHeads& batch) {
  auto call = batch.call<cuda::ByteAttention>(bench);
  const int64_t tokens = batch.tokens();
  call.stride = (3 * batch.hidden + 15) / 16 * 16;
  // As quantized rows of a normal distribution are.
  std::vector<int8_t> qkv;
  qkv.reserve(static_cast<size_t>(tokens * call.stride));
  for (const float value : many_floats(random, tokens * call.stride, 45))
    qkv.push_back(static_cast<int8_t>(std::clamp(value, -127.0f, 127.0f)));
  call.qkv = bench.put(qkv);
  call.scales = bench.put(std::vector<float>(static_cast<size_t>(3 * batch.heads * tokens), 1 / 45.0f));
  call.scale_stride = tokens;
  call.y = bench.take<uint16_t>(tokens * batch.hidden);
  return call;
}
// As bfloat16 models have it.
cuda::Attention put_attention(CudaBench& bench, std::mt19937_64& random, const RaggedHeads& batch) {
  auto call = batch.call<cuda::Attention>(bench);
  call.tile_count = bench.put_one(static_cast<int32_t>(batch.tiles.size()));
  call.offsets = bench.put(batch.offsets);
  std::vector<uint16_t> qkv;
  for (const float value : many_floats(random, batch.tokens() * 3 * batch.hidden, 1))
    qkv.push_back(float_to_half(value));
  call.qkv = bench.put(qkv);
  call.y_form = cuda::Form::bf16;
  call.y = bench.take<uint8_t>(cuda::operand_bytes(call.y_form, batch.tokens(), batch.hidden));
  return call;
}

// bytes: read and written of a token and column of the heads. put(bench, random, batch) gives a call of `kernel`.
template <typename Call, typename Put>
void time_lengths(GpuDevice& device, const GpuFacts& facts, const std::string& work, const RaggedHeads& batch,
                  int64_t bytes, void (*kernel)(const Call&, cuda::Stream), const Put& put, const Options& options,
                  Report& report) {
  CudaBench bench(device);
  std::mt19937_64 random(2);
  const int sets = options.quick ? 1 : sets_of(batch.tokens() * batch.hidden * bytes, facts);
  std::vector<Call> calls;
  for (int i = 0; i < sets; ++i) calls.push_back(put(bench, random, batch));
  const double us =
      median_us(bench, options, sets, [&](int set) { kernel(calls[static_cast<size_t>(set)], bench.stream()); });
  const std::string heads = ", " + std::to_string(batch.heads) + " heads of " + std::to_string(batch.size);
  report.add({"attention", work + heads, "TFLOP/s", batch.operations / us / 1e6, {{"us", us}}});
}

// A kernel that goes over rows: `bytes` are read and written for an element.
void time_kernel(CudaBench& bench, const std::string& work, int64_t elements, double bytes, int sets,
                 const Options& options, Report& report, const std::function<void(int)>& call) {
  const double us = median_us(bench, options, sets, call);
  const double rate = static_cast<double>(elements) * bytes / us * 1e6;
  Figure figure{"rows", work, "GB/s", rate / 1e9, {{"us", us}}};
  if (report.copy_bytes > 0) figure.more.emplace_back("shareOfCopy", rate / report.copy_bytes);
  report.add(figure);
}

void time_row_kernels(GpuDevice& device, const GpuFacts& facts, int64_t rows, int64_t cols, bool norm,
                      const Options& options, Report& report) {
  CudaBench bench(device);
  std::mt19937_64 random(3);
  const bool gelu = !norm && cols > 1024, halves = !gelu;
  const double bytes = (halves ? 2 : 4) + 1;
  const int sets = options.quick ? 1 : sets_of(static_cast<int64_t>(bytes) * rows * cols, facts);
  std::vector<cuda::Rows> calls;
  for (int i = 0; i < sets; ++i) {
    cuda::Rows call{bench.put_one(static_cast<int32_t>(rows)), rows, cols, nullptr, {}};
    const auto x = many_floats(random, rows * cols, 1);
    if (halves) {
      std::vector<uint16_t> rounded;
      rounded.reserve(x.size());
      for (const float value : x) rounded.push_back(float_to_half(value));
      call.halves = bench.put(rounded);
    } else {
      call.in = bench.put(x);
    }
    if (norm) {
      // Two channels are large, as those of trained models are. Which ones and in what order changes no time.
      auto gamma = many_floats(random, cols, 0.1f);
      for (float& value : gamma) value += 1;
      gamma[static_cast<size_t>(cols / 7)] *= 15;
      gamma[static_cast<size_t>(cols / 2)] *= 7;
      call.result.gamma = bench.put(gamma);
      call.result.beta = bench.put(many_floats(random, cols, 0.1f));
      call.result.epsilon = 1e-12f;
      call.result.stats = bench.take<cuda::RowStats>(rows);
      call.result.operand.most_outliers = 2;
      call.result.operand.outlier_counts = bench.take<int32_t>(rows);
      call.result.operand.outliers = bench.take<cuda::Outlier>(rows * 2);
    }
    if (gelu) call.result.operand.offsets = bench.take<int32_t>(rows);
    call.result.operand.k = cols;
    call.result.operand.data = bench.take<uint8_t>(cuda::operand_bytes(cuda::Form::int8, rows, cols));
    call.result.operand.scales = bench.take<float>(rows);
    calls.push_back(call);
  }
  const auto& kernels = bench.kernels();
  const auto kernel = norm ? kernels.layer_norm : gelu ? kernels.quantize_gelu_u8 : kernels.quantize_rows_s8;
  const std::string name = norm ? "layer_norm to int8" : gelu ? "quantize_gelu_u8" : "quantize_rows_s8";
  time_kernel(bench, name + (halves ? ", float16 " : ", float32 ") + sizes(rows, cols), rows * cols, bytes, sets, options,
              report,
              [&](int set) { kernel(calls[static_cast<size_t>(set)], bench.stream()); });
}

}  // namespace

void time_attention(GpuDevice& device, const GpuFacts& facts, const Options& options, Report& report) {
  struct Work {
    const char* name;
    std::vector<int64_t> lengths;
    int64_t heads, size;
  };
  const std::vector<Work> works = {{"128 of 128", std::vector<int64_t>(128, 128), 12, 64},
                                   {"SQuAD's lengths", squad_lengths(96), 16, 64},
                                   {"512 of 32", std::vector<int64_t>(512, 32), 12, 64},
                                   {"128 of 128", std::vector<int64_t>(128, 128), 12, 32},
                                   {"32 of 512", std::vector<int64_t>(32, 512), 12, 64}};
  const cuda::KernelTable& kernels = device.kernels();
  for (const bool int8 : {true, false})
    for (const auto& [name, all, heads, size] : works) {
      if (!report.has_time(name)) continue;
      const std::vector<int64_t> lengths(all.begin(), options.quick ? all.begin() + 1 : all.end());
      const RaggedHeads batch(lengths, options.quick ? 2 : heads, size);
      if (int8)
        time_lengths(device, facts, std::string("attention, int8, ") + name, batch, 3 + 2, kernels.attention_s8,
                     put_attention_s8, options, report);
      else
        time_lengths(device, facts, std::string("attention, ") + name, batch, 6 + 2, kernels.attention, put_attention,
                     options, report);
    }
}

void time_rows(GpuDevice& device, const GpuFacts& facts, const Options& options, Report& report) {
  const int64_t rows = options.quick ? 5 : 16384;
  for (const int64_t cols : {1024, 768, 384})
    if (report.has_time("layer_norm"))
      time_row_kernels(device, facts, rows, cols, true, options, report);
  for (const int64_t cols : {1024, 4096})
    if (report.has_time("rows to int8")) time_row_kernels(device, facts, rows, cols, false, options, report);
}

// Weights [rows, cols]: counted, masked and rounded.
void time_compression(GpuDevice& device, const Options& options, Report& report) {
  CudaBench bench(device);
  std::mt19937_64 random(4);
  const int64_t rows = options.quick ? 8 : 65536, cols = 1024, count = rows * cols;
  const float* x = bench.put(many_floats(random, count, 0.05f));
  uint64_t* counts = bench.take<uint64_t>(cuda::kLowerBins);
  uint8_t* bytes = bench.take<uint8_t>(count);
  int32_t* ties = bench.take<int32_t>(count / cuda::kMaskBlock + 1);
  const cuda::WeightRows weights = {x, rows, cols, bench.take<int8_t>(count), bench.take<float>(rows),
                                    bench.take<double>(rows), bench.take<double>(rows)};
  const auto time = [&](const char* name, double bytes_each, const auto& work) {
    time_kernel(bench, name + (" " + sizes(rows, cols)), count, bytes_each, 1, options, report,
                [&](int) { work(); });
  };
  const cuda::KernelTable& kernels = bench.kernels();
  time("magnitude_histogram, upper", 4, [&] { kernels.magnitude_histogram({x, count, -1, counts}, bench.stream()); });
  time("magnitude_histogram, lower", 4,
       [&] { kernels.magnitude_histogram({x, count, 0x3d00, counts}, bench.stream()); });
  time("magnitude_mask", 5,
       [&] { kernels.magnitude_mask({x, count, 0.03f, bytes, ties, nullptr, 0}, bench.stream()); });
  time("quantize_weight_rows", 5, [&] { kernels.quantize_weight_rows(weights, bench.stream()); });
}

}  // namespace whittle::bench
