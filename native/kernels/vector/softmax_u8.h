#pragma once

#include <limits>

#include "kernels/byte_attention.h"
#include "kernels/kernel_table.h"

namespace whittle::vector {

// Rows of products, a sequence of keys and perhaps a bias; see kernels/byte_attention.h.
template <typename F, bool kBias>
struct ByteSoftmax {
  using Register = typename F::Register;
  const float* key_scales;
  const float* value_ratios;
  const float* value_logarithms;
  int64_t length;
  // Of one row; shift comes off its exponents, top goes into its weights.
  int32_t* products;
  float* exponents;  // which take the place of the products
  const float* bias;
  Register row_scale, shift, top;

  struct Highest {
    Register exponent, weight;  // weight: with the logarithm of the value's ratio
  };

  // Makes exponents of products of keys from j on, `lanes` (1 to F::width) of them if kPartial: before the maximum
  // comes off, and without a bias before the row's scale comes in.
  template <bool kPartial>
  void raise(Highest& highest, int64_t j, int64_t lanes) const {
    const auto load = [&](const float* p) { return kPartial ? F::load_first(p + j, lanes) : F::load(p + j); };
    const Register product = kPartial ? F::from_int32_first(products + j, lanes) : F::from_int32(products + j);
    Register x = F::multiply(product, load(key_scales));
    if constexpr (kBias) x = F::multiply_add(x, row_scale, F::multiply(load(bias), F::all(kLog2E)));
    if constexpr (kPartial) {
      F::store_first(exponents + j, lanes, x);
    } else {
      F::store(exponents + j, x);
    }
    Register weight = kBias ? F::add(x, load(value_logarithms)) : F::multiply_add(x, row_scale, load(value_logarithms));
    if constexpr (kPartial) {
      x = F::first_of(lanes, x, highest.exponent);
      weight = F::first_of(lanes, weight, highest.weight);
    }
    highest.exponent = F::maximum(highest.exponent, x);
    highest.weight = F::maximum(highest.weight, weight);
  }

  Highest highest() const {
    const Register lowest = F::all(-std::numeric_limits<float>::infinity());
    Highest first = {lowest, lowest}, second = first;
    int64_t j = 0;
    for (; j + 2 * F::width <= length; j += 2 * F::width) {
      raise<false>(first, j, F::width);
      raise<false>(second, j + F::width, F::width);
    }
    for (; j < length; j += F::width) raise<true>(first, j, length - j < F::width ? length - j : F::width);
    return {F::maximum(first.exponent, second.exponent), F::maximum(first.weight, second.weight)};
  }

  // What comes next is done step by step for all vectors, since the steps of one wait for each other.
  template <typename Step>
  static void each(int vectors, const Step& step) {
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) step(v);
  }

  // 2^y in place.
  template <int kVectors>
  static void power_of_two(Register (&y)[kVectors]) {
    const Register rounding = F::all(kRounding);
    Register whole[kVectors], p[kVectors];
    each(kVectors, [&](int v) { y[v] = F::maximum(y[v], F::all(kLowestExponent)); });
    each(kVectors, [&](int v) { whole[v] = F::add(y[v], rounding); });
    each(kVectors, [&](int v) { p[v] = F::subtract(whole[v], rounding); });
    each(kVectors, [&](int v) { y[v] = F::subtract(y[v], p[v]); });
    each(kVectors, [&](int v) { p[v] = F::multiply_add(F::all(kPowerOfTwo[3]), y[v], F::all(kPowerOfTwo[2])); });
    each(kVectors, [&](int v) { p[v] = F::multiply_add(p[v], y[v], F::all(kPowerOfTwo[1])); });
    each(kVectors, [&](int v) { p[v] = F::multiply_add(p[v], y[v], F::all(kPowerOfTwo[0])); });
    each(kVectors, [&](int v) { y[v] = F::times_power_of_two(p[v], whole[v]); });
  }

  // Weights of keys from j on, the last vector as far as there are keys if kPartial. Adds to the sum of exponentials,
  // of which each lane brings kRoundingBits along.
  template <int kVectors, bool kPartial>
  Register part(int64_t j, uint8_t* weights, Register sum) const {
    constexpr int kWhole = kPartial ? kVectors - 1 : kVectors;
    const Register rounding = F::all(kRounding), unit = F::all(kExponentialScale);
    const int64_t last = j + kWhole * F::width, lanes = length - last;
    Register e[kVectors], ratios[kVectors];
    each(kWhole, [&](int v) { e[v] = F::load(exponents + j + v * F::width); });
    if constexpr (kPartial) e[kWhole] = F::load_first(exponents + last, lanes);
    each(kVectors, [&](int v) { e[v] = kBias ? F::subtract(e[v], shift) : F::multiply_add(e[v], row_scale, shift); });
    power_of_two(e);
    each(kWhole, [&](int v) { ratios[v] = F::load(value_ratios + j + v * F::width); });
    if constexpr (kPartial) {
      e[kWhole] = F::first_of(lanes, e[kWhole], F::zero());
      ratios[kWhole] = F::load_first(value_ratios + last, lanes);
    }
    each(kVectors, [&](int v) { sum = F::add_bits(sum, F::multiply_add(e[v], unit, rounding)); });
    each(kVectors, [&](int v) { e[v] = F::multiply(e[v], top); });
    each(kVectors, [&](int v) { e[v] = F::multiply_add(e[v], ratios[v], rounding); });
    F::template store_low_bytes<kVectors>(weights + j, e);
    return sum;
  }

  Register row(uint8_t* weights) const {
    Register sum = F::zero();
    int64_t j = 0;
    for (; j + 4 * F::width < length; j += 4 * F::width) sum = part<4, false>(j, weights, sum);
    const int64_t left = length - j;  // up to four vectors
    if (left <= F::width) return part<1, true>(j, weights, sum);
    if (left <= 2 * F::width) return part<2, true>(j, weights, sum);
    if (left <= 3 * F::width) return part<3, true>(j, weights, sum);
    return part<4, true>(j, weights, sum);
  }
};

template <typename F, bool kBias>
void softmax_u8(int32_t* products, int64_t stride, int64_t rows, int64_t length, const float* row_scales,
                const float* key_scales, const float* value_ratios, const float* value_logarithms,
                const ScoreBias* bias, uint8_t* weights, int64_t weights_stride, float* factors) {
  using Register = typename F::Register;
  using Softmax = ByteSoftmax<F, kBias>;
  const Register zero = F::zero();
  Softmax softmax{key_scales, value_ratios, value_logarithms, length, nullptr, nullptr, nullptr, zero, zero, zero};
  const auto turn_to = [&](int64_t r) {
    softmax.products = products + r * stride;
    softmax.exponents = reinterpret_cast<float*>(softmax.products);
    softmax.row_scale = F::all(row_scales[r]);
    if constexpr (kBias) softmax.bias = bias->data + r * bias->stride;
  };
  const int64_t lanes = (length + F::width - 1) / F::width * F::width;
  const Register rounding_bits =
      F::all_bits(static_cast<int32_t>(0u - static_cast<uint32_t>(kRoundingBits) * static_cast<uint32_t>(lanes)));
  // A vector has a lane for each of `count` rows, and takes what is left of them in the end.
  const auto find_highest = [&](int64_t begin, int64_t count, float* highests, float* tops) {
    const auto larger = [](Register a, Register b) { return F::maximum(a, b); };
    Register exponents[F::width], row_weights[F::width];
    for (int64_t i = 0; i < count; ++i) {
      turn_to(begin + i);
      const typename Softmax::Highest highest = softmax.highest();
      exponents[i] = highest.exponent;
      row_weights[i] = highest.weight;
    }
    for (int64_t i = count; i < F::width; ++i) {  // anything
      exponents[i] = exponents[0];
      row_weights[i] = row_weights[0];
    }
    Register highest = F::join_lanes(exponents, larger);
    if constexpr (!kBias) highest = F::multiply(highest, F::load_first(row_scales + begin, count));
    const Register shift = F::subtract(highest, F::join_lanes(row_weights, larger));
    Register power[1] = {F::minimum(shift, F::all(kMostShift))};
    Softmax::power_of_two(power);
    F::store(highests, highest);
    F::store(tops, F::multiply(F::all(kTopWeight), power[0]));
  };
  const auto weigh = [&](int64_t begin, int64_t count, const float* highests, const float* tops) {
    Register sums[F::width];
    for (int64_t i = 0; i < count; ++i) {
      turn_to(begin + i);
      softmax.shift = F::all(kBias ? highests[i] : -highests[i]);
      softmax.top = F::all(tops[i]);
      sums[i] = softmax.row(weights + (begin + i) * weights_stride);
    }
    for (int64_t i = count; i < F::width; ++i) sums[i] = sums[0];
    const Register total = F::join_lanes(sums, [](Register a, Register b) { return F::add_bits(a, b); });
    const Register sum = F::from_bits(F::add_bits(total, rounding_bits));
    const Register factor = F::divide(F::all(kExponentialScale), F::multiply(F::load(tops), sum));
    F::store_first(factors + begin, count, factor);
  };
  // What the exponentials of some rows wait for is found long before: for many rows at once.
  constexpr int64_t kMostRows = 4 * F::width;
  float highests[kMostRows], tops[kMostRows];
  for (int64_t begin = 0; begin < rows; begin += kMostRows) {
    const int64_t end = rows - begin < kMostRows ? rows : begin + kMostRows;
    const auto for_each_vector_of_rows = [&](const auto& work) {
      for (int64_t r = begin; r < end; r += F::width)
        work(r, end - r < F::width ? end - r : F::width, highests + r - begin, tops + r - begin);
    };
    for_each_vector_of_rows(find_highest);
    for_each_vector_of_rows(weigh);
  }
}

// With a bias and without.
template <typename F>
void softmax_u8(int32_t* products, int64_t stride, int64_t rows, int64_t length, const float* row_scales,
                const float* key_scales, const float* value_ratios, const float* value_logarithms,
                const ScoreBias* bias, uint8_t* weights, int64_t weights_stride, float* factors) {
  const auto kernel = bias ? softmax_u8<F, true> : softmax_u8<F, false>;
  kernel(products, stride, rows, length, row_scales, key_scales, value_ratios, value_logarithms, bias, weights,
         weights_stride, factors);
}

}  // namespace whittle::vector
