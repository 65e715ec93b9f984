// Activations in plain C++, one value at a time.
#pragma once

#include <cmath>

#include "kernels/kernel_table.h"

namespace whittle::ref {

static inline float activate(float x, Activation act) {
  switch (act) {
    case Activation::gelu:
      return static_cast<float>(0.5 * x * std::erfc(-x * 0.70710678118654752440));
    case Activation::tanh:
      return std::tanh(x);
    case Activation::none:
      break;
  }
  return x;
}

}  // namespace whittle::ref
