// Products of small matrices that lie in the first caches, without packing: what attention needs.
#pragma once

#include <cstdint>
#include <utility>

namespace whittle::vector {

// c [rows, vectors * width] (+)= a b with a(r, l) = a[r * a_row + l * a_column] and b(l, j) = b[l * b_stride + j].
template <typename F, int kRows, int kVectors>
void product_tile(const float* a, int64_t a_row, int64_t a_column, const float* b, int64_t b_stride, int64_t k,
                  float* c, int64_t c_stride, bool accumulate) {
  using Register = typename F::Register;
  Register sums[kRows][kVectors];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) {
      sums[r][v] = accumulate ? F::load(c + r * c_stride + v * F::width) : F::zero();
    }
  }
  for (int64_t l = 0; l < k; ++l) {
    Register right[kVectors];
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) right[v] = F::load(b + l * b_stride + v * F::width);
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const Register left = F::all(a[r * a_row + l * a_column]);
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) sums[r][v] = F::multiply_add(left, right[v], sums[r][v]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) F::store(c + r * c_stride + v * F::width, sums[r][v]);
  }
}

using ProductTile = void (*)(const float*, int64_t, int64_t, const float*, int64_t, int64_t, float*, int64_t, bool);

// The tiles of 1 up to F::tile_rows rows.
template <typename F>
struct ProductTiles {
  ProductTile of[F::tile_rows];
};
template <typename F, int kVectors, int... kRows>
constexpr ProductTiles<F> product_tiles(std::integer_sequence<int, kRows...>) {
  return {{product_tile<F, kRows + 1, kVectors>...}};
}

// c [m, n] (+)= a b; n is a multiple of the vector width. Each element is one chain of additions in the order of k.
template <typename F>
void small_product(const float* a, int64_t a_row, int64_t a_column, int64_t m, const float* b, int64_t b_stride,
                   int64_t n, int64_t k, float* c, int64_t c_stride, bool accumulate) {
  using Rows = std::make_integer_sequence<int, F::tile_rows>;
  static constexpr auto one = product_tiles<F, 1>(Rows()), two = product_tiles<F, 2>(Rows());
  const int64_t tiles = (m + F::tile_rows - 1) / F::tile_rows;
  for (int64_t tile = 0; tile < tiles; ++tile) {
    const int64_t row = m * tile / tiles, rows = m * (tile + 1) / tiles - row;
    for (int64_t j = 0; j < n; j += 2 * F::width) {
      const auto& kernels = j + F::width < n ? two : one;
      kernels.of[rows - 1](a + row * a_row, a_row, a_column, b + j, b_stride, k, c + row * c_stride + j, c_stride,
                           accumulate);
    }
  }
}

}  // namespace whittle::vector
