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

}  // namespace whittle
