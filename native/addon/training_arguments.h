// Reading the arguments of the training functions and of the operations of the TensorFlow.js backend.
#pragma once

#include <napi.h>

#include <string>

#include "addon/arguments.h"
#include "cpu/error.h"
#include "ops/context.h"
#include "ops/gemm.h"

namespace whittle {

inline constexpr int64_t kMostElements = int64_t{1} << 40;  // keeps products of sizes far from overflow

inline Context context() {
  ThreadPool& pool = ThreadPool::instance();
  return {kernels(), pool, pool.default_threads(), thread_arena()};
}

inline bool absent(const Napi::Value& value) {
  return value.IsUndefined() || value.IsNull();
}

inline float* floats(const Napi::Value& value, const char* name, int64_t count = -1) {
  return elements<float>(value, name, count).data;
}

// Null for null and undefined.
inline float* optional_floats(const Napi::Value& value, const char* name, int64_t count) {
  return absent(value) ? nullptr : floats(value, name, count);
}

// 'float32' (also if not given) or 'bfloat16'.
inline Precision precision(const Napi::Value& value) {
  if (absent(value)) return Precision::float32;
  const std::string name = text(value, "precision");
  if (name == "float32") return Precision::float32;
  if (name == "bfloat16") return Precision::bfloat16;
  throw Error("BAD_OPTION", "Expected 'float32' or 'bfloat16' for precision but received '" + name + "'");
}

// How many rows of `width` elements there are; `name` must hold whole ones.
inline int64_t rows_of(int64_t count, int64_t width, const char* name) {
  if (width <= 0 || count % width != 0) {
    throw Error("BAD_OPTION", "Expected " + std::string(name) + " to hold whole rows of " + std::to_string(width) +
                                  " but it has " + std::to_string(count) + " elements");
  }
  return count / width;
}

inline float rate(const Napi::Object& spec, const char* name) {
  const double value = number(spec.Get(name), name);
  if (!(value >= 0 && value < 1)) {
    throw Error("BAD_OPTION",
                std::string("Expected a rate in [0, 1) for ") + name + " but received " + std::to_string(value));
  }
  return static_cast<float>(value);
}

inline uint64_t seed(const Napi::Object& spec) {
  return static_cast<uint64_t>(integer(spec.Get("seed"), "seed", 0, (int64_t{1} << 53) - 1));
}

inline uint32_t step(const Napi::Object& spec) {
  return static_cast<uint32_t>(integer(spec.Get("step"), "step", 0, (int64_t{1} << 32) - 1));
}

// Offsets [sequences + 1] that start at 0, never fall, and end at `tokens` (-1: anywhere).
inline Elements<int32_t> read_offsets(const Napi::Value& value, int64_t tokens) {
  const Elements<int32_t> offsets = elements<int32_t>(value, "offsets");
  bool good = offsets.count >= 1 && offsets.data[0] == 0;
  for (int64_t i = 1; good && i < offsets.count; ++i) good = offsets.data[i] >= offsets.data[i - 1];
  if (!good) throw Error("BAD_OPTION", "Expected offsets to start at 0 and to never fall");
  if (tokens >= 0 && offsets.data[offsets.count - 1] != tokens) {
    throw Error("BAD_OPTION", "Expected offsets to end at the " + std::to_string(tokens) +
                                  " tokens given but they end at " + std::to_string(offsets.data[offsets.count - 1]));
  }
  return offsets;
}

}  // namespace whittle
