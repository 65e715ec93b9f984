// The matrix instructions of kernels/cuda/device.cuh in plain C++: the part of device_emulation.h, which includes it,
// that emulates ldmatrix, mma and wgmma.
#pragma once

#include "test/cuda_shim/device_emulation.h"

namespace whittle::cuda {

// --- matrix products of a warp ---
struct LoadMatrix {
  uint32_t* r;
  const uint8_t* row;
};
inline void load_matrix(uint32_t (&r)[4], const void* row) {
  if (reinterpret_cast<uintptr_t>(row) % 16) shim::fault("misaligned matrix row");
  LoadMatrix argument{r, static_cast<const uint8_t*>(row)};
  shim::together(shim::Scope::warp, "load_matrix", &argument, [](void* const* arguments, int) {
    for (int lane = 0; lane < 32; ++lane)
      for (int j = 0; j < 4; ++j)
        std::memcpy(&static_cast<LoadMatrix*>(arguments[lane])->r[j],
                    static_cast<LoadMatrix*>(arguments[8 * j + lane / 4])->row + lane % 4 * 4, 4);
  });
}
inline void load_matrix_transposed(uint32_t (&r)[4], const void* row) {
  if (reinterpret_cast<uintptr_t>(row) % 16) shim::fault("misaligned matrix row");
  LoadMatrix argument{r, static_cast<const uint8_t*>(row)};
  shim::together(shim::Scope::warp, "load_matrix_transposed", &argument, [](void* const* arguments, int) {
    for (int lane = 0; lane < 32; ++lane)
      for (int j = 0; j < 4; ++j)
        for (int e = 0; e < 2; ++e)
          std::memcpy(reinterpret_cast<char*>(&static_cast<LoadMatrix*>(arguments[lane])->r[j]) + 2 * e,
                      static_cast<LoadMatrix*>(arguments[8 * j + 2 * (lane % 4) + e])->row + lane / 4 * 2, 2);
  });
}

// Sums of products of rows of 32 bytes, in the order of k: sums[j] += a . row j, for N rows.
template <typename Left>
struct ByteRows {
  using Sum = int32_t;
  template <int N>
  struct Operand {
    int8_t rows[N][32];
    void set(int row, const uint8_t* bytes) { std::memcpy(rows[row], bytes, 32); }
    void multiply(const uint8_t* a, int32_t* sums) const {
      for (int j = 0; j < N; ++j) {
        int32_t sum = 0;
        for (int i = 0; i < 32; ++i) sum += static_cast<Left>(a[i]) * rows[j][i];
        sums[j] += sum;
      }
    }
  };
};
using S8Rows = ByteRows<int8_t>;
using U8S8Rows = ByteRows<uint8_t>;
// The float32 nearest to x that is not larger. Matrix units add the products of an instruction as if exactly and cut
// the sum so (Fasi et al. 2021, Numerical behavior of NVIDIA tensor cores); that they cut addends too is left out.
inline float toward_zero(double x) {
  const float nearest = static_cast<float>(x);
  const bool beyond = std::fabs(static_cast<double>(nearest)) > std::fabs(x);
  return std::bit_cast<float>(std::bit_cast<uint32_t>(nearest) - (beyond ? 1u : 0u));
}
template <float (*kValue)(uint16_t)>
struct FloatRows {
  using Sum = float;
  template <int N>
  struct Operand {
    float columns[16][N];
    void set(int row, const uint8_t* bytes) {
      uint16_t bits[16];
      std::memcpy(bits, bytes, 32);
      for (int i = 0; i < 16; ++i) columns[i][row] = kValue(bits[i]);
    }
    void multiply(const uint8_t* a, float* sums) const {
      uint16_t bits[16];
      std::memcpy(bits, a, 32);
      double exact[N];
      for (int j = 0; j < N; ++j) exact[j] = sums[j];
      for (int i = 0; i < 16; ++i) {
        const float value = kValue(bits[i]);
        for (int j = 0; j < N; ++j) exact[j] += static_cast<double>(value * columns[i][j]);  // exact in float32
      }
      for (int j = 0; j < N; ++j) sums[j] = toward_zero(exact[j]);
    }
  };
};
using Bf16Rows = FloatRows<bf16_to_float>;
using HalfRows = FloatRows<half_to_float>;

template <typename Rows>
struct Mma {
  typename Rows::Sum* d;
  const uint32_t* a;
  uint32_t b[2];

  static void act(void* const* arguments, int) {
    uint8_t a[16][32], row[8][32];
    const auto of = [&](int lane) { return static_cast<Mma*>(arguments[lane]); };
    for (int lane = 0; lane < 32; ++lane) {
      const int group = lane / 4, at = lane % 4 * 4;
      std::memcpy(&a[group][at], &of(lane)->a[0], 4);
      std::memcpy(&a[group + 8][at], &of(lane)->a[1], 4);
      std::memcpy(&a[group][at + 16], &of(lane)->a[2], 4);
      std::memcpy(&a[group + 8][at + 16], &of(lane)->a[3], 4);
      std::memcpy(&row[group][at], &of(lane)->b[0], 4);
      std::memcpy(&row[group][at + 16], &of(lane)->b[1], 4);
    }
    typename Rows::template Operand<8> b;
    for (int n = 0; n < 8; ++n) b.set(n, row[n]);
    for (int m = 0; m < 16; ++m) {
      typename Rows::Sum sums[8];
      const auto d = [&](int n) -> typename Rows::Sum& { return of(m % 8 * 4 + n / 2)->d[m / 8 * 2 + n % 2]; };
      for (int n = 0; n < 8; ++n) sums[n] = d(n);
      b.multiply(a[m], sums);
      for (int n = 0; n < 8; ++n) d(n) = sums[n];
    }
  }
};
inline void mma_s8(int32_t (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  Mma<S8Rows> argument{d, a, {b0, b1}};
  shim::together(shim::Scope::warp, "mma_s8", &argument, Mma<S8Rows>::act);
}
inline void mma_s8_from(int32_t start, int32_t (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  for (int32_t& sum : d) sum = start;
  mma_s8(d, a, b0, b1);
}
inline void mma_u8_s8(int32_t (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  Mma<U8S8Rows> argument{d, a, {b0, b1}};
  shim::together(shim::Scope::warp, "mma_u8_s8", &argument, Mma<U8S8Rows>::act);
}
inline void mma_bf16(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  Mma<Bf16Rows> argument{d, a, {b0, b1}};
  shim::together(shim::Scope::warp, "mma_bf16", &argument, Mma<Bf16Rows>::act);
}
inline void mma_half(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  Mma<HalfRows> argument{d, a, {b0, b1}};
  shim::together(shim::Scope::warp, "mma_half", &argument, Mma<HalfRows>::act);
}

// --- matrix products of a warpgroup ---
inline uint64_t matrix_descriptor(uint32_t shared) {
  const uint64_t address = shared;
  return (address & 0x3ffff) >> 4 | uint64_t{1} << 16 | uint64_t{1024 >> 4} << 32 | uint64_t{1} << 62;
}
inline uint64_t matrix_descriptor(const void* shared) {
  return matrix_descriptor(shared_address(shared));
}
// Row `row`, 32 bytes, of a K-major operand with 128-byte swizzling: bits 7 to 9 of an address flip its bits 4 to 6.
inline void read_matrix_row(uint64_t descriptor, int row, const uint8_t* shared, uint8_t (&out)[32]) {
  if (descriptor >> 62 != 1) shim::fault("the emulation knows matrices with 128-byte swizzling only");
  const uint64_t start = (descriptor & 0x3fff) << 4, stride = (descriptor >> 32 & 0x3fff) << 4;
  for (int chunk = 0; chunk < 2; ++chunk) {
    const uint64_t address =
        start + static_cast<uint64_t>(row / 8) * stride + static_cast<uint64_t>(row % 8 * 128 + chunk * 16);
    std::memcpy(out + chunk * 16, shared + (address ^ (address >> 7 & 7) << 4), 16);
  }
}
template <typename Rows, int kColumns>
void run_wgmma(const shim::MatrixOperation& operation, const uint8_t* shared) {
  static typename Rows::template Operand<kColumns> b;
  uint8_t row[32];
  for (int n = 0; n < kColumns; ++n) {
    read_matrix_row(operation.b, n, shared, row);
    b.set(n, row);
  }
  for (int m = 0; m < 64; ++m) {
    typename Rows::Sum sums[kColumns];
    const auto d = [&](int n) -> typename Rows::Sum& {
      const int thread = m / 16 * 32 + m % 8 * 4 + n % 8 / 2;
      return static_cast<typename Rows::Sum*>(operation.accumulators[thread])[n / 8 * 4 + m % 16 / 8 * 2 + n % 2];
    };
    for (int n = 0; n < kColumns; ++n) sums[n] = operation.accumulate ? d(n) : 0;
    read_matrix_row(operation.a, m, shared, row);
    b.multiply(row, sums);
    for (int n = 0; n < kColumns; ++n) d(n) = sums[n];
  }
}
struct Wgmma {
  void* d;
  uint64_t a, b;
  bool accumulate;
};
template <typename Rows, int kColumns>
void issue_wgmma(void* d, uint64_t a, uint64_t b, bool accumulate) {
  Wgmma argument{d, a, b, accumulate};
  shim::together(shim::Scope::warpgroup, "wgmma", &argument, [](void* const* arguments, int count) {
    const auto* first = static_cast<Wgmma*>(arguments[0]);
    shim::MatrixOperation operation{{}, first->a, first->b, first->accumulate, run_wgmma<Rows, kColumns>};
    for (int i = 0; i < count; ++i) {
      const auto* one = static_cast<Wgmma*>(arguments[i]);
      if (one->a != first->a || one->b != first->b || one->accumulate != first->accumulate)
        shim::fault("threads of a warpgroup gave different matrices");
      operation.accumulators[i] = one->d;
    }
    shim::defer_matrix(operation);
  });
}
inline void wgmma(int32_t (&d)[64], uint64_t a, uint64_t b, bool accumulate) {
  issue_wgmma<S8Rows, 128>(d, a, b, accumulate);
}
inline void wgmma(int32_t (&d)[128], uint64_t a, uint64_t b, bool accumulate) {
  issue_wgmma<S8Rows, 256>(d, a, b, accumulate);
}
inline void wgmma(float (&d)[64], uint64_t a, uint64_t b, bool accumulate) {
  issue_wgmma<Bf16Rows, 128>(d, a, b, accumulate);
}
inline void wgmma(float (&d)[128], uint64_t a, uint64_t b, bool accumulate) {
  issue_wgmma<Bf16Rows, 256>(d, a, b, accumulate);
}
inline void wgmma_fence() {
  shim::together(shim::Scope::warpgroup, "wgmma_fence", nullptr, nullptr);
}
inline void wgmma_commit() {
  shim::together(shim::Scope::warpgroup, "wgmma_commit", nullptr, [](void* const*, int) { shim::commit_matrices(); });
}
template <int kGroupsLeft>
void wgmma_wait() {
  shim::together(shim::Scope::warpgroup, "wgmma_wait", nullptr,
                 [](void* const*, int) { shim::wait_matrices(kGroupsLeft); });
}
template <typename Sum, int kCount>
void hold_accumulators(Sum (&)[kCount]) {}
template <int kCount>
void begin_accumulators(int32_t (&d)[kCount]) {
  for (int32_t& one : d) one = 0x7f7f7f7f;
}

}  // namespace whittle::cuda
