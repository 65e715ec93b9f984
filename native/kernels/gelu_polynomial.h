// GELU of the int8 engine, by the same operations on every ISA and GPU, so that all give the same bits. Its results
// become bytes, of 255 steps from kGeluLowest below 0 to a row's maximum, so that 1e-7 of accuracy would be wasted.
//
//   gelu(x) = (x + x erf(x / sqrt 2)) / 2, and in float32
//   s = x * x, e = s * fma(... fma(c[6], s, c[5]) ..., c[0]), gelu(x) = (x + min(e, |x|)) / 2.
//
// x erf(x / sqrt 2) is even, smooth, and from |x| = 3.9 on |x| is as good, which the polynomial then exceeds, so that
// the smaller of the two needs no other bound. The result is exactly x for x >= 4, exactly 0 for x <= -4 (finite ones),
// not below -0.169998, and within kGeluError of the erf form. Coefficients: scripts/fit_polynomials.py.
#pragma once

namespace whittle {

namespace {

// c[power]. A function, since kernels of a GPU see no array that is not theirs.
constexpr float gelu_coefficient(int power) {
  constexpr float coefficients[7] = {0.796829998f,    -0.130395278f,    0.0180619936f, -0.00172903785f,
                                     0.000106006606f, -3.69652525e-06f, 5.52450672e-08f};
  return coefficients[power];
}
inline constexpr float kGeluEnd = 4.0f;
inline constexpr double kGeluError = 1.83e-4;  // 1.8e-4 by the fit, the rest by float32

}  // namespace

}  // namespace whittle
