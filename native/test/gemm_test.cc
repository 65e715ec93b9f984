// The products of every ISA against sums in double (floats) or int64 (int8), over all sizes around the block edges.
#include <algorithm>

#include "cpu/arena.h"
#include "test/buffers.h"
#include "test/kernel_variants.h"
#include "test/test.h"

using namespace whittle;
using namespace whittle::test;

namespace {

const int64_t kSizes[] = {1, 2, 13, 15, 16, 17, 31, 32, 33, 63, 64, 65, 97};

// What distinguishes the three products in a test.
struct Int8 {
  using A = uint8_t;  // stands for A - 128
  using W = int8_t;
  using C = int32_t;
  static constexpr bool exact = true;
  static const PackedProduct<A, W, C>& of(const KernelTable& t) { return t.gemm_s8; }
  static std::vector<W> random(std::mt19937_64& g, int64_t count) { return random_int8(g, count); }
  static double read_a(A a) { return int{a} - 128; }
  static double read_w(W w) { return w; }
  static A store(W value) { return static_cast<A>(int{value} + 128); }
  static constexpr A padding = 0x5b;  // anything
};
struct Float32 {
  using A = float;
  using W = float;
  using C = float;
  static constexpr bool exact = false;
  static const PackedProduct<A, W, C>& of(const KernelTable& t) { return t.gemm_f32; }
  static std::vector<W> random(std::mt19937_64& g, int64_t count) { return random_floats(g, count); }
  static double read_a(A a) { return a; }
  static double read_w(W w) { return w; }
  static A store(W value) { return value; }
  static constexpr A padding = 0;
};
struct Bfloat16 {
  using A = bf16;
  using W = float;
  using C = float;
  static constexpr bool exact = false;
  static const PackedProduct<A, W, C>& of(const KernelTable& t) { return t.gemm_bf16; }
  static std::vector<W> random(std::mt19937_64& g, int64_t count) { return random_floats(g, count); }
  static double read_a(A a) {
    uint32_t bits = static_cast<uint32_t>(a) << 16;
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
  }
  static double read_w(W w) { return rounded_to_bf16(w); }
  static A store(W value) { return bf16_bits(value); }
  static constexpr A padding = 0;
};

// One shape: packs W (or its transpose, by halves), multiplies a range of columns, checks each element.
template <typename Kind>
void check_shape(int64_t m, int64_t n, int64_t k, std::mt19937_64& random) {
  using A = typename Kind::A;
  using C = typename Kind::C;
  int64_t a_stride = (Kind::exact || !std::is_same_v<A, float>) ? padded_k(k) + 64 * (random() % 2) : k + random() % 3;
  std::vector<A> a(static_cast<size_t>((m - 1) * a_stride + (std::is_same_v<A, float> ? k : padded_k(k))),
                   Kind::padding);
  auto a_values = Kind::random(random, m * k);
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t l = 0; l < k; ++l)
      a[static_cast<size_t>(i * a_stride + l)] = Kind::store(a_values[static_cast<size_t>(i * k + l)]);
  }
  bool transposed = random() % 2, accumulate = random() % 2;
  auto w = Kind::random(random, n * k);
  int64_t row_stride = transposed ? 1 : k, column_stride = transposed ? n : 1;
  std::vector<double> expected(static_cast<size_t>(m * n)), magnitude(static_cast<size_t>(m * n));
  std::vector<double> wide(static_cast<size_t>(n * k));
  for (int64_t j = 0; j < n; ++j) {
    for (int64_t l = 0; l < k; ++l)
      wide[static_cast<size_t>(j * k + l)] = Kind::read_w(w[static_cast<size_t>(j * row_stride + l * column_stride)]);
  }
  for (int64_t i = 0; i < m; ++i) {
    for (int64_t j = 0; j < n; ++j) {
      double sum = 0, sizes = 0;
      for (int64_t l = 0; l < k; ++l) {
        double product = Kind::read_a(a[static_cast<size_t>(i * a_stride + l)]) * wide[static_cast<size_t>(j * k + l)];
        sum += product;
        sizes += std::fabs(product);
      }
      expected[static_cast<size_t>(i * n + j)] = sum;
      magnitude[static_cast<size_t>(i * n + j)] = sizes;
    }
  }
  for (const KernelVariant& variant : kernel_variants()) {
    const auto& product = Kind::of(*variant.table);
    std::vector<char> packed(static_cast<size_t>(product.packed_bytes(n, k)) + 64, 0x5a);
    char* aligned = packed.data() + (64 - reinterpret_cast<uintptr_t>(packed.data()) % 64) % 64;
    int64_t middle = std::min(n, (n / 2 + product.panel - 1) / product.panel * product.panel);
    product.pack(w.data(), row_stride, column_stride, n, k, middle, n, aligned);
    product.pack(w.data(), row_stride, column_stride, n, k, 0, middle, aligned);
    int64_t begin = random() % 2 ? 0 : std::min(n - 1, middle) / product.panel * product.panel;
    int64_t columns = n - begin, stride = columns + static_cast<int64_t>(random() % 5);
    Guarded<C> c(m, columns, stride);
    for (int64_t i = 0; i < m; ++i) {
      for (int64_t j = 0; j < columns; ++j) {
        if (accumulate) c.at(i, j) = static_cast<C>(i - 2 * j);
      }
    }
    product.run(a.data(), a_stride, aligned, m, n, k, begin, n, c.data(), stride, accumulate);
    std::ostringstream what;
    what << variant.name << " m=" << m << " n=" << n << " k=" << k << " columns from " << begin
         << (transposed ? " transposed" : "") << (accumulate ? " accumulating" : "");
    c.check_guards(what.str());
    for (int64_t i = 0; i < m; ++i) {
      for (int64_t j = 0; j < columns; ++j) {
        size_t at = static_cast<size_t>(i * n + begin + j);
        double start = accumulate ? static_cast<double>(i - 2 * j) : 0, wanted = expected[at] + start;
        // Rounding error of a chain of k float32 additions: each rounds a partial sum of at most `magnitude`.
        double bound = Kind::exact ? 0 : (k + 2) * std::ldexp(magnitude[at] + std::fabs(start), -24);
        if (!(std::fabs(c.at(i, j) - wanted) <= bound)) {
          WHITTLE_FAIL(what.str() << ": element (" << i << ", " << j << ") is " << c.at(i, j) << " but expected "
                                  << wanted << " within " << bound);
        }
      }
    }
  }
}

template <typename Kind>
void check_all_shapes(uint64_t stream) {
  auto random = generator(stream);
  for (int64_t m : kSizes) {
    for (int64_t n : kSizes) {
      for (int64_t k : kSizes) check_shape<Kind>(m, n, k, random);
    }
  }
  // Longer than any block of k.
  check_shape<Kind>(37, 70, 1543, random);
  check_shape<Kind>(1, 130, 3072, random);
  check_shape<Kind>(101, 257, 769, random);
}

}  // namespace

TEST(gemm_s8, every_isa_is_exact) {
  check_all_shapes<Int8>(1);
}

// W with contiguous rows, with contiguous columns, and with neither: packed memory must be the same, and not more be
// written than the panels of the range. Left operands that stand for themselves give their own products.
TEST(gemm_s8, packs_whatever_the_strides) {
  auto random = generator(4);
  const auto check = [&](const KernelVariant& variant, int64_t n, int64_t k) {
    const auto& product = variant.table->gemm_s8;
    const auto w = random_int8(random, n * k);
    std::vector<int8_t> rows(static_cast<size_t>(n * (k + 3))), columns(static_cast<size_t>(k * (n + 5))),
        apart(static_cast<size_t>(n * k * 2));
    for (int64_t r = 0; r < n; ++r) {
      for (int64_t c = 0; c < k; ++c) {
        const int8_t value = w[static_cast<size_t>(r * k + c)];
        rows[static_cast<size_t>(r * (k + 3) + c)] = value;
        columns[static_cast<size_t>(c * (n + 5) + r)] = value;
        apart[static_cast<size_t>((r * k + c) * 2)] = value;
      }
    }
    // The last row or column ends where its memory does.
    rows.resize(static_cast<size_t>((n - 1) * (k + 3) + k));
    columns.resize(static_cast<size_t>((k - 1) * (n + 5) + n));
    const size_t bytes = static_cast<size_t>(product.packed_bytes(n, k));
    const int64_t middle = n / 2 / product.panel * product.panel;
    const int64_t ranges[][2] = {{0, n}, {middle, n}, {0, std::max(product.panel, middle)}};
    std::ostringstream what;
    what << variant.name << " n=" << n << " k=" << k;
    std::vector<AlignedBuffer> packed;
    for (int i = 0; i < 3; ++i) packed.emplace_back(bytes + 64);
    for (const auto pack : {product.pack, product.pack_unsigned}) {
      for (const auto& [begin, end] : ranges) {
        for (const AlignedBuffer& buffer : packed) std::memset(buffer.as<void>(), 0x5a, bytes + 64);
        pack(apart.data(), 2 * k, 2, n, k, begin, std::min(n, end), packed[0].as<void>());
        pack(rows.data(), k + 3, 1, n, k, begin, std::min(n, end), packed[1].as<void>());
        pack(columns.data(), 1, n + 5, n, k, begin, std::min(n, end), packed[2].as<void>());
        for (int i = 1; i < 3; ++i) {
          if (std::memcmp(packed[0].as<void>(), packed[static_cast<size_t>(i)].as<void>(), bytes + 64) != 0)
            WHITTLE_FAIL(what.str() << " [" << begin << ", " << end << "): contiguous " << (i == 1 ? "rows" : "columns")
                                    << " are packed differently");
        }
        for (size_t i = bytes; i < bytes + 64; ++i) CHECK_EQUAL(int{packed[0].as<uint8_t>()[i]}, 0x5a);
      }
    }
    product.pack_unsigned(rows.data(), k + 3, 1, n, k, 0, n, packed[0].as<void>());
    std::vector<uint8_t> a(static_cast<size_t>(3 * padded_k(k)));
    for (uint8_t& byte : a) byte = random() % 4 == 0 ? 255 : static_cast<uint8_t>(random());
    const int64_t whole = (n + 15) / 16 * 16;  // columns behind n are zeros
    Guarded<int32_t> c(3, whole, whole + 1);
    product.run(a.data(), padded_k(k), packed[0].as<void>(), 3, n, k, 0, whole, c.data(), whole + 1, false);
    c.check_guards(what.str());
    for (int64_t i = 0; i < 3; ++i) {
      for (int64_t j = 0; j < whole; ++j) {
        int32_t sum = 0;
        for (int64_t l = 0; j < n && l < k; ++l)
          sum += a[static_cast<size_t>(i * padded_k(k) + l)] * w[static_cast<size_t>(j * k + l)];
        if (c.at(i, j) != sum)
          WHITTLE_FAIL(what.str() << ": unsigned element (" << i << ", " << j << ") is " << c.at(i, j)
                                  << " but expected " << sum);
      }
    }
  };
  for (const KernelVariant& variant : kernel_variants()) {
    for (const int64_t n : kSizes) {
      for (const int64_t k : kSizes) check(variant, n, k);
    }
    check(variant, 180, 64);
    check(variant, 64, 1100);
  }
}

TEST(gemm_f32, every_isa_is_within_rounding) {
  check_all_shapes<Float32>(2);
}

TEST(gemm_bf16, every_isa_is_within_rounding) {
  check_all_shapes<Bfloat16>(3);
}

TEST(gemm_s8, extremes_do_not_saturate) {
  for (int a_value : {-128, -127, 127}) {
    for (int w_value : {-128, -127, 127}) {
      const int64_t m = 7, n = 33, k = 320;
      std::vector<uint8_t> a(m * padded_k(k), static_cast<uint8_t>(a_value + 128));
      std::vector<int8_t> w(n * k, static_cast<int8_t>(w_value));
      for (const KernelVariant& variant : kernel_variants()) {
        const auto& product = variant.table->gemm_s8;
        std::vector<int64_t> packed(static_cast<size_t>(product.packed_bytes(n, k)) / 8 + 16);
        char* aligned = reinterpret_cast<char*>(packed.data());
        aligned += (64 - reinterpret_cast<uintptr_t>(aligned) % 64) % 64;
        product.pack(w.data(), k, 1, n, k, 0, n, aligned);
        std::vector<int32_t> c(m * n);
        product.run(a.data(), padded_k(k), aligned, m, n, k, 0, n, c.data(), n, false);
        for (int32_t sum : c) CHECK_EQUAL(sum, a_value * w_value * k);
      }
    }
  }
}
