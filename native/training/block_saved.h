// What a layer's backward pass needs of its forward pass, within one buffer.
#pragma once

#include <cstdint>

#include "ops/attention.h"
#include "training/operands.h"
#include "training/transformer_block.h"

namespace whittle {

inline bool keeps_bf16(Precision precision, const KernelTable& kernels) {
  return precision == Precision::bfloat16 && kernels.native_bf16;
}

// T: float or bf16, what operands are.
template <typename T>
struct BlockSaved {
  T* qkv;              // [tokens, 3 * part_stride]
  T* attended;         // [tokens, hidden]
  T* intermediate;     // [tokens, intermediate], before GELU
  float* middle_sum;   // [tokens, hidden], before the attention's LayerNorm
  float* middle_mean;  // [tokens]
  float* middle_rstd;  // [tokens]
  float* output_sum;   // [tokens, hidden], before the last LayerNorm
  float* output_mean;  // [tokens]
  float* output_rstd;  // [tokens]
  float* softmax;      // attention_softmax_floats; bf16 only

  // Columns from the queries to the keys and from those to the values.
  static int64_t part_stride(int64_t hidden) { return kIsBf16<T> ? padded_k(hidden) : hidden; }

  static int64_t floats(int64_t tokens, int64_t hidden, int64_t heads, int64_t intermediate) {
    const int64_t operands =
        3 * part_stride(hidden) + operand_stride<T>(hidden) + operand_stride<T>(intermediate);
    int64_t all = tokens * (operands * static_cast<int64_t>(sizeof(T)) / 4 + 2 * hidden + 4);
    if (kIsBf16<T>) all += attention_softmax_floats(tokens, heads);
    return all;
  }

  static BlockSaved within(float* buffer, const BlockShape& shape) {
    const int64_t tokens = shape.tokens();
    const auto take = [&](int64_t count) {
      float* part = buffer;
      buffer += count;
      return part;
    };
    const auto operand = [&](int64_t columns) {
      return reinterpret_cast<T*>(take(tokens * columns * static_cast<int64_t>(sizeof(T)) / 4));
    };
    BlockSaved saved;
    saved.qkv = operand(3 * part_stride(shape.hidden));
    saved.attended = operand(operand_stride<T>(shape.hidden));
    saved.intermediate = operand(operand_stride<T>(shape.intermediate));
    saved.middle_sum = take(tokens * shape.hidden);
    saved.output_sum = take(tokens * shape.hidden);
    saved.middle_mean = take(tokens);
    saved.middle_rstd = take(tokens);
    saved.output_mean = take(tokens);
    saved.output_rstd = take(tokens);
    saved.softmax = kIsBf16<T> ? take(attention_softmax_floats(tokens, shape.heads)) : nullptr;
    return saved;
  }

  // For a forward pass with no backward pass: what its blocks of rows hand to one another, and not what they keep.
  static BlockSaved without_sums(const BlockShape& shape, Arena& arena) {
    const int64_t tokens = shape.tokens();
    BlockSaved saved{};
    saved.qkv = arena.take<T>(tokens * 3 * part_stride(shape.hidden));
    saved.attended = arena.take<T>(tokens * operand_stride<T>(shape.hidden));
    for (float** statistics : {&saved.middle_mean, &saved.middle_rstd, &saved.output_mean, &saved.output_rstd}) {
      *statistics = arena.take<float>(tokens);
    }
    if (kIsBf16<T>) saved.softmax = arena.take<float>(attention_softmax_floats(tokens, shape.heads));
    return saved;
  }
};

}  // namespace whittle
