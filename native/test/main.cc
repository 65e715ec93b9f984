// `whittle_native_tests --list` prints the suites; `whittle_native_tests [SUITE...]` runs them.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "test/test.h"

namespace whittle::test {

namespace {

struct Case {
  const char* suite;
  const char* name;
  std::function<void()> body;
};

std::vector<Case>& cases() {
  static std::vector<Case> all;
  return all;
}

}  // namespace

bool add_case(const char* suite, const char* name, std::function<void()> body) {
  cases().push_back({suite, name, std::move(body)});
  return true;
}

uint64_t seed() {
  static const uint64_t value = [] {
    const char* text = std::getenv("WHITTLE_TEST_SEED");
    return text ? std::strtoull(text, nullptr, 10) : 20240607ull;
  }();
  return value;
}

}  // namespace whittle::test

int main(int count, char** arguments) {
  using namespace whittle::test;
  std::vector<std::string> suites;
  for (const Case& one : cases()) {
    bool known = false;
    for (const std::string& suite : suites) known |= suite == one.suite;
    if (!known) suites.push_back(one.suite);
  }
  if (count > 1 && std::strcmp(arguments[1], "--list") == 0) {
    for (const std::string& suite : suites) std::printf("%s\n", suite.c_str());
    return 0;
  }
  int passed = 0, failed = 0, skipped = 0;
  for (const Case& one : cases()) {
    bool wanted = count == 1;
    for (int i = 1; i < count; ++i) wanted |= std::strcmp(arguments[i], one.suite) == 0;
    if (!wanted) continue;
    try {
      one.body();
      ++passed;
    } catch (const Skipped& skip) {
      ++skipped;
      std::printf("SKIPPED: %s.%s: %s\n", one.suite, one.name, skip.what());
    } catch (const std::exception& error) {
      ++failed;
      std::printf("FAILED: %s.%s (WHITTLE_TEST_SEED=%llu)\n  %s\n", one.suite, one.name,
                  static_cast<unsigned long long>(seed()), error.what());
    }
    std::fflush(stdout);
  }
  std::printf("%d passed, %d failed, %d skipped\n", passed, failed, skipped);
  return failed ? 1 : 0;
}
