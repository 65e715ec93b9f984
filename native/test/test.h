// A small test harness: suites of named cases, loud skips, a printed seed.
//
//   TEST(gemm, small_shapes) { CHECK(x == y); CHECK_NEAR(a, b, 1e-5); if (!kernels_for(Isa::amx)) SKIP("no AMX"); }
#pragma once

#include <cmath>
#include <cstdint>
#include <functional>
#include <random>
#include <sstream>
#include <stdexcept>
#include <string>

namespace whittle::test {

struct Failure : std::runtime_error {
  using std::runtime_error::runtime_error;
};
struct Skipped : std::runtime_error {
  using std::runtime_error::runtime_error;
};

bool add_case(const char* suite, const char* name, std::function<void()> body);

// Seed of every random input: WHITTLE_TEST_SEED, or the same default each time. Printed when a case fails.
uint64_t seed();
inline std::mt19937_64 generator(uint64_t stream = 0) {
  return std::mt19937_64(seed() + stream);
}

}  // namespace whittle::test

#define TEST(suite, name)                                                                                   \
  static void suite##_##name##_body();                                                                      \
  static const bool suite##_##name##_added = whittle::test::add_case(#suite, #name, suite##_##name##_body); \
  static void suite##_##name##_body()

#define WHITTLE_FAIL(stream_expression)                                          \
  do {                                                                           \
    std::ostringstream whittle_message;                                          \
    whittle_message << __FILE__ << ':' << __LINE__ << ": " << stream_expression; \
    throw whittle::test::Failure(whittle_message.str());                         \
  } while (0)

#define CHECK(condition)                                    \
  do {                                                      \
    if (!(condition)) WHITTLE_FAIL("expected " #condition); \
  } while (0)

#define CHECK_EQUAL(actual, expected)                                                                         \
  do {                                                                                                        \
    auto whittle_actual = (actual);                                                                           \
    auto whittle_expected = (expected);                                                                       \
    if (!(whittle_actual == whittle_expected))                                                                \
      WHITTLE_FAIL(#actual " is " << whittle_actual << " but expected " #expected " = " << whittle_expected); \
  } while (0)

// |actual - expected| <= tolerance * (1 + |expected|); NaN fails.
#define CHECK_NEAR(actual, expected, tolerance)                                                             \
  do {                                                                                                      \
    double whittle_actual = (actual), whittle_expected = (expected);                                        \
    if (!(std::fabs(whittle_actual - whittle_expected) <= (tolerance) * (1 + std::fabs(whittle_expected)))) \
      WHITTLE_FAIL(#actual " is " << whittle_actual << " but expected " << whittle_expected << " within "   \
                                  << (tolerance));                                                          \
  } while (0)

#define SKIP(reason) throw whittle::test::Skipped(reason)
