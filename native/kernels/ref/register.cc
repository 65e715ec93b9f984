#include "kernels/kernel_table.h"

// One line a kernel: ADD(name) calls add_name of name.cc in this folder.
#define WHITTLE_KERNELS(ADD)   \
  ADD(layer_norm)              \
  ADD(layer_norm_backward)     \
  ADD(softmax)                 \
  ADD(gelu)                    \
  ADD(gelu_backward)           \
  ADD(gelu_backward_bf16)      \
  ADD(attention)               \
  ADD(attention_bf16)          \
  ADD(quantize_heads_s8)       \
  ADD(scale_sums_f16)          \
  ADD(softmax_u8)              \
  ADD(attention_backward)      \
  ADD(attention_forward_bf16)  \
  ADD(attention_backward_bf16) \
  ADD(dropout_bits)            \
  ADD(dropout)                 \
  ADD(column_sums)             \
  ADD(column_sums_bf16)        \
  ADD(sum_of_squares)          \
  ADD(magnitude_histogram)     \
  ADD(magnitude_mask)          \
  ADD(apply_mask)              \
  ADD(adamw)                   \
  ADD(sgd)                     \
  ADD(lion)                    \
  ADD(moving_average)          \
  ADD(clip_by_value)           \
  ADD(square_sums)             \
  ADD(adafactor)               \
  ADD(gemm_s8)                 \
  ADD(gemm_f32)                \
  ADD(gemm_bf16)               \
  ADD(quantize_rows_s8)        \
  ADD(quantize_rows_u8)        \
  ADD(quantize_gelu_u8)        \
  ADD(layer_norm_u8)           \
  ADD(widen)                   \
  ADD(convert_f32_bf16)        \
  ADD(transpose_f32)           \
  ADD(transpose_bf16)          \
  ADD(epilogue_bf16)           \
  ADD(epilogue_s8)             \
  ADD(epilogue_f32)

namespace whittle {

namespace ref {
#define WHITTLE_DECLARE(name) void add_##name(KernelTable& table);
WHITTLE_KERNELS(WHITTLE_DECLARE)
}  // namespace ref

void register_ref(KernelTable& table) {
#define WHITTLE_ADD(name) ref::add_##name(table);
  WHITTLE_KERNELS(WHITTLE_ADD)
}

}  // namespace whittle
