#include "kernels/kernel_table.h"

// One line a kernel: ADD(name) calls add_name of name.cc in this folder.
#define WHITTLE_KERNELS(ADD) \
  ADD(gemm_f32)              \
  ADD(gemm_s8)               \
  ADD(quantize_heads_s8)     \
  ADD(quantize_rows_s8)      \
  ADD(quantize_rows_u8)      \
  ADD(quantize_gelu_u8)      \
  ADD(layer_norm_u8)         \
  ADD(convert_f32_bf16)      \
  ADD(transpose_f32)         \
  ADD(epilogue_s8)           \
  ADD(epilogue_f32)          \
  ADD(peak)                  \
  ADD(layer_norm)            \
  ADD(layer_norm_backward)   \
  ADD(softmax)               \
  ADD(scale_sums_f16)        \
  ADD(softmax_u8)            \
  ADD(gelu)                  \
  ADD(gelu_backward)         \
  ADD(attention)             \
  ADD(attention_backward)    \
  ADD(dropout_bits)          \
  ADD(dropout)               \
  ADD(column_sums)           \
  ADD(sum_of_squares)        \
  ADD(apply_mask)            \
  ADD(adamw)                 \
  ADD(sgd)                   \
  ADD(lion)                  \
  ADD(moving_average)        \
  ADD(clip_by_value)         \
  ADD(square_sums)           \
  ADD(adafactor)

namespace whittle {

namespace avx512 {
#define WHITTLE_DECLARE(name) void add_##name(KernelTable& table);
WHITTLE_KERNELS(WHITTLE_DECLARE)
}  // namespace avx512

void register_avx512([[maybe_unused]] KernelTable& table) {
#define WHITTLE_ADD(name) avx512::add_##name(table);
  WHITTLE_KERNELS(WHITTLE_ADD)
}

}  // namespace whittle
