#pragma once

#include <limits>

#include "kernels/byte_attention.h"
#include "kernels/kernel_table.h"

namespace whittle::vector {

// See kernels/byte_attention.h and KernelTable::softmax_u8.
template <typename F, bool kBias>
struct ByteSoftmax {
  using Register = typename F::Register;
  int32_t* products;
  int64_t stride, length;
  const float* row_scales;
  const float* key_scales;
  const float* value_ratios;
  const float* value_logarithms;
  const float* bias;
  int64_t bias_stride;
  uint8_t* weights;
  int64_t weights_stride;
  float sum_unit;  // sum_scale of the length

  // The x of a row take the place of its products, without a bias before the row's scale comes in.
  float* exponents(int64_t r) const { return reinterpret_cast<float*>(products + r * stride); }

  // All lanes of these are the same: x * scale + shift is what powers are taken of.
  struct Row {
    Register scale, shift;
  };

  // `x` in all lanes but those behind the last key.
  template <bool kPartial>
  static Register existing(Register x, int64_t lanes, Register otherwise) {
    return kPartial ? F::first_of(lanes, x, otherwise) : x;
  }

  // Makes x of products from key j on, `lanes` (1 to F::width) of them if kPartial. highest: of each lane, with the
  // logarithm of the value's ratio.
  template <bool kPartial>
  void raise(Register& highest, int64_t r, int64_t j, int64_t lanes, Register scale, Register key_scale,
             Register logarithm) const {
    const int32_t* from = products + r * stride + j;
    float* to = exponents(r) + j;
    Register x = F::multiply(kPartial ? F::from_int32_first(from, lanes) : F::from_int32(from), key_scale);
    if constexpr (kBias) {
      const float* added = bias + r * bias_stride + j;
      const Register addend = kPartial ? F::load_first(added, lanes) : F::load(added);
      x = F::multiply_add(x, scale, F::multiply(addend, F::all(kLog2E)));
    }
    const Register weight = kBias ? F::add(x, logarithm) : F::multiply_add(x, scale, logarithm);
    if constexpr (kPartial) {
      F::store_first(to, lanes, x);
    } else {
      F::store(to, x);
    }
    highest = F::maximum(highest, existing<kPartial>(weight, lanes, highest));
  }
  static Register lowest() { return F::all(-std::numeric_limits<float>::infinity()); }

  // What comes next is done step by step for all vectors, since the steps of one wait for each other.
  template <typename Step>
  static void each(int vectors, const Step& step) {
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) step(v);
  }

  // 2^(kSpan y + kLowest) in place.
  template <int kVectors>
  static void power_of_two(Register (&y)[kVectors]) {
    const Register rounding = F::all(kExponentRounding), span = F::all(kSpan);
    Register whole[kVectors], p[kVectors];
    each(kVectors, [&](int v) { y[v] = F::maximum(y[v], F::zero()); });
    each(kVectors, [&](int v) { whole[v] = F::multiply_add(y[v], span, rounding); });
    each(kVectors, [&](int v) { p[v] = F::subtract(rounding, whole[v]); });
    each(kVectors, [&](int v) { y[v] = F::multiply_add(y[v], span, p[v]); });
    each(kVectors, [&](int v) { p[v] = F::multiply_add(F::all(kPowerOfTwo[3]), y[v], F::all(kPowerOfTwo[2])); });
    each(kVectors, [&](int v) { p[v] = F::multiply_add(p[v], y[v], F::all(kPowerOfTwo[1])); });
    each(kVectors, [&](int v) { p[v] = F::multiply_add(p[v], y[v], F::all(kPowerOfTwo[0])); });
    each(kVectors, [&](int v) { y[v] = F::times_power_of_two(p[v], whole[v]); });
  }

  // Stores weights of keys from j on, the last vector as far as there are keys if kPartial: `lanes`. ratio(v) gives the
  // values' ratios of vector v. Adds to the sum of exponentials, of which each lane brings kRoundingBits along.
  template <int kVectors, bool kPartial, typename Ratio>
  Register part(int64_t r, int64_t j, int64_t lanes, const Row& row, const Ratio& ratio, Register sum) const {
    constexpr int kWhole = kPartial ? kVectors - 1 : kVectors;
    const Register rounding = F::all(kRounding), unit = F::all(sum_unit);
    const float* from = exponents(r) + j;
    Register e[kVectors];
    each(kWhole, [&](int v) { e[v] = F::load(from + v * F::width); });
    if constexpr (kPartial) e[kWhole] = F::load_first(from + kWhole * F::width, lanes);
    each(kVectors, [&](int v) { e[v] = F::multiply_add(e[v], row.scale, row.shift); });
    power_of_two(e);
    e[kVectors - 1] = existing<kPartial>(e[kVectors - 1], lanes, F::zero());
    each(kVectors, [&](int v) { sum = F::add_bits(sum, F::multiply_add(e[v], unit, rounding)); });
    each(kVectors, [&](int v) { e[v] = F::multiply_add(e[v], ratio(v), rounding); });
    F::template store_low_bytes<kVectors>(weights + r * weights_stride + j, e);
    return sum;
  }
};

// Rows of any length.
template <typename F, bool kBias>
struct RowsOfKeys : ByteSoftmax<F, kBias> {
  using Softmax = ByteSoftmax<F, kBias>;
  using Register = typename F::Register;
  using Softmax::length;

  explicit RowsOfKeys(const Softmax& softmax) : Softmax(softmax) {}

  Register highest(int64_t r) const {
    const Register scale = F::all(this->row_scales[r]);
    Register first = Softmax::lowest(), second = first;
    const auto raise = [&](Register& highest, int64_t j) {
      this->template raise<false>(highest, r, j, F::width, scale, F::load(this->key_scales + j),
                                  F::load(this->value_logarithms + j));
    };
    int64_t j = 0;
    for (; j + 2 * F::width <= length; j += 2 * F::width) {
      raise(first, j);
      raise(second, j + F::width);
    }
    for (; j < length; j += F::width) {
      const int64_t lanes = length - j < F::width ? length - j : F::width;
      this->template raise<true>(first, r, j, lanes, scale, F::load_first(this->key_scales + j, lanes),
                                 F::load_first(this->value_logarithms + j, lanes));
    }
    return F::maximum(first, second);
  }

  Register weigh(int64_t r, const typename Softmax::Row& row) const {
    Register sum = F::zero();
    int64_t j = 0;
    for (; j + 4 * F::width < length; j += 4 * F::width) sum = part<4, false>(r, j, row, sum);
    const int64_t left = length - j;  // up to four vectors
    if (left <= F::width) return part<1, true>(r, j, row, sum);
    if (left <= 2 * F::width) return part<2, true>(r, j, row, sum);
    if (left <= 3 * F::width) return part<3, true>(r, j, row, sum);
    return part<4, true>(r, j, row, sum);
  }

 private:
  template <int kVectors, bool kPartial>
  Register part(int64_t r, int64_t j, const typename Softmax::Row& row, Register sum) const {
    const int64_t lanes = length - j - (kVectors - 1) * F::width;
    const auto ratio = [&](int v) {
      const float* from = this->value_ratios + j + v * F::width;
      return kPartial && v == kVectors - 1 ? F::load_first(from, lanes) : F::load(from);
    };
    return Softmax::template part<kVectors, kPartial>(r, j, lanes, row, ratio, sum);
  }
};

// Rows of kVectors vectors, the last of which may not be full: what belongs to keys stays in registers.
template <typename F, bool kBias, int kVectors>
struct RowsOfFewKeys : ByteSoftmax<F, kBias> {
  using Softmax = ByteSoftmax<F, kBias>;
  using Register = typename F::Register;
  int64_t lanes;  // of the last vector
  Register scales[kVectors], logarithms[kVectors], ratios[kVectors];

  explicit RowsOfFewKeys(const Softmax& softmax) : Softmax(softmax), lanes(softmax.length - (kVectors - 1) * F::width) {
    Softmax::each(kVectors, [&](int v) {
      const int64_t j = v * F::width, count = v == kVectors - 1 ? lanes : F::width;
      scales[v] = F::load_first(softmax.key_scales + j, count);
      logarithms[v] = F::load_first(softmax.value_logarithms + j, count);
      ratios[v] = F::load_first(softmax.value_ratios + j, count);
    });
  }

  Register highest(int64_t r) const {
    const Register scale = F::all(this->row_scales[r]);
    Register highest = Softmax::lowest();
    Softmax::each(kVectors - 1, [&](int v) {
      this->template raise<false>(highest, r, v * F::width, F::width, scale, scales[v], logarithms[v]);
    });
    constexpr int kLast = kVectors - 1;
    this->template raise<true>(highest, r, kLast * F::width, lanes, scale, scales[kLast], logarithms[kLast]);
    return highest;
  }

  Register weigh(int64_t r, const typename Softmax::Row& row) const {
    return this->template part<kVectors, true>(
        r, 0, lanes, row, [&](int v) { return ratios[v]; }, F::zero());
  }
};

template <typename F, bool kBias, typename Rows>
void softmax_u8(const Rows softmax, int64_t rows, float* factors) {
  using Register = typename F::Register;
  const int64_t lanes = (softmax.length + F::width - 1) / F::width * F::width;
  const Register rounding_bits =
      F::all_bits(static_cast<int32_t>(0u - static_cast<uint32_t>(kRoundingBits) * static_cast<uint32_t>(lanes)));
  // A vector has a lane for each of `count` rows, and takes what is left of them in the end.
  const auto find_shifts = [&](int64_t begin, int64_t count, float* shifts) {
    Register highest[F::width];
    for (int64_t i = 0; i < count; ++i) highest[i] = softmax.highest(begin + i);
    for (int64_t i = count; i < F::width; ++i) highest[i] = highest[0];  // anything
    const Register of_rows = F::join_lanes(highest, [](Register a, Register b) { return F::maximum(a, b); });
    F::store(shifts, F::multiply(F::subtract(F::all(kTopLogarithm - kLowest), of_rows), F::all(1 / kSpan)));
  };
  const auto weigh = [&](int64_t begin, int64_t count, const float* shifts) {
    Register sums[F::width];
    for (int64_t i = 0; i < count; ++i) {
      const float scale = kBias ? 1 / kSpan : softmax.row_scales[begin + i] * (1 / kSpan);
      sums[i] = softmax.weigh(begin + i, {F::all(scale), F::all(shifts[i])});
    }
    for (int64_t i = count; i < F::width; ++i) sums[i] = sums[0];
    const Register total = F::join_lanes(sums, [](Register a, Register b) { return F::add_bits(a, b); });
    const Register sum = F::from_bits(F::add_bits(total, rounding_bits));
    F::store_first(factors + begin, count, F::divide(F::all(softmax.sum_unit), sum));
  };
  // What the exponentials of some rows wait for is found long before: for many rows at once.
  constexpr int64_t kMostRows = 4 * F::width;
  float shifts[kMostRows];
  for (int64_t begin = 0; begin < rows; begin += kMostRows) {
    const int64_t end = rows - begin < kMostRows ? rows : begin + kMostRows;
    const auto for_each_vector_of_rows = [&](const auto& work) {
      for (int64_t r = begin; r < end; r += F::width)
        work(r, end - r < F::width ? end - r : F::width, shifts + r - begin);
    };
    for_each_vector_of_rows(find_shifts);
    for_each_vector_of_rows(weigh);
  }
}

// With a bias and without, of few keys and of many.
template <typename F>
void softmax_u8(int32_t* products, int64_t stride, int64_t rows, int64_t length, const float* row_scales,
                const float* key_scales, const float* value_ratios, const float* value_logarithms,
                const ScoreBias* bias, uint8_t* weights, int64_t weights_stride, float* factors) {
  const auto run = [&]<bool kBias>() {
    const ByteSoftmax<F, kBias> softmax = {products,
                                           stride,
                                           length,
                                           row_scales,
                                           key_scales,
                                           value_ratios,
                                           value_logarithms,
                                           bias ? bias->data : nullptr,
                                           bias ? bias->stride : 0,
                                           weights,
                                           weights_stride,
                                           sum_scale(length)};
    if (length <= F::width) {
      softmax_u8<F, kBias>(RowsOfFewKeys<F, kBias, 1>(softmax), rows, factors);
    } else if (length <= 2 * F::width) {
      softmax_u8<F, kBias>(RowsOfFewKeys<F, kBias, 2>(softmax), rows, factors);
    } else {
      softmax_u8<F, kBias>(RowsOfKeys<F, kBias>(softmax), rows, factors);
    }
  };
  if (bias) {
    run.template operator()<true>();
  } else {
    run.template operator()<false>();
  }
}

}  // namespace whittle::vector
