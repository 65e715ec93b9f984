#include "ops/gemm.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>

#include "cpu/error.h"
#include "ops/blocked_product.h"
#include "ops/weight_rows.h"

namespace whittle {

namespace {

// Packs the panels of W on all threads. W element (r, c) is w[r * row_stride + c * column_stride].
template <typename TA, typename TW, typename TC>
void pack_panels(const PackedProduct<TA, TW, TC>& product, const TW* w, int64_t row_stride, int64_t column_stride,
                 int64_t n, int64_t k, void* packed, int threads, const Context& context) {
  context.pool.split(n, product.panel, threads, [&](int64_t begin, int64_t end) {
    product.pack(w, row_stride, column_stride, n, k, begin, end, packed);
  });
}

template <typename TA, typename TW, typename TC>
void pack_into(PackedWeight& weight, const PackedProduct<TA, TW, TC>& product, const TW* w, int64_t row_stride,
               const Context& context) {
  weight.data = AlignedBuffer(static_cast<size_t>(product.packed_bytes(weight.n, weight.k)));
  pack_panels(product, w, row_stride, 1, weight.n, weight.k, weight.data.as<void>(), context.threads, context);
}

// Keeps the sum of each row, and W^T for activations with up to `outliers` outliers.
void keep_rows(PackedWeight& weight, const int8_t* q, int64_t row_stride, int outliers, const Context& context) {
  weight.sums.resize(static_cast<size_t>(weight.n));
  for (int64_t r = 0; r < weight.n; ++r) {
    int32_t sum = 0;
    for (int64_t c = 0; c < weight.k; ++c) sum += q[r * row_stride + c];
    weight.sums[static_cast<size_t>(r)] = sum;
  }
  if (outliers == 0) return;
  if (outliers > kMostOutliers)
    throw Error("INTERNAL", "Expected at most " + std::to_string(kMostOutliers) + " outliers a row");
  weight.outliers = outliers;
  weight.columns = AlignedBuffer(static_cast<size_t>(weight.n * weight.k));
  constexpr int64_t kBlock = 64;  // a cache line of each of so many rows
  context.pool.split(weight.k, kBlock, context.threads, [&](int64_t begin, int64_t end) {
    for (int64_t row = 0; row < weight.n; row += kBlock) {
      const int64_t row_end = std::min(row + kBlock, weight.n);
      for (int64_t c = begin; c < end; ++c) {
        int8_t* column = weight.columns.as<int8_t>() + c * weight.n;
        for (int64_t r = row; r < row_end; ++r) column[r] = q[r * row_stride + c];
      }
    }
  });
}

void check_shape(int64_t n, int64_t k) {
  if (n <= 0 || k <= 0) {
    throw Error("INTERNAL", "Expected a weight matrix of at least 1 x 1 but it is " + std::to_string(n) + " x " +
                                std::to_string(k));
  }
}

// Distance of prepared rows of k elements of T: whole cache lines, an odd number of them, so that the rows that a
// kernel reads side by side do not all fall into the same set of the first-level cache.
template <typename T>
constexpr int64_t row_stride_of(int64_t k) {
  constexpr int64_t line = static_cast<int64_t>(kAlignment / sizeof(T));
  return ((k + line - 1) / line | 1) * line;
}

// How the left operand of a linear layer gets into the form that the product reads.
struct DirectRows {
  const float* x;
  int64_t stride;
  static constexpr int64_t scratch_bytes(int64_t, int64_t) { return 0; }
  Rows<float> operator()(int64_t begin, int64_t, void*) const { return {x + begin * stride, stride, nullptr}; }
};

// Copies rows whose own distance would put them all into the same sets of the first-level cache.
struct SpreadRows {
  const float* x;
  int64_t stride, k;
  static bool needed(int64_t stride) { return stride * static_cast<int64_t>(sizeof(float)) % 2048 == 0; }
  static int64_t scratch_bytes(int64_t rows, int64_t k) {
    return rows * row_stride_of<float>(k) * static_cast<int64_t>(sizeof(float));
  }
  Rows<float> operator()(int64_t begin, int64_t rows, void* scratch) const {
    float* copied = static_cast<float*>(scratch);
    const int64_t to_stride = row_stride_of<float>(k);
    for (int64_t i = 0; i < rows; ++i) {
      std::memcpy(copied + i * to_stride, x + (begin + i) * stride, static_cast<size_t>(k) * sizeof(float));
    }
    return {copied, to_stride, nullptr};
  }
};

struct Bf16Rows {
  const KernelTable& kernels;
  const float* x;
  int64_t stride, k;
  static int64_t scratch_bytes(int64_t rows, int64_t k) {
    return rows * row_stride_of<bf16>(padded_k(k)) * static_cast<int64_t>(sizeof(bf16));
  }
  Rows<bf16> operator()(int64_t begin, int64_t rows, void* scratch) const {
    bf16* converted = static_cast<bf16*>(scratch);
    const int64_t to_stride = row_stride_of<bf16>(padded_k(k));
    kernels.convert_f32_bf16(x + begin * stride, stride, rows, k, converted, to_stride);
    return {converted, to_stride, nullptr};
  }
};

struct QuantizedRows {
  const KernelTable& kernels;
  const float* x;
  int64_t stride, k;
  int most_outliers;
  // The rows as bytes, one scale a row, the outliers of each row.
  int64_t scratch_bytes(int64_t rows, int64_t columns) const {
    return rows * (padded_k(columns) + static_cast<int64_t>(sizeof(float) + sizeof(RowOutliers)));
  }
  Rows<uint8_t> operator()(int64_t begin, int64_t rows, void* scratch) const {
    uint8_t* quantized = static_cast<uint8_t*>(scratch);
    float* scales = reinterpret_cast<float*>(quantized + rows * padded_k(k));
    RowOutliers* outliers = reinterpret_cast<RowOutliers*>(scales + rows);
    kernels.quantize_rows_u8(x + begin * stride, stride, rows, k, most_outliers, quantized, padded_k(k), scales,
                             outliers);
    return {quantized, padded_k(k), scales, most_outliers > 0 ? outliers : nullptr};
  }
};

// The left operand of matmul: any strides.
struct StridedRows {
  const KernelTable& kernels;
  const float* a;
  int64_t a_row, a_column, k;
  static int64_t scratch_bytes(int64_t rows, int64_t k) {
    return rows * row_stride_of<float>(k) * static_cast<int64_t>(sizeof(float));
  }
  Rows<float> operator()(int64_t begin, int64_t rows, void* scratch) const {
    float* packed = static_cast<float*>(scratch);
    const float* from = a + begin * a_row;
    const int64_t to_stride = row_stride_of<float>(k);
    if (a_row == 1) {
      kernels.transpose_f32(from, a_column, k, rows, packed, to_stride);
    } else {
      for (int64_t i = 0; i < rows; ++i) {
        for (int64_t l = 0; l < k; ++l) packed[i * to_stride + l] = from[i * a_row + l * a_column];
      }
    }
    return {packed, to_stride, nullptr};
  }
};

struct StridedBf16Rows {
  const KernelTable& kernels;
  const float* a;
  int64_t a_row, a_column, k;
  // The bf16 rows, then one float32 row.
  static int64_t scratch_bytes(int64_t rows, int64_t k) {
    return rows * row_stride_of<bf16>(padded_k(k)) * static_cast<int64_t>(sizeof(bf16)) +
           k * static_cast<int64_t>(sizeof(float));
  }
  Rows<bf16> operator()(int64_t begin, int64_t rows, void* scratch) const {
    bf16* packed = static_cast<bf16*>(scratch);
    const float* from = a + begin * a_row;
    const int64_t to_stride = row_stride_of<bf16>(padded_k(k));
    if (a_column == 1) {
      kernels.convert_f32_bf16(from, a_row, rows, k, packed, to_stride);
    } else if (a_row == 1) {
      kernels.transpose_f32_bf16(from, a_column, k, rows, packed, to_stride);
    } else {
      float* row = reinterpret_cast<float*>(packed + rows * to_stride);
      for (int64_t i = 0; i < rows; ++i) {
        for (int64_t l = 0; l < k; ++l) row[l] = from[i * a_row + l * a_column];
        kernels.convert_f32_bf16(row, k, 1, k, packed + i * to_stride, to_stride);
      }
    }
    return {packed, to_stride, nullptr};
  }
};

// Products that end in a float32 tile.
template <typename Prepare, typename TA>
void linear_float(const Linear& g, const PackedProduct<TA, float, float>& product, const Prepare& prepare,
                  const Context& context) {
  const PackedWeight& w = *g.weight;
  Cut cut = cut_product(g.m, w.n, w.k, product.panel, product.rows, product.most_rows, context.threads);
  if (!g.bias && g.activation == Activation::none && !g.residual) {
    blocked_product(product, w.data.as<void>(), g.m, w.n, w.k, cut, prepare, direct_tile(g.y, g.y_stride), context);
    return;
  }
  auto finish = [&](const Tile<float>& t) {
    context.kernels.epilogue_f32(t.data, t.stride, t.rows, t.columns, g.bias ? g.bias + t.column : nullptr,
                                 g.activation, g.residual ? g.residual + t.row * g.residual_stride + t.column : nullptr,
                                 g.residual_stride, g.y + t.row * g.y_stride + t.column, g.y_stride);
  };
  blocked_product(product, w.data.as<void>(), g.m, w.n, w.k, cut, prepare, scratch_tile(finish, product.sums_gap),
                  context);
}

void linear_s8(const Linear& g, const Context& context) {
  const PackedWeight& w = *g.weight;
  const auto& product = context.kernels.gemm_s8;
  auto finish = [&](const Tile<int32_t>& t) {
    const SumsS8 sums = {t.data,  t.stride, t.row_scales, w.scales.data() + t.column,
                         nullptr, nullptr,  t.outliers,   w.columns.as<const int8_t>() + t.column,
                         w.n};
    context.kernels.epilogue_s8(sums, t.rows, t.columns, g.bias ? g.bias + t.column : nullptr, g.activation,
                                g.residual ? g.residual + t.row * g.residual_stride + t.column : nullptr,
                                g.residual_stride, g.y + t.row * g.y_stride + t.column, g.y_stride);
  };
  Cut cut = cut_product(g.m, w.n, w.k, product.panel, product.rows, product.most_rows, context.threads);
  blocked_product(product, w.data.as<void>(), g.m, w.n, w.k, cut,
                  QuantizedRows{context.kernels, g.x, g.x_stride, w.k, w.outliers},
                  scratch_tile(finish, product.sums_gap), context);
}

// Packs B (as W = B^T) and multiplies.
template <typename Prepare, typename TA>
void matmul_packed(const Matmul& g, const PackedProduct<TA, float, float>& product, const Prepare& prepare,
                   const Context& context) {
  Cut cut = cut_product(g.m, g.n, g.k, product.panel, product.rows, product.most_rows, context.threads);
  Arena::Scope scope(context.arena);
  void* packed = context.arena.take<char>(product.packed_bytes(g.n, g.k));
  pack_panels(product, g.b, g.b_column, g.b_row, g.n, g.k, packed, cut.threads, context);
  blocked_product(product, packed, g.m, g.n, g.k, cut, prepare, direct_tile(g.c, g.c_row, g.accumulate), context);
}

}  // namespace

PackedWeight pack_weight(const float* w, int64_t n, int64_t k, Precision precision, const Context& context,
                         int outliers) {
  check_shape(n, k);
  if (precision == Precision::bfloat16 && !context.kernels.native_bf16) precision = Precision::float32;
  if (precision == Precision::int8) {
    AlignedBuffer quantized(static_cast<size_t>(n * padded_k(k)));
    std::vector<float> scales(static_cast<size_t>(n));
    context.pool.split(n, 16, context.threads, [&](int64_t begin, int64_t end) {
      quantize_weight_rows(context.kernels, w + begin * k, end - begin, k, quantized.as<int8_t>() + begin * padded_k(k),
                           padded_k(k), scales.data() + begin);
    });
    PackedWeight weight{precision, n, k, {}, std::move(scales), {}, 0, {}};
    pack_into(weight, context.kernels.gemm_s8, quantized.as<const int8_t>(), padded_k(k), context);
    keep_rows(weight, quantized.as<const int8_t>(), padded_k(k), outliers, context);
    return weight;
  }
  PackedWeight weight{precision, n, k, {}, {}, {}, 0, {}};
  if (precision == Precision::bfloat16) pack_into(weight, context.kernels.gemm_bf16, w, k, context);
  if (precision == Precision::float32) pack_into(weight, context.kernels.gemm_f32, w, k, context);
  return weight;
}

PackedWeight pack_weight_s8(const int8_t* q, const float* scales, int64_t n, int64_t k, const Context& context,
                            int outliers) {
  check_shape(n, k);
  PackedWeight weight{Precision::int8, n, k, {}, std::vector<float>(scales, scales + n), {}, 0, {}};
  pack_into(weight, context.kernels.gemm_s8, q, k, context);
  keep_rows(weight, q, k, outliers, context);
  return weight;
}

void linear(const Linear& arguments, const Context& context) {
  if (arguments.m <= 0) return;
  const int64_t k = arguments.weight->k;
  switch (arguments.weight->precision) {
    case Precision::float32:
      if (arguments.m > 1 && SpreadRows::needed(arguments.x_stride)) {
        return linear_float(arguments, context.kernels.gemm_f32, SpreadRows{arguments.x, arguments.x_stride, k},
                            context);
      }
      return linear_float(arguments, context.kernels.gemm_f32, DirectRows{arguments.x, arguments.x_stride}, context);
    case Precision::bfloat16:
      return linear_float(arguments, context.kernels.gemm_bf16,
                          Bf16Rows{context.kernels, arguments.x, arguments.x_stride, k}, context);
    case Precision::int8:
      return linear_s8(arguments, context);
  }
}

int64_t most_linear_scratch(const PackedWeight& weight, int64_t m, int threads, const KernelTable& kernels) {
  const auto most = [&](const auto& product) {
    const int64_t row_bytes = row_stride_of<float>(padded_k(weight.k)) * static_cast<int64_t>(sizeof(float));
    return most_product_scratch(m, weight.n, row_bytes, product.panel + product.sums_gap, product.rows,
                                product.most_rows, threads);
  };
  return weight.precision == Precision::int8       ? most(kernels.gemm_s8)
         : weight.precision == Precision::bfloat16 ? most(kernels.gemm_bf16)
                                                   : most(kernels.gemm_f32);
}

void matmul(const Matmul& g, Precision precision, const Context& context) {
  if (g.m <= 0 || g.n <= 0) return;
  if (precision == Precision::int8) throw Error("INTERNAL", "Expected matmul in float32 or bfloat16 but found int8");
  if (precision == Precision::bfloat16 && context.kernels.native_bf16) {
    return matmul_packed(g, context.kernels.gemm_bf16, StridedBf16Rows{context.kernels, g.a, g.a_row, g.a_column, g.k},
                         context);
  }
  if (g.a_column == 1 && g.m > 1 && SpreadRows::needed(g.a_row)) {
    return matmul_packed(g, context.kernels.gemm_f32, SpreadRows{g.a, g.a_row, g.k}, context);
  }
  if (g.a_column == 1) return matmul_packed(g, context.kernels.gemm_f32, DirectRows{g.a, g.a_row}, context);
  matmul_packed(g, context.kernels.gemm_f32, StridedRows{context.kernels, g.a, g.a_row, g.a_column, g.k}, context);
}

}  // namespace whittle
