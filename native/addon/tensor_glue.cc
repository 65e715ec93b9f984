// Operations of the TensorFlow.js backend over whole arrays; synchronous, with shapes checked here.
#include <algorithm>
#include <memory>
#include <string>

#include "addon/glue.h"
#include "addon/training_arguments.h"
#include "cpu/arena.h"
#include "ops/embedding.h"
#include "ops/gelu.h"
#include "ops/layer_norm.h"
#include "ops/softmax.h"

namespace whittle {

namespace {

// (count): a Float32Array of arbitrary content over memory of its own.
Napi::Value allocate_floats_call(const Napi::CallbackInfo& info) {
  const int64_t count = integer(info[0], "count", 0, kMostElements);
  auto memory = std::make_unique<AlignedBuffer>(static_cast<size_t>(count) * sizeof(float));
  const Napi::ArrayBuffer buffer = Napi::ArrayBuffer::New(
      info.Env(), memory->as<void>(), memory->bytes(),
      [](Napi::Env, void*, AlignedBuffer* owned) { delete owned; }, memory.get());
  memory.release();
  return Napi::Float32Array::New(info.Env(), static_cast<size_t>(count), buffer, 0);
}

// (a, b, c, { m, n, k, transposeA, transposeB, batch, strideA, strideB, bias, precision })
Napi::Value matmul_call(const Napi::CallbackInfo& info) {
  const Elements<float> a = elements<float>(info[0], "a"), b = elements<float>(info[1], "b");
  const Napi::Object given = object(info[3], "options");
  const int64_t m = integer(given.Get("m"), "m", 0, 1 << 30), n = integer(given.Get("n"), "n", 0, 1 << 30),
                k = integer(given.Get("k"), "k", 0, 1 << 30);
  const auto whole = [&](const char* name, int64_t otherwise) {
    const Napi::Value value = given.Get(name);
    return absent(value) ? otherwise : integer(value, name, 0, kMostElements);
  };
  const auto flag = [&](const char* name) {
    const Napi::Value value = given.Get(name);
    return !absent(value) && boolean(value, name);
  };
  const int64_t batch = whole("batch", 1);
  const int64_t a_stride = whole("strideA", m * k), b_stride = whole("strideB", k * n);
  const bool transpose_a = flag("transposeA"), transpose_b = flag("transposeB");
  const float* bias = optional_floats(given.Get("bias"), "bias", n);
  const Precision wanted = precision(given.Get("precision"));
  const auto check = [&](const char* name, int64_t count, int64_t stride, int64_t one) {
    if (batch > 0 && (batch - 1) * stride + one > count) {
      throw Error("BAD_OPTION", "Expected " + std::to_string((batch - 1) * stride + one) + " elements for " + name +
                                    " but received " + std::to_string(count));
    }
  };
  if (batch > (int64_t{1} << 20)) throw Error("BAD_OPTION", "Expected at most 2^20 products in a batch");
  check("a", a.count, a_stride, m * k);
  check("b", b.count, b_stride, k * n);
  float* c = floats(info[2], "c", batch * m * n);

  const Context run = context();
  for (int64_t i = 0; i < batch && m * n > 0; ++i) {
    float* out = c + i * m * n;
    if (k == 0) std::fill(out, out + m * n, 0.0f);
    if (k > 0) {
      matmul({m, n, k, a.data + i * a_stride, transpose_a ? 1 : k, transpose_a ? m : 1, b.data + i * b_stride,
              transpose_b ? 1 : n, transpose_b ? k : 1, out, n, false},
             wanted, run);
    }
    if (bias) run.kernels.epilogue_f32(out, n, m, n, bias, Activation::none, nullptr, 0, out, n);
  }
  return info.Env().Undefined();
}

// (x, gamma, beta, epsilon, y, mean, rstd)
Napi::Value layer_norm_call(const Napi::CallbackInfo& info) {
  const Elements<float> x = elements<float>(info[0], "x"), gamma = elements<float>(info[1], "gamma");
  const int64_t rows = rows_of(x.count, gamma.count, "x");
  layer_norm(x.data, rows, gamma.count, gamma.data, floats(info[2], "beta", gamma.count),
             static_cast<float>(number(info[3], "epsilon")), floats(info[4], "y", x.count),
             optional_floats(info[5], "mean", rows), optional_floats(info[6], "rstd", rows), context());
  return info.Env().Undefined();
}

// (dy, x, gamma, mean, rstd, dx, dgamma, dbeta)
Napi::Value layer_norm_backward_call(const Napi::CallbackInfo& info) {
  const Elements<float> dy = elements<float>(info[0], "dy"), gamma = elements<float>(info[2], "gamma");
  const int64_t cols = gamma.count, rows = rows_of(dy.count, cols, "dy");
  layer_norm_backward(dy.data, floats(info[1], "x", dy.count), gamma.data, floats(info[3], "mean", rows),
                      floats(info[4], "rstd", rows), rows, cols, floats(info[5], "dx", dy.count),
                      floats(info[6], "dgamma", cols), floats(info[7], "dbeta", cols), context());
  return info.Env().Undefined();
}

// (x, cols, y)
Napi::Value softmax_call(const Napi::CallbackInfo& info) {
  const Elements<float> x = elements<float>(info[0], "x");
  const int64_t cols = integer(info[1], "cols", 1, kMostElements), rows = rows_of(x.count, cols, "x");
  softmax(x.data, rows, cols, floats(info[2], "y", x.count), context());
  return info.Env().Undefined();
}

// (y, dy, cols, dx)
Napi::Value softmax_backward_call(const Napi::CallbackInfo& info) {
  const Elements<float> y = elements<float>(info[0], "y");
  const int64_t cols = integer(info[2], "cols", 1, kMostElements), rows = rows_of(y.count, cols, "y");
  softmax_backward(y.data, floats(info[1], "dy", y.count), rows, cols, floats(info[3], "dx", y.count), context());
  return info.Env().Undefined();
}

// (x, y)
Napi::Value gelu_call(const Napi::CallbackInfo& info) {
  const Elements<float> x = elements<float>(info[0], "x");
  gelu(x.data, x.count, floats(info[1], "y", x.count), context());
  return info.Env().Undefined();
}

// (x, dy, dx)
Napi::Value gelu_backward_call(const Napi::CallbackInfo& info) {
  const Elements<float> x = elements<float>(info[0], "x");
  gelu_backward(x.data, floats(info[1], "dy", x.count), x.count, floats(info[2], "dx", x.count), context());
  return info.Env().Undefined();
}

// (table, width, ids, y)
Napi::Value gather_rows_call(const Napi::CallbackInfo& info) {
  const Elements<float> table = elements<float>(info[0], "table");
  const int64_t width = integer(info[1], "width", 1, kMostElements), rows = rows_of(table.count, width, "table");
  const Elements<int32_t> ids = elements<int32_t>(info[2], "ids");
  gather_rows(table.data, rows, width, ids.data, ids.count, floats(info[3], "y", ids.count * width), context());
  return info.Env().Undefined();
}

// (dy, width, ids, dtable)
Napi::Value scatter_add_rows_call(const Napi::CallbackInfo& info) {
  const int64_t width = integer(info[1], "width", 1, kMostElements);
  const Elements<int32_t> ids = elements<int32_t>(info[2], "ids");
  const float* dy = floats(info[0], "dy", ids.count * width);
  const Elements<float> table = elements<float>(info[3], "dtable");
  const int64_t rows = rows_of(table.count, width, "dtable");
  std::fill(table.data, table.data + table.count, 0.0f);
  scatter_add_rows(dy, ids.data, ids.count, rows, width, table.data, context());
  return info.Env().Undefined();
}

}  // namespace

void add_tensor_glue(Napi::Env, Napi::Object exports) {
  export_function<allocate_floats_call>(exports, "allocateFloats");
  export_function<matmul_call>(exports, "matmul");
  export_function<layer_norm_call>(exports, "layerNorm");
  export_function<layer_norm_backward_call>(exports, "layerNormBackward");
  export_function<softmax_call>(exports, "softmax");
  export_function<softmax_backward_call>(exports, "softmaxBackward");
  export_function<gelu_call>(exports, "gelu");
  export_function<gelu_backward_call>(exports, "geluBackward");
  export_function<gather_rows_call>(exports, "gatherRows");
  export_function<scatter_add_rows_call>(exports, "scatterAddRows");
}

}  // namespace whittle
