// Where kernels that write operands find a row's bytes: operand_offset of kernel_table.h in 32-bit arithmetic.
#pragma once

#include "kernels/cuda/launch.cuh"

namespace whittle::cuda {

// 16-byte chunk `chunk` of a row whose parts take `blocks` blocks together; the next block is kBlockBytes on.
__device__ __forceinline__ uint8_t* operand_chunk(void* data, int64_t row, int blocks, int chunk) {
  const uint32_t at = static_cast<uint32_t>(row), part = static_cast<uint32_t>(chunk);
  const uint32_t within = at % kBlockRows * kRowBytes + ((part ^ at) & 7) * 16;
  const uint64_t block = at / kBlockRows * static_cast<uint32_t>(blocks) + part / 8;
  return static_cast<uint8_t*>(data) + block * kBlockBytes + within;
}
__device__ __forceinline__ int blocks_of_part(Form form, int cols) {
  return (cols * (form == Form::int8 ? 1 : 2) + kRowBytes - 1) / kRowBytes;
}

// What bf16_pair(a, b) leaves.
__device__ __forceinline__ uint32_t low_bf16_pair(float a, float b) {
  const uint32_t high = bf16_pair(a, b);
  return bf16_pair(a - bf16_value(static_cast<uint16_t>(high & 0xffff)),
                   b - bf16_value(static_cast<uint16_t>(high >> 16)));
}

}  // namespace whittle::cuda
