// Buffers for kernel tests: outputs are poisoned before, and sentinels around them must stay as they are.
#pragma once

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "test/test.h"

namespace whittle::test {

template <typename T>
T poison() {
  if constexpr (std::numeric_limits<T>::has_quiet_NaN) return std::numeric_limits<T>::quiet_NaN();
  return static_cast<T>(0x5a5a5a5a);
}

// A matrix [rows, columns] with rows `stride` apart, in memory that ends right behind its sentinels.
template <typename T>
class Guarded {
 public:
  Guarded(int64_t rows, int64_t columns, int64_t stride)
      : rows_(rows), columns_(columns), stride_(stride), values_(static_cast<size_t>(rows * stride + 2 * kGuard)) {
    for (T& value : values_) value = poison<T>();
  }
  T* data() { return values_.data() + kGuard; }
  T& at(int64_t row, int64_t column) { return data()[row * stride_ + column]; }
  // Fails if anything outside the matrix was written.
  void check_guards(const std::string& what) {
    const T expected = poison<T>();
    for (int64_t i = -kGuard; i < rows_ * stride_ + kGuard; ++i) {
      bool inside = i >= 0 && i < rows_ * stride_ && i % stride_ < columns_;
      if (!inside && std::memcmp(data() + i, &expected, sizeof(T)) != 0) {
        WHITTLE_FAIL(what << ": wrote outside its output, at element " << i << " of [" << rows_ << ", " << columns_
                          << "] with stride " << stride_);
      }
    }
  }

 private:
  static constexpr int64_t kGuard = 32;
  int64_t rows_, columns_, stride_;
  std::vector<T> values_;
};

inline std::vector<float> random_floats(std::mt19937_64& random, int64_t count, float scale = 1) {
  std::normal_distribution<float> normal(0, scale);
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = normal(random);
  return values;
}

inline std::vector<int8_t> random_int8(std::mt19937_64& random, int64_t count) {
  std::uniform_int_distribution<int> any(-128, 127), extreme(0, 7);
  std::vector<int8_t> values(static_cast<size_t>(count));
  for (int8_t& value : values)
    value = static_cast<int8_t>(extreme(random) == 0 ? (any(random) & 1 ? -128 : 127) : any(random));
  return values;
}

// bf16 by arithmetic, independent of the kernels' bit tricks: 8 significant bits, ties to even.
inline float rounded_to_bf16(float x) {
  if (x == 0 || !std::isfinite(x)) return x;
  int exponent;
  std::frexp(x, &exponent);
  double unit = std::ldexp(1.0, std::max(exponent - 8, -133));
  return static_cast<float>(std::nearbyint(x / unit) * unit);
}
inline uint16_t bf16_bits(float x) {
  float rounded = rounded_to_bf16(x);
  uint32_t bits;
  std::memcpy(&bits, &rounded, sizeof bits);
  return static_cast<uint16_t>(bits >> 16);
}

}  // namespace whittle::test
