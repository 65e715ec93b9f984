#include <cstring>

#include "ops/attention.h"
#include "training/hidden_dropout.h"
#include "training/partial_sums.h"
#include "training/products.h"
#include "training/transformer_block.h"

namespace whittle {

namespace {

class Backward {
 public:
  Backward(const BlockShape& shape, const BlockOptions& options, const BlockTensors<const float>& parameters,
           const float* x, const BlockSaved& saved, const BlockTensors<float>& gradients, const Context& context)
      : context_(context),
        kernels_(context.kernels),
        shape_(shape),
        options_(options),
        p_(parameters),
        x_(x),
        saved_(saved),
        gradients_(gradients),
        products_(options.precision, context),
        tokens_(shape.tokens()),
        hidden_(shape.hidden),
        intermediate_(shape.intermediate),
        blocks_((tokens_ + products_.block_rows(tokens_) - 1) / products_.block_rows(tokens_)) {}

  void run(const float* dy, float* dx) {
    float* middle_gradient = floats(hidden_);  // of the residual stream, from below y down to x
    float* attended_gradient = floats(hidden_);
    after_attention(dy, middle_gradient, attended_gradient);
    if (!dx && !wants_projections()) return;
    float* qkv_gradient = floats(3 * hidden_);
    attention_gradients(attended_gradient, qkv_gradient);
    before_attention(qkv_gradient, middle_gradient, dx);
  }

 private:
  float* floats(int64_t columns) { return context_.arena.take<float>(tokens_ * columns); }
  PartialSums sums(int64_t cols) { return PartialSums(blocks_, cols, context_.arena); }
  bool wants_projections() const {
    return gradients_.query_weight || gradients_.query_bias || gradients_.key_weight || gradients_.key_bias ||
           gradients_.value_weight || gradients_.value_bias || gradients_.position_bias;
  }

  // From dy down to the gradient of the attention's output; `middle_gradient` is that of x + dropout(...).
  void after_attention(const float* dy, float* middle_gradient, float* attended_gradient) {
    Arena::Scope scope(context_.arena);
    const HiddenDropout attention_dropout(
        {options_.hidden_dropout, options_.seed, options_.step, options_.layer, DropoutSite::attention_output}, hidden_,
        kernels_);
    const HiddenDropout output_dropout(
        {options_.hidden_dropout, options_.seed, options_.step, options_.layer, DropoutSite::output}, hidden_,
        kernels_);
    float* middle = floats(hidden_);           // output of the attention's LayerNorm, computed again
    float* activated = floats(intermediate_);  // gelu(intermediate), computed again
    float* intermediate_gradient = floats(intermediate_);
    float* down_gradient = floats(hidden_);              // at the output of the down projection
    float* attention_output_gradient = floats(hidden_);  // at the output of the attention's output projection
    const PartialSums output_norm_weight = sums(hidden_), output_norm_bias = sums(hidden_), output_bias = sums(hidden_),
                      intermediate_bias = sums(intermediate_), attention_norm_weight = sums(hidden_),
                      attention_norm_bias = sums(hidden_), attention_output_bias = sums(hidden_);
    const PackedMatrix down = products_.pack(p_.output_weight, 1, intermediate_, intermediate_, hidden_);
    const PackedMatrix up = products_.pack(p_.intermediate_weight, 1, hidden_, hidden_, intermediate_);
    const PackedMatrix attention_output = products_.pack(p_.attention_output_weight, 1, hidden_, hidden_, hidden_);

    products_.row_blocks(tokens_, [&](int64_t block, int64_t begin, int64_t end) {
      const int64_t rows = end - begin, at = begin * hidden_, wide_at = begin * intermediate_;
      Arena::Scope block_scope(thread_arena());
      float* residual = thread_arena().take<float>(rows * hidden_);
      kernels_.layer_norm_backward(dy + at, saved_.output_sum + at, p_.output_norm_weight, saved_.output_mean + begin,
                                   saved_.output_rstd + begin, rows, hidden_, residual, output_norm_weight.of(block),
                                   output_norm_bias.of(block));
      output_dropout.backward(residual, begin, end, down_gradient + at);
      kernels_.column_sums(down_gradient + at, hidden_, rows, hidden_, output_bias.of(block));

      float* wide = intermediate_gradient + wide_at;
      products_.multiply(down_gradient + at, hidden_, rows, down, wide, intermediate_, false);
      kernels_.gelu_backward(saved_.intermediate + wide_at, wide, rows * intermediate_, wide);
      kernels_.column_sums(wide, intermediate_, rows, intermediate_, intermediate_bias.of(block));
      if (gradients_.output_weight)
        kernels_.gelu(saved_.intermediate + wide_at, rows * intermediate_, activated + wide_at);

      products_.multiply(wide, intermediate_, rows, up, residual, hidden_, true);
      if (gradients_.intermediate_weight) {
        kernels_.layer_norm(saved_.middle_sum + at, hidden_, rows, hidden_, p_.attention_norm_weight,
                            p_.attention_norm_bias, options_.norm_epsilon, middle + at, hidden_, nullptr, nullptr);
      }
      kernels_.layer_norm_backward(residual, saved_.middle_sum + at, p_.attention_norm_weight,
                                   saved_.middle_mean + begin, saved_.middle_rstd + begin, rows, hidden_,
                                   middle_gradient + at, attention_norm_weight.of(block),
                                   attention_norm_bias.of(block));
      attention_dropout.backward(middle_gradient + at, begin, end, attention_output_gradient + at);
      kernels_.column_sums(attention_output_gradient + at, hidden_, rows, hidden_, attention_output_bias.of(block));
      products_.multiply(attention_output_gradient + at, hidden_, rows, attention_output, attended_gradient + at,
                         hidden_, false);
    });

    output_norm_weight.merge(gradients_.output_norm_weight, kernels_);
    output_norm_bias.merge(gradients_.output_norm_bias, kernels_);
    output_bias.merge(gradients_.output_bias, kernels_);
    intermediate_bias.merge(gradients_.intermediate_bias, kernels_);
    attention_norm_weight.merge(gradients_.attention_norm_weight, kernels_);
    attention_norm_bias.merge(gradients_.attention_norm_bias, kernels_);
    attention_output_bias.merge(gradients_.attention_output_bias, kernels_);
    products_.weight_gradient(down_gradient, hidden_, hidden_, activated, intermediate_, tokens_,
                              &gradients_.output_weight, 1);
    products_.weight_gradient(intermediate_gradient, intermediate_, intermediate_, middle, hidden_, tokens_,
                              &gradients_.intermediate_weight, 1);
    products_.weight_gradient(attention_output_gradient, hidden_, hidden_, saved_.attended, hidden_, tokens_,
                              &gradients_.attention_output_weight, 1);
  }

  void attention_gradients(const float* attended_gradient, float* qkv_gradient) {
    const Dropout probabilities{options_.attention_dropout, options_.seed, options_.step, options_.layer,
                                DropoutSite::attention_probabilities};
    attention_backward({saved_.qkv,
                        saved_.qkv + hidden_,
                        saved_.qkv + 2 * hidden_,
                        3 * hidden_,
                        shape_.offsets,
                        shape_.sequences,
                        shape_.heads,
                        hidden_ / shape_.heads,
                        saved_.attended,
                        hidden_,
                        options_.attention_dropout > 0 ? &probabilities : nullptr,
                        {p_.position_bias, shape_.max_distance}},
                       attended_gradient, qkv_gradient, qkv_gradient + hidden_, qkv_gradient + 2 * hidden_,
                       gradients_.position_bias, context_);
  }

  void before_attention(const float* qkv_gradient, const float* middle_gradient, float* dx) {
    Arena::Scope scope(context_.arena);
    const float* weights[3] = {p_.query_weight, p_.key_weight, p_.value_weight};
    float* weight_gradients[3] = {gradients_.query_weight, gradients_.key_weight, gradients_.value_weight};
    PackedMatrix packed[3] = {};
    if (dx) {
      for (int part = 0; part < 3; ++part) packed[part] = products_.pack(weights[part], 1, hidden_, hidden_, hidden_);
    }
    const PartialSums query_bias = sums(hidden_), key_bias = sums(hidden_), value_bias = sums(hidden_);
    const PartialSums* biases[3] = {&query_bias, &key_bias, &value_bias};
    products_.row_blocks(tokens_, [&](int64_t block, int64_t begin, int64_t end) {
      if (dx) {
        std::memcpy(dx + begin * hidden_, middle_gradient + begin * hidden_,
                    static_cast<size_t>((end - begin) * hidden_) * sizeof(float));
      }
      for (int part = 0; part < 3; ++part) {
        const float* gradient = qkv_gradient + begin * 3 * hidden_ + part * hidden_;
        kernels_.column_sums(gradient, 3 * hidden_, end - begin, hidden_, biases[part]->of(block));
        if (dx) {
          products_.multiply(gradient, 3 * hidden_, end - begin, packed[part], dx + begin * hidden_, hidden_, true);
        }
      }
    });
    query_bias.merge(gradients_.query_bias, kernels_);
    key_bias.merge(gradients_.key_bias, kernels_);
    value_bias.merge(gradients_.value_bias, kernels_);
    products_.weight_gradient(qkv_gradient, 3 * hidden_, hidden_, x_, hidden_, tokens_, weight_gradients, 3);
  }

  const Context& context_;
  const KernelTable& kernels_;
  const BlockShape& shape_;
  const BlockOptions& options_;
  const BlockTensors<const float>& p_;
  const float* x_;
  const BlockSaved& saved_;
  const BlockTensors<float>& gradients_;
  const Products products_;
  const int64_t tokens_, hidden_, intermediate_;
  const int64_t blocks_;
};

}  // namespace

void transformer_block_backward(const BlockShape& shape, const BlockOptions& options,
                                const BlockTensors<const float>& parameters, const float* x, float* saved_buffer,
                                const float* dy, float* dx, const BlockTensors<float>& gradients,
                                const Context& context) {
  Arena::Scope scope(context.arena);
  if (!saved_buffer) {
    saved_buffer = context.arena.take<float>(BlockSaved::floats(shape.tokens(), shape.hidden, shape.intermediate));
    Arena::Scope forward_scope(context.arena);
    float* y = context.arena.take<float>(shape.tokens() * shape.hidden);
    transformer_block_forward(shape, options, parameters, x, y, saved_buffer, context);
  }
  const BlockSaved saved = BlockSaved::within(saved_buffer, shape);
  Backward(shape, options, parameters, x, saved, gradients, context).run(dy, dx);
}

}  // namespace whittle
