// Dropout of rows of the residual stream, one token a row.
#pragma once

#include <cstdint>

#include "ops/dropout.h"

namespace whittle {

class HiddenDropout {
 public:
  HiddenDropout(const Dropout& dropout, int64_t hidden, const KernelTable& kernels)
      : dropout_(dropout), hidden_(hidden), kernels_(kernels) {}

  // y = dropout(x + bias) + residual for the rows of tokens [begin, end); x, y and residual point at the first of them.
  // bias and residual may be null; y may be x or residual.
  void forward(const float* x, int64_t begin, int64_t end, const float* bias, const float* residual, float* y) const {
    if (dropout_.rate == 0) {
      kernels_.epilogue_f32(x, hidden_, end - begin, hidden_, bias, Activation::none, residual, hidden_, y, hidden_);
      return;
    }
    Arena::Scope scope(thread_arena());
    const int64_t stride = dropout_bit_bytes(hidden_);
    uint8_t* bits = thread_arena().take<uint8_t>((end - begin) * stride);
    for (int64_t token = begin; token < end; ++token) {
      dropout_.bits(static_cast<uint32_t>(token), hidden_, bits + (token - begin) * stride, kernels_);
    }
    kernels_.dropout(x, end - begin, hidden_, bias, {bits, stride, dropout_.scale()}, residual, y);
  }

  // dx = dropout(dy) with the mask of the forward pass.
  void backward(const float* dy, int64_t begin, int64_t end, float* dx) const {
    forward(dy, begin, end, nullptr, nullptr, dx);
  }

 private:
  Dropout dropout_;
  int64_t hidden_;
  const KernelTable& kernels_;
};

}  // namespace whittle
