// Sums whose order does not depend on the width of a vector: lane c % kLanes takes column c, lanes are added as
// i + kLanes / 2, and so on down to one.
#pragma once

#include <cstdint>

namespace whittle::vector {

template <typename F, int kLanes>
class SumLanes {
 public:
  using Register = typename F::Register;

  // x: columns c .. c + F::width - 1; c is a multiple of F::width.
  void add(int64_t c, Register x) {
    Register& part = parts_[part_of(c)];
    part = F::add(part, x);
  }
  void add_square(int64_t c, Register x) {
    Register& part = parts_[part_of(c)];
    part = F::multiply_add(x, x, part);
  }
  float total() const {
    Register sums[kParts];
    for (int i = 0; i < kParts; ++i) sums[i] = parts_[i];
    for (int half = kParts / 2; half > 0; half /= 2)
      for (int i = 0; i < half; ++i) sums[i] = F::add(sums[i], sums[i + half]);
    return F::sum(sums[0]);
  }

 private:
  static constexpr int kParts = kLanes / F::width;
  static int64_t part_of(int64_t c) { return c / F::width % kParts; }
  Register parts_[kParts] = {};
};

}  // namespace whittle::vector
