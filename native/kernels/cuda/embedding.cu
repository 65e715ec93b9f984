// word + token type + position of each token, normalized.
#include "kernels/cuda/norm_rows.cuh"
#include "kernels/cuda/shared_rows.cuh"

namespace whittle::cuda {

namespace {

constexpr int kEmbeddingBlocks = 2;  // of a multiprocessor at least, which leaves 255 registers a thread

// Where the rows of a token begin.
struct TokenRow {
  const Embeddings& e;
  int64_t word;
  float scale;
  const float* position;
  const float* type;  // or null

  __device__ __forceinline__ TokenRow(const Embeddings& embeddings, int64_t row)
      : e(embeddings),
        word(int64_t{e.ids[row]} * e.cols),
        scale(e.word_form == TableForm::int8 ? e.word_scales[e.ids[row]] : 1.0f),
        position(e.position + int64_t{e.positions[row]} * e.cols),
        type(e.type ? e.type + int64_t{e.types[row]} * e.cols : nullptr) {}
  // Calls read(the word's row, function of an element that gives its value).
  template <typename Read>
  __device__ __forceinline__ void read_word(const Read& read) const {
    const float factor = scale;
    if (e.word_form == TableForm::f32)
      read(static_cast<const float*>(e.word) + word, [](float value) { return value; });
    else if (e.word_form == TableForm::f16)
      read(static_cast<const uint16_t*>(e.word) + word, half_value);
    else if (e.word_form == TableForm::bf16)
      read(static_cast<const uint16_t*>(e.word) + word, bf16_value);
    else
      read(static_cast<const int8_t*>(e.word) + word,
           [factor](int8_t value) { return multiply(static_cast<float>(value), factor); });
  }
};

// The order of the additions is the CPU's.
template <int kPlaces, bool kOrdered>
__global__ void __launch_bounds__(kRowThreads, kEmbeddingBlocks) embedding_kernel(const Embeddings e) {
  NormRow<kPlaces, kOrdered, kOrdered> row;
  if (!row.find(*e.rows, e.cols)) return;
  const TokenRow token(e, row.row);
  token.read_word([&](const auto* word, const auto& widen) { row.read(word + row.lane, widen); });
  if (token.type) row.add_floats(token.type + row.lane);
  row.add_floats(token.position + row.lane);
  if (e.result.sums) row.round_to_f16(e.result.sums);
  row.finish(e.result);
}

__global__ void __launch_bounds__(kRowThreads, kSharedRowBlocks) embedding_shared_kernel(const Embeddings e) {
  const int cols = static_cast<int>(e.cols);
  const WarpRow row = warp_row(cols);
  if (row.row >= *e.rows) return;
  const TokenRow token(e, row.row);
  token.read_word([&](const auto* word, const auto& widen) {
    for (int c = row.lane; c < cols; c += 32) row.values[c] = widen(word[c]);
  });
  for (int c = row.lane; c < cols; c += 32) {
    if (token.type) row.values[c] = add(row.values[c], token.type[c]);
    row.values[c] = add(row.values[c], token.position[c]);
  }
  if (e.result.sums) {
    sync_warp();
    round_to_f16(row, cols, e.result.sums);
  }
  finish_row(row, cols, e.result);
}

void run_embedding(const Embeddings& e, Stream stream) {
  const auto start = [&](auto shape) {
    launch(embedding_kernel<decltype(shape)::kPlaces, decltype(shape)::kWhole>, norm_grid(e.most_rows), kRowThreads, 0,
           stream, e);
  };
  const bool ordered = e.result.sums && sums_are_ordered(e.cols);
  if (!(ordered ? start_norm_rows<true>(e.cols, e.result, start) : start_norm_rows<false>(e.cols, e.result, start)))
    launch(embedding_shared_kernel, shared_row_grid(e.most_rows), kRowThreads, row_shared_bytes(e.cols), stream, e);
}

}  // namespace

void add_embedding(KernelTable& table) {
  table.embedding = run_embedding;
}

}  // namespace whittle::cuda
