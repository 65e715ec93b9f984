#include "kernels/kernel_table.h"

// One line a kernel: ADD(name) calls add_name of this folder. The second list needs AVX-512 BF16 too.
#define WHITTLE_KERNELS(ADD) \
  ADD(gemm_s8)               \
  ADD(peak_s8)
#define WHITTLE_BF16_KERNELS(ADD) \
  ADD(gemm_bf16)                  \
  ADD(convert_f32_bf16)           \
  ADD(transpose_f32_bf16)         \
  ADD(attention_bf16)             \
  ADD(attention_forward_bf16)     \
  ADD(attention_backward_bf16)    \
  ADD(gelu_backward_bf16)         \
  ADD(column_sums_bf16)           \
  ADD(transpose_bf16)             \
  ADD(epilogue_bf16)              \
  ADD(peak_bf16)

namespace whittle {

namespace vnni {
#define WHITTLE_DECLARE(name) void add_##name(KernelTable& table);
WHITTLE_KERNELS(WHITTLE_DECLARE)
WHITTLE_BF16_KERNELS(WHITTLE_DECLARE)
}  // namespace vnni

void register_vnni(KernelTable& table, bool with_bf16) {
#define WHITTLE_ADD(name) vnni::add_##name(table);
  WHITTLE_KERNELS(WHITTLE_ADD)
  if (!with_bf16) return;
  WHITTLE_BF16_KERNELS(WHITTLE_ADD)
}

}  // namespace whittle
