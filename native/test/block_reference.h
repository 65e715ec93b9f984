// The encoder layer forward in double, written for reading: the oracle of the gradient checks.
#pragma once

#include <cmath>
#include <vector>

#include "kernels/kernel_table.h"
#include "ops/dropout.h"
#include "training/transformer_block.h"

namespace whittle::test {

using Doubles = std::vector<double>;

// The 17 parameters in the order of BlockTensors (the last, the position bias, may be empty), and x.
struct ReferenceBlock {
  BlockShape shape;
  BlockOptions options;

  std::vector<int64_t> sizes() const {
    const int64_t h = shape.hidden, i = shape.intermediate;
    return {h * h,
            h,
            h * h,
            h,
            h * h,
            h,
            h * h,
            h,
            h,
            h,
            i * h,
            i,
            h * i,
            h,
            h,
            h,
            shape.heads * (2 * shape.max_distance - 1) * (shape.max_distance > 0),
            shape.tokens() * h};
  }

  Doubles forward(const std::vector<Doubles>& p) const {
    const int64_t hidden = shape.hidden, tokens = shape.tokens();
    const Doubles& x = p[17];
    const Doubles attended = attention(product(x, p[0], p[1], hidden), product(x, p[2], p[3], hidden),
                                       product(x, p[4], p[5], hidden), p[16]);
    Doubles sum = dropped(product(attended, p[6], p[7], hidden), DropoutSite::attention_output);
    for (size_t i = 0; i < sum.size(); ++i) sum[i] += x[i];
    const Doubles middle = norm(sum, p[8], p[9]);
    Doubles wide = product(middle, p[10], p[11], hidden);
    for (double& value : wide) value = 0.5 * value * std::erfc(-value / std::sqrt(2.0));
    sum = dropped(product(wide, p[12], p[13], shape.intermediate), DropoutSite::output);
    for (int64_t i = 0; i < tokens * hidden; ++i) sum[static_cast<size_t>(i)] += middle[static_cast<size_t>(i)];
    return norm(sum, p[14], p[15]);
  }

 private:
  static Doubles product(const Doubles& a, const Doubles& w, const Doubles& bias, int64_t k) {
    const size_t n = bias.size(), rows = a.size() / static_cast<size_t>(k), depth = static_cast<size_t>(k);
    Doubles c(rows * n);
    for (size_t r = 0; r < rows; ++r) {
      for (size_t j = 0; j < n; ++j) {
        double total = bias[j];
        for (size_t l = 0; l < depth; ++l) total += a[r * depth + l] * w[j * depth + l];
        c[r * n + j] = total;
      }
    }
    return c;
  }

  Doubles norm(const Doubles& x, const Doubles& gamma, const Doubles& beta) const {
    const size_t cols = gamma.size();
    Doubles y(x.size());
    for (size_t r = 0; r < x.size() / cols; ++r) {
      double mean = 0, variance = 0;
      for (size_t c = 0; c < cols; ++c) mean += x[r * cols + c] / static_cast<double>(cols);
      for (size_t c = 0; c < cols; ++c) variance += std::pow(x[r * cols + c] - mean, 2) / static_cast<double>(cols);
      for (size_t c = 0; c < cols; ++c) {
        y[r * cols + c] = (x[r * cols + c] - mean) / std::sqrt(variance + options.norm_epsilon) * gamma[c] + beta[c];
      }
    }
    return y;
  }

  // Factor of element `column` of `row` at a site: 0 or 1 / (1 - rate).
  std::vector<double> factors(float rate, DropoutSite site, int64_t row, int64_t count) const {
    std::vector<double> all(static_cast<size_t>(count), 1.0);
    if (rate == 0) return all;
    const Dropout dropout{rate, options.seed, options.step, options.layer, site};
    std::vector<uint8_t> bits(static_cast<size_t>(dropout_bit_bytes(count)));
    dropout.bits(static_cast<uint32_t>(row), count, bits.data(), *kernels_for(Isa::ref));
    for (size_t c = 0; c < all.size(); ++c) all[c] = (bits[c / 8] >> (c % 8) & 1) ? dropout.scale() : 0;
    return all;
  }

  Doubles dropped(Doubles x, DropoutSite site) const {
    const size_t cols = static_cast<size_t>(shape.hidden);
    for (size_t r = 0; r < x.size() / cols; ++r) {
      const auto factor = factors(options.hidden_dropout, site, static_cast<int64_t>(r), shape.hidden);
      for (size_t c = 0; c < cols; ++c) x[r * cols + c] *= factor[c];
    }
    return x;
  }

  Doubles attention(const Doubles& q, const Doubles& k, const Doubles& v, const Doubles& bias) const {
    const int64_t hidden = shape.hidden, size = hidden / shape.heads;
    const auto at = [&](int64_t token, int64_t head, int64_t d) {
      return static_cast<size_t>(token * hidden + head * size + d);
    };
    Doubles out(q.size());
    for (int64_t s = 0; s < shape.sequences; ++s) {
      const int64_t begin = shape.offsets[s], length = shape.offsets[s + 1] - begin;
      const int64_t row_bits = (length + 15) / 16 * 16;
      for (int64_t head = 0; head < shape.heads; ++head) {
        const auto factor = factors(options.attention_dropout, DropoutSite::attention_probabilities,
                                    s * shape.heads + head, length * row_bits);
        for (int64_t i = 0; i < length; ++i) {
          Doubles weight(static_cast<size_t>(length));
          double sum = 0;
          for (int64_t j = 0; j < length; ++j) {
            double score = 0;
            for (int64_t d = 0; d < size; ++d) score += q[at(begin + i, head, d)] * k[at(begin + j, head, d)];
            score /= std::sqrt(static_cast<double>(size));
            if (!bias.empty()) {
              const int64_t distance = shape.max_distance - 1 + j - i;
              score += bias[static_cast<size_t>(head * (2 * shape.max_distance - 1) + distance)];
            }
            weight[static_cast<size_t>(j)] = std::exp(score);
            sum += weight[static_cast<size_t>(j)];
          }
          for (int64_t j = 0; j < length; ++j) {
            const double probability =
                weight[static_cast<size_t>(j)] / sum * factor[static_cast<size_t>(i * row_bits + j)];
            for (int64_t d = 0; d < size; ++d) out[at(begin + i, head, d)] += probability * v[at(begin + j, head, d)];
          }
        }
      }
    }
    return out;
  }
};

}  // namespace whittle::test
