// The CUDA kernels that work row by row, against kernels/ref: int8 bit for bit.
#include <algorithm>
#include <cmath>
#include <memory>

#include "formats/half.h"
#include "kernels/kernel_table.h"
#include "kernels/ref/activation.h"
#include "kernels/ref/float16.h"
#include "test/cuda_devices.h"
#include "test/reference_rows.h"

using namespace whittle;
using namespace whittle::test;

namespace {

const KernelTable& reference() {
  return *kernels_for(Isa::ref);
}

cuda::Operand take_operand(CudaBench& bench, cuda::Form form, int64_t rows, int64_t k, int most) {
  cuda::Operand operand;
  operand.form = form;
  operand.k = k;
  operand.data = bench.take<uint8_t>(cuda::operand_bytes(form, rows, k));
  operand.scales = bench.take<float>(rows);
  operand.most_outliers = most;
  operand.outlier_counts = bench.take<int32_t>(rows);
  operand.outliers = bench.take<cuda::Outlier>(rows * std::max(most, 1));
  return operand;
}

// Everything of a row's blocks: the elements, then zeros.
template <typename T>
T stored_element(const std::vector<uint8_t>& data, int64_t row, int64_t column, int64_t blocks) {
  T value;
  std::memcpy(&value,
              &data[static_cast<size_t>(cuda::operand_offset(row, column * static_cast<int64_t>(sizeof(T)), blocks))],
              sizeof(T));
  return value;
}

// [rows, cols] as rows of float16 that LayerNorm reads have them.
template <typename T>
std::vector<T> in_order(const std::vector<T>& values, int64_t cols) {
  std::vector<T> ordered(values.size());
  for (int64_t i = 0; i < static_cast<int64_t>(values.size()); ++i)
    ordered[static_cast<size_t>(i / cols * cols + cuda::sum_place(i % cols, cols))] = values[static_cast<size_t>(i)];
  return ordered;
}

// ordered: outliers come in the order of the columns from which in_order took x.
void check_quantized(CudaBench& bench, const cuda::Operand& operand, const std::vector<float>& x, int64_t rows,
                     bool ordered = false) {
  const int64_t cols = operand.k, blocks = cuda::part_blocks(operand.form, cols);
  const auto data = bench.get(operand.data, cuda::operand_bytes(operand.form, rows, cols));
  const auto scales = bench.get(operand.scales, rows);
  const auto counts = bench.get(operand.outlier_counts, rows);
  const auto outliers = bench.get(operand.outliers, rows * operand.most_outliers);
  const auto offsets = operand.offsets ? bench.get(operand.offsets, rows) : std::vector<int32_t>();
  for (int64_t r = 0; r < rows; ++r) {
    const std::vector<float> row(x.begin() + r * cols, x.begin() + (r + 1) * cols);
    const QuantizedRow expected = operand.offsets ? quantize_gelu_row(row) : quantize_row(row, operand.most_outliers);
    CHECK_EQUAL(scales[static_cast<size_t>(r)], expected.scale);
    if (operand.offsets) CHECK_EQUAL(offsets[static_cast<size_t>(r)], expected.offset);
    for (int64_t c = 0; c < blocks * cuda::kRowBytes; ++c) {
      const int wanted = c < cols ? expected.q[static_cast<size_t>(c)] : 0;
      CHECK_EQUAL(static_cast<int>(stored_element<int8_t>(data, r, c, blocks)), wanted);
    }
    if (operand.most_outliers == 0) continue;
    CHECK_EQUAL(static_cast<size_t>(counts[static_cast<size_t>(r)]), expected.outliers.size());
    std::vector<cuda::Outlier> of_row(outliers.begin() + r * operand.most_outliers,
                                      outliers.begin() + r * operand.most_outliers + counts[static_cast<size_t>(r)]);
    if (ordered)
      std::sort(of_row.begin(), of_row.end(), [](const auto& a, const auto& b) { return a.column < b.column; });
    for (size_t i = 0; i < expected.outliers.size(); ++i) {
      const cuda::Outlier& found = of_row[i];
      CHECK_EQUAL(found.column, expected.outliers[i].column);
      CHECK_EQUAL(found.value, expected.outliers[i].value);
    }
  }
}

void check_rounded(CudaBench& bench, const cuda::Operand& operand, const std::vector<float>& x, int64_t rows) {
  const int64_t cols = operand.k, part = cuda::part_blocks(operand.form, cols);
  const int64_t blocks = part * cuda::form_parts(operand.form);
  const auto data = bench.get(operand.data, cuda::operand_bytes(operand.form, rows, cols));
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < part * 64; ++c) {
      const float value = c < cols ? x[static_cast<size_t>(r * cols + c)] : 0;
      CHECK_EQUAL(stored_element<uint16_t>(data, r, c, blocks), bf16_bits(value));
      if (operand.form == cuda::Form::split)
        CHECK_EQUAL(stored_element<uint16_t>(data, r, c + part * 64, blocks),
                    bf16_bits(value - rounded_to_bf16(value)));
    }
}

// Some rows with outliers, one of zeros, one of denormals, one whose largest occur twice.
std::vector<float> rows_with_outliers(std::mt19937_64& random, int64_t rows, int64_t cols) {
  std::vector<float> x = random_floats(random, rows * cols);
  for (int64_t r = 0; r < rows; ++r) {
    float* row = &x[static_cast<size_t>(r * cols)];
    const auto any = [&] { return static_cast<int64_t>(random() % static_cast<uint64_t>(cols)); };
    switch (r % 7) {
      case 1:
        row[any()] = 90.0f;
        break;
      case 2:
        row[any()] = -70.0f, row[any()] = 30000.0f, row[any()] = 12.0f;
        break;
      case 3:
        std::fill(row, row + cols, 0.0f);
        break;
      case 4:
        row[any()] = 20.0f, row[any()] = -20.0f, row[any()] = 20.0f, row[any()] = 19.0f, row[any()] = 19.0f;
        break;
      case 5:
        for (int64_t c = 0; c < cols; ++c) row[c] *= 1e-38f;
        break;
      default:
        break;
    }
  }
  return x;
}

// What the CPU's int8 engine makes of LayerNorm, before it quantizes: of rows rounded to float16.
std::vector<float> layer_norm_of_cpu(const std::vector<float>& x, int64_t rows, int64_t cols,
                                     const std::vector<float>& gamma, const std::vector<float>& beta, float epsilon) {
  std::vector<float> y(x.size()), scales(static_cast<size_t>(rows));
  std::vector<uint8_t> q(static_cast<size_t>(rows * padded_k(cols)));
  reference().layer_norm_u8(x.data(), cols, rows, cols, gamma.data(), beta.data(), epsilon, y.data(), cols, 0, q.data(),
                            padded_k(cols), scales.data(), nullptr);
  return y;
}

// The same of rows as they are.
std::vector<float> layer_norm_of_floats(const std::vector<float>& x, int64_t rows, int64_t cols,
                                        const std::vector<float>& gamma, const std::vector<float>& beta,
                                        float epsilon) {
  const float share = 1.0f / static_cast<float>(cols);
  std::vector<float> y;
  for (int64_t r = 0; r < rows; ++r) {
    const auto in = [&](int64_t c) { return x[static_cast<size_t>(r * cols + c)]; };
    const auto sum = [&](const auto& add) {
      float lanes[16] = {};
      for (int64_t c = 0; c < cols; ++c) lanes[c % 16] = add(in(c), lanes[c % 16]);
      for (int half = 8; half > 0; half /= 2)
        for (int lane = 0; lane < half; ++lane) lanes[lane] += lanes[lane + half];
      return lanes[0];
    };
    const float mean = sum([](float value, float lane) { return lane + value; }) * share;
    const float squares = sum([&](float value, float lane) { return std::fma(value - mean, value - mean, lane); });
    const float scale = 1 / std::sqrt(squares * share + epsilon);
    for (int64_t c = 0; c < cols; ++c)
      y.push_back(std::fma((in(c) - mean) * scale, gamma[static_cast<size_t>(c)], beta[static_cast<size_t>(c)]));
  }
  return y;
}

// Rounds the values to what float16 holds of them, which comes back.
std::vector<uint16_t> round_to_halves(std::vector<float>& values) {
  std::vector<uint16_t> halves;
  for (float& value : values) {
    value = ref::round_to_f16(value);
    halves.push_back(float_to_half(value));
  }
  return halves;
}

const std::vector<int64_t> kColumns = {1, 2, 3, 5, 15, 16, 17, 63, 64, 65, 127, 128, 129, 384, 401};
// What kernels in registers have shapes for, and either side of it.
const std::vector<int64_t> kNormColumns = {312, 383, 385, 512, 766, 768, 1000, 1024, 1025};
const std::vector<int64_t> kQuadColumns = {4,   12,   20,   388,  512,  768,  772,  1024, 1028,
                                           1536, 1544, 2048, 3072, 3076, 4088, 4096, 4104};

std::vector<int64_t> joined(std::vector<int64_t> a, const std::vector<int64_t>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

}  // namespace

TEST(cuda_rows, quantize_rows_s8) {
  std::mt19937_64 random = generator(1);
  for (GpuDevice* device : cuda_devices())
    for (const int64_t cols : joined(kColumns, kQuadColumns))
      for (const int most : {0, 2, 4}) {
        if (most > 0 && cols > 1536) continue;
        CudaBench bench(*device);
        const int64_t rows = 1 + static_cast<int64_t>(random() % (cols > 512 ? 6 : 19)), most_rows = rows + 3;
        auto x = rows_with_outliers(random, rows, cols);
        const cuda::Operand operand = take_operand(bench, cuda::Form::int8, most_rows, cols, most);
        cuda::Rows call{bench.put_one(static_cast<int32_t>(rows)), most_rows, cols, bench.put(x), {}};
        call.result.operand = operand;
        bench.kernels().quantize_rows_s8(call, bench.stream());
        check_quantized(bench, operand, x, rows);

        std::vector<uint16_t> halves;
        for (float& value : x) {
          halves.push_back(float_to_half(value));
          value = half_to_float(halves.back());
        }
        call.in = nullptr;
        call.halves = bench.put(halves);
        call.result.operand = operand;
        bench.kernels().quantize_rows_s8(call, bench.stream());
        check_quantized(bench, operand, x, rows);
      }
}

TEST(cuda_rows, quantize_gelu_u8) {
  std::mt19937_64 random = generator(6);
  for (GpuDevice* device : cuda_devices())
    for (const int64_t cols : joined(kColumns, kQuadColumns))
      for (const float scale : {0.01f, 1.0f, 30.0f}) {
        CudaBench bench(*device);
        const int64_t rows = 1 + static_cast<int64_t>(random() % 9);
        auto x = random_floats(random, rows * cols, scale);
        if (scale > 1) std::fill(x.begin(), x.begin() + cols, -60.0f);  // a row whose results are all -0
        // The CPU's GELU: of sums that are 0, and these biases.
        std::vector<float> widened(x.size());
        const std::vector<int32_t> no_sums(x.size());
        const std::vector<float> ones(x.size(), 1.0f);
        const SumsS8 sums{no_sums.data(), cols, ones.data(), ones.data(), nullptr, nullptr, nullptr, nullptr, 0};
        for (int64_t r = 0; r < rows; ++r)
          kernels_for(Isa::ref)->epilogue_s8(sums, 1, cols, x.data() + r * cols, Activation::gelu, nullptr, 0,
                                             widened.data() + r * cols, cols);
        cuda::Operand operand = take_operand(bench, cuda::Form::int8, rows, cols, 0);
        operand.offsets = bench.take<int32_t>(rows);
        cuda::Rows call{bench.put_one(static_cast<int32_t>(rows)), rows, cols, bench.put(x), {}};
        call.result.operand = operand;
        bench.kernels().quantize_gelu_u8(call, bench.stream());
        check_quantized(bench, operand, widened, rows);
      }
}

// What the reference of these tests says is what the CPU's bytes and outliers stand for.
TEST(cuda_rows, bytes_are_the_cpus) {
  std::mt19937_64 random = generator(7);
  for (const int64_t cols : kColumns)
    for (const int most : {0, 2}) {
      const int64_t rows = 21, padded = padded_k(cols);
      const auto x = rows_with_outliers(random, rows, cols);
      std::vector<uint8_t> q(static_cast<size_t>(rows * padded));
      std::vector<float> scales(static_cast<size_t>(rows));
      std::vector<RowOutliers> outliers(static_cast<size_t>(rows));
      reference().quantize_rows_u8(x.data(), cols, rows, cols, most, q.data(), padded, scales.data(),
                                   most > 0 ? outliers.data() : nullptr);
      for (int64_t r = 0; r < rows; ++r) {
        const QuantizedRow expected =
            quantize_row(std::vector<float>(x.begin() + r * cols, x.begin() + (r + 1) * cols), most);
        CHECK_EQUAL(scales[static_cast<size_t>(r)], expected.scale);
        std::vector<int> found(static_cast<size_t>(cols)), wanted(static_cast<size_t>(cols));
        for (int64_t c = 0; c < cols; ++c) {
          found[static_cast<size_t>(c)] = q[static_cast<size_t>(r * padded + c)] - 128;
          wanted[static_cast<size_t>(c)] = expected.q[static_cast<size_t>(c)];
        }
        const RowOutliers& more = outliers[static_cast<size_t>(r)];
        for (int i = 0; most > 0 && i < more.count; ++i) found[static_cast<size_t>(more.columns[i])] += more.values[i];
        for (const cuda::Outlier& outlier : expected.outliers)
          wanted[static_cast<size_t>(outlier.column)] += outlier.value;
        CHECK(found == wanted);
      }
    }
}

TEST(cuda_rows, layer_norm_quantizes_what_it_stores) {
  std::mt19937_64 random = generator(2);
  for (GpuDevice* device : cuda_devices())
    for (const int64_t cols : joined(kColumns, kNormColumns)) {
      CudaBench bench(*device);
      const int64_t rows = 1 + static_cast<int64_t>(random() % 19);
      auto x = random_floats(random, rows * cols, 3);
      for (float& value : x) value += 5;
      auto gamma = random_floats(random, cols), beta = random_floats(random, cols);
      // Three channels that are large, so that rows have no outlier, one or two, and of either sign.
      for (const float factor : {30.0f, -200.0f, 25.0f}) gamma[random() % static_cast<uint64_t>(cols)] *= factor;
      const auto expected = layer_norm_of_floats(x, rows, cols, gamma, beta, 1e-12f);
      cuda::Rows call{bench.put_one(static_cast<int32_t>(rows)), rows, cols, bench.put(x), {}};
      call.result = {bench.put(gamma), bench.put(beta), 1e-12f, bench.take<float>(rows * cols),
                     take_operand(bench, cuda::Form::int8, rows, cols, 2), bench.take<cuda::RowStats>(rows)};
      bench.kernels().layer_norm(call, bench.stream());
      const auto y = bench.get(call.result.x, rows * cols);
      for (size_t i = 0; i < y.size(); ++i) CHECK_EQUAL(y[i], expected[i]);
      check_quantized(bench, call.result.operand, y, rows);
      // What it took of the rows gives the same again.
      const auto stats = bench.get(call.result.stats, rows);
      for (int64_t i = 0; i < rows * cols; ++i) {
        const auto [mean, scale] = stats[static_cast<size_t>(i / cols)];
        const size_t at = static_cast<size_t>(i), column = static_cast<size_t>(i % cols);
        CHECK_EQUAL(std::fma((x[at] - mean) * scale, gamma[column], beta[column]), expected[at]);
      }
      // In place, and without storing rows.
      float* in_place = bench.put(x);
      call.in = call.result.x = in_place;
      bench.kernels().layer_norm(call, bench.stream());
      const auto again = bench.get(in_place, rows * cols);
      for (size_t i = 0; i < y.size(); ++i) CHECK_EQUAL(again[i], expected[i]);
      call.in = bench.put(x);
      call.result.x = nullptr;
      call.result.operand = take_operand(bench, cuda::Form::int8, rows, cols, 2);
      bench.kernels().layer_norm(call, bench.stream());
      check_quantized(bench, call.result.operand, y, rows);
    }
}

// Rows of float16: those that the CPU rounds to. Some hold the largest numbers, some only denormal ones.
TEST(cuda_rows, layer_norm_of_halves) {
  std::mt19937_64 random = generator(9);
  for (GpuDevice* device : cuda_devices())
    for (const int64_t cols : joined(kColumns, kNormColumns)) {
      CudaBench bench(*device);
      const int64_t rows = 1 + static_cast<int64_t>(random() % 19);
      auto x = random_floats(random, rows * cols, 3);
      for (int64_t i = 0; i < rows * cols; ++i) {
        float& value = x[static_cast<size_t>(i)];
        if (i / cols % 5 == 1) value *= 3e4f;
        if (i / cols % 5 == 3) value *= 1e-6f;
      }
      auto gamma = random_floats(random, cols), beta = random_floats(random, cols);
      for (const float factor : {30.0f, -200.0f, 25.0f}) gamma[random() % static_cast<uint64_t>(cols)] *= factor;
      const auto expected = layer_norm_of_cpu(x, rows, cols, gamma, beta, 1e-12f);
      const auto halves = round_to_halves(x);
      CHECK(layer_norm_of_floats(x, rows, cols, gamma, beta, 1e-12f) == expected);
      cuda::Rows call{bench.put_one(static_cast<int32_t>(rows)), rows, cols, nullptr, {}};
      call.halves = bench.put(in_order(halves, cols));
      float* y = bench.take<float>(rows * cols);
      call.result = {bench.put(in_order(gamma, cols)),
                     bench.put(in_order(beta, cols)),
                     1e-12f,
                     y,
                     take_operand(bench, cuda::Form::int8, rows, cols, 2),
                     bench.take<cuda::RowStats>(rows)};
      bench.kernels().layer_norm(call, bench.stream());
      CHECK(bench.get(y, rows * cols) == expected);
      const auto ordered = in_order(expected, cols);
      check_quantized(bench, call.result.operand, ordered, rows, true);
      const auto stats = bench.get(call.result.stats, rows);
      for (int64_t i = 0; i < rows * cols; ++i) {
        const auto [mean, scale] = stats[static_cast<size_t>(i / cols)];
        const size_t at = static_cast<size_t>(i), column = static_cast<size_t>(i % cols);
        CHECK_EQUAL(std::fma((x[at] - mean) * scale, gamma[column], beta[column]), expected[at]);
      }
      // Without storing rows.
      call.result.x = nullptr;
      call.result.operand = take_operand(bench, cuda::Form::int8, rows, cols, 2);
      bench.kernels().layer_norm(call, bench.stream());
      check_quantized(bench, call.result.operand, ordered, rows, true);
    }
}

// In any form, what the norm gives; without gamma, what it reads.
TEST(cuda_rows, layer_norm_rounds) {
  std::mt19937_64 random = generator(8);
  for (GpuDevice* device : cuda_devices())
    for (const int64_t cols : joined(kColumns, kNormColumns))
      for (const cuda::Form form : {cuda::Form::bf16, cuda::Form::split})
        for (const bool with_norm : {false, true}) {
          CudaBench bench(*device);
          const int64_t rows = 1 + static_cast<int64_t>(random() % 9);
          auto x = random_floats(random, rows * cols);
          cuda::Rows call{bench.put_one(static_cast<int32_t>(rows)), rows, cols, bench.put(x), {}};
          if (with_norm) {
            const auto gamma = random_floats(random, cols), beta = random_floats(random, cols);
            call.result.gamma = bench.put(gamma);
            call.result.beta = bench.put(beta);
            call.result.epsilon = 1e-12f;
            x = layer_norm_of_floats(x, rows, cols, gamma, beta, 1e-12f);
          }
          call.result.operand = take_operand(bench, form, rows, cols, 0);
          bench.kernels().layer_norm(call, bench.stream());
          check_rounded(bench, call.result.operand, x, rows);
        }
}

TEST(cuda_rows, convert_f32_bf16) {
  std::mt19937_64 random = generator(3);
  for (GpuDevice* device : cuda_devices())
    for (const int64_t cols : joined(kColumns, kQuadColumns))
      for (const cuda::Form form : {cuda::Form::bf16, cuda::Form::split}) {
        CudaBench bench(*device);
        const int64_t rows = 1 + static_cast<int64_t>(random() % 9);
        const auto x = random_floats(random, rows * cols);
        cuda::Rows call{bench.put_one(static_cast<int32_t>(rows)), rows, cols, bench.put(x), {}};
        call.result.operand = take_operand(bench, form, rows, cols, 0);
        bench.kernels().convert_f32_bf16(call, bench.stream());
        check_rounded(bench, call.result.operand, x, rows);
      }
}

TEST(cuda_rows, embedding) {
  std::mt19937_64 random = generator(4);
  constexpr int64_t vocabulary = 11, positions = 7;
  for (GpuDevice* device : cuda_devices())
    for (const int64_t cols : {1, 31, 64, 384, 600, 1024, 1030})
      for (const auto form : {cuda::TableForm::f32, cuda::TableForm::f16, cuda::TableForm::bf16, cuda::TableForm::int8})
        for (const bool with_types : {false, true}) {
          CudaBench bench(*device);
          const int64_t rows = 1 + static_cast<int64_t>(random() % 9);
          auto word = random_floats(random, vocabulary * cols);
          const auto position = random_floats(random, positions * cols), type = random_floats(random, 2 * cols);
          const auto gamma = random_floats(random, cols), beta = random_floats(random, cols);
          const auto scales = random_floats(random, vocabulary);
          const void* table = nullptr;
          std::vector<uint16_t> halves;
          std::vector<int8_t> bytes;
          for (size_t i = 0; i < word.size(); ++i) {
            if (form == cuda::TableForm::f16) {
              halves.push_back(float_to_half(word[i]));
              word[i] = half_to_float(halves.back());
            } else if (form == cuda::TableForm::bf16) {
              halves.push_back(float_to_bf16(word[i]));
              word[i] = bf16_to_float(halves.back());
            } else if (form == cuda::TableForm::int8) {
              bytes.push_back(static_cast<int8_t>(random()));
              word[i] = static_cast<float>(bytes.back()) * scales[i / static_cast<size_t>(cols)];
            }
          }
          table = form == cuda::TableForm::f32    ? static_cast<const void*>(bench.put(word))
                  : form == cuda::TableForm::int8 ? static_cast<const void*>(bench.put(bytes))
                                                  : static_cast<const void*>(bench.put(halves));
          std::vector<int32_t> ids, at, types;
          std::vector<float> sum;
          for (int64_t r = 0; r < rows; ++r) {
            ids.push_back(static_cast<int32_t>(random() % vocabulary));
            at.push_back(static_cast<int32_t>(random() % positions));
            types.push_back(static_cast<int32_t>(random() % 2));
            for (int64_t c = 0; c < cols; ++c)
              sum.push_back(word[static_cast<size_t>(ids.back() * cols + c)] +
                            (with_types ? type[static_cast<size_t>(types.back() * cols + c)] : 0) +
                            position[static_cast<size_t>(at.back() * cols + c)]);
          }
          const auto expected = layer_norm_of_floats(sum, rows, cols, gamma, beta, 1e-5f);
          cuda::Embeddings call{};
          call.rows = bench.put_one(static_cast<int32_t>(rows));
          call.most_rows = rows + 5;
          call.cols = cols;
          call.ids = bench.put(ids);
          call.positions = bench.put(at);
          call.types = bench.put(types);
          call.word = table;
          call.word_form = form;
          call.word_scales = bench.put(scales);
          call.position = bench.put(position);
          call.type = with_types ? bench.put(type) : nullptr;
          call.result = {bench.put(gamma), bench.put(beta), 1e-5f, bench.take<float>(rows * cols),
                         take_operand(bench, cuda::Form::int8, rows, cols, 2)};
          bench.kernels().embedding(call, bench.stream());
          const auto y = bench.get(call.result.x, rows * cols);
          for (size_t i = 0; i < y.size(); ++i) CHECK_EQUAL(y[i], expected[i]);
          check_quantized(bench, call.result.operand, y, rows);
          // Of sums rounded to float16, which are kept.
          uint16_t* sums = bench.take<uint16_t>(rows * cols);
          cuda::RowStats* stats = bench.take<cuda::RowStats>(rows);
          call.result.operand = take_operand(bench, cuda::Form::int8, rows, cols, 2);
          call.result.x = nullptr;
          call.result.gamma = bench.put(in_order(gamma, cols));
          call.result.beta = bench.put(in_order(beta, cols));
          call.result.sums = sums;
          call.result.stats = stats;
          bench.kernels().embedding(call, bench.stream());
          const auto of_rounded = layer_norm_of_cpu(sum, rows, cols, gamma, beta, 1e-5f);
          const auto rounded = round_to_halves(sum);
          CHECK(bench.get(sums, rows * cols) == in_order(rounded, cols));
          check_quantized(bench, call.result.operand, in_order(of_rounded, cols), rows, true);
          const auto taken = bench.get(stats, rows);
          for (int64_t i = 0; i < rows * cols; ++i) {
            const auto [mean, scale] = taken[static_cast<size_t>(i / cols)];
            const size_t at = static_cast<size_t>(i), column = static_cast<size_t>(i % cols);
            CHECK_EQUAL(std::fma((sum[at] - mean) * scale, gamma[column], beta[column]), of_rounded[at]);
          }
        }
}

TEST(cuda_rows, first_rows) {
  std::mt19937_64 random = generator(10);
  const std::vector<int32_t> offsets = {0, 1, 4, 9, 70};
  for (GpuDevice* device : cuda_devices())
    for (const int64_t cols : {1, 127, 300}) {
      CudaBench bench(*device);
      auto x = random_floats(random, 70 * cols);
      const auto halves = round_to_halves(x);
      std::vector<cuda::RowStats> stats;
      for (int i = 0; i < 70; ++i) stats.push_back({static_cast<float>(i), static_cast<float>(-i)});
      uint16_t* y = bench.take<uint16_t>(5 * cols);
      cuda::RowStats* y_stats = bench.take<cuda::RowStats>(5);
      bench.kernels().first_rows({bench.put_one(int32_t{4}), 5, cols, bench.put(halves), bench.put(stats),
                                  bench.put(offsets), y, y_stats},
                                 bench.stream());
      const auto found = bench.get(y, 5 * cols);
      const auto found_stats = bench.get(y_stats, 5);
      for (int64_t s = 0; s < 5; ++s) {
        const int64_t row = offsets[static_cast<size_t>(s)];
        if (s < 4) CHECK_EQUAL(found_stats[static_cast<size_t>(s)].mean, static_cast<float>(row));
        if (s < 4) CHECK_EQUAL(found_stats[static_cast<size_t>(s)].scale, static_cast<float>(-row));
        for (int64_t c = 0; c < cols; ++c)
          CHECK_EQUAL(found[static_cast<size_t>(s * cols + c)],
                      s < 4 ? halves[static_cast<size_t>(row * cols + c)] : uint16_t{0x7f7f});
      }
    }
}

TEST(cuda_rows, pooling) {
  std::mt19937_64 random = generator(5);
  const std::vector<int32_t> offsets = {0, 1, 4, 9, 70};
  for (GpuDevice* device : cuda_devices())
    for (const int64_t cols : {1, 127, 300})
      for (const bool mean : {false, true}) {
        CudaBench bench(*device);
        const auto x = random_floats(random, 70 * cols);
        float* y = bench.take<float>(5 * cols);
        bench.kernels().pooling({bench.put_one(int32_t{4}), 5, cols, bench.put(x), bench.put(offsets), mean, y},
                                bench.stream());
        const auto found = bench.get(y, 5 * cols);
        for (int64_t s = 0; s < 4; ++s)
          for (int64_t c = 0; c < cols; ++c) {
            const int64_t begin = offsets[static_cast<size_t>(s)];
            const int64_t end = mean ? offsets[static_cast<size_t>(s + 1)] : begin + 1;
            float sum = 0;
            for (int64_t t = begin; t < end; ++t) sum += x[static_cast<size_t>(t * cols + c)];
            CHECK_EQUAL(found[static_cast<size_t>(s * cols + c)], sum * (1.0f / static_cast<float>(end - begin)));
          }
        for (int64_t c = 0; c < cols; ++c) CHECK(float_to_half(found[static_cast<size_t>(4 * cols + c)]) == 0x7c00);
      }
}
