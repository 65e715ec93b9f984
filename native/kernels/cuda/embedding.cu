// word + token type + position of each token, normalized.
#include "kernels/cuda/rows.cuh"

namespace whittle::cuda {

namespace {

__device__ __forceinline__ float word_value(const Embeddings& e, int64_t at, float scale) {
  switch (e.word_form) {
    case TableForm::f32:
      return static_cast<const float*>(e.word)[at];
    case TableForm::f16:
      return half_value(static_cast<const uint16_t*>(e.word)[at]);
    case TableForm::bf16:
      return bf16_value(static_cast<const uint16_t*>(e.word)[at]);
    case TableForm::int8:
      break;
  }
  return multiply(static_cast<float>(static_cast<const int8_t*>(e.word)[at]), scale);
}

__global__ void __launch_bounds__(kRowThreads, kRowBlocks) embedding_kernel(const Embeddings e) {
  const int cols = static_cast<int>(e.cols);
  const WarpRow row = warp_row(cols);
  if (row.row >= *e.rows) return;
  const int64_t word = int64_t{e.ids[row.row]} * cols;
  const float scale = e.word_form == TableForm::int8 ? e.word_scales[e.ids[row.row]] : 1.0f;
  const float* position = e.position + int64_t{e.positions[row.row]} * cols;
  const float* type = e.type ? e.type + int64_t{e.types[row.row]} * cols : nullptr;
  // The order of the additions is the CPU's.
  for (int c = row.lane; c < cols; c += 32) {
    float value = word_value(e, word + c, scale);
    if (type) value = add(value, type[c]);
    row.values[c] = add(value, position[c]);
  }
  finish_row(row, cols, e.result);
}

void run_embedding(const Embeddings& e, Stream stream) {
  launch(embedding_kernel, row_grid(e.most_rows), kRowThreads, row_shared_bytes(e.cols), stream, e);
}

}  // namespace

void add_embedding(KernelTable& table) {
  table.embedding = run_embedding;
}

}  // namespace whittle::cuda
