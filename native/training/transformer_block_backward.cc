#include <algorithm>

#include "ops/attention.h"
#include "training/block_saved.h"
#include "training/hidden_dropout.h"
#include "training/partial_sums.h"
#include "training/products.h"
#include "training/transformer_block.h"

namespace whittle {

namespace {

void run_attention_backward(const Attention& forward, const float*, const float* dout, float* dqkv, int64_t part,
                            float* dbias, const Context& context) {
  attention_backward(forward, dout, dqkv, dqkv + part, dqkv + 2 * part, dbias, context);
}
void run_attention_backward(const AttentionOf<bf16>& forward, const float* softmax, const bf16* dout, bf16* dqkv,
                            int64_t part, float* dbias, const Context& context) {
  attention_backward(forward, softmax, dout, dqkv, dqkv + part, dqkv + 2 * part, dbias, context);
}

// T: float or bf16, what operands are.
template <typename T>
class Backward {
 public:
  Backward(const BlockShape& shape, const BlockOptions& options, const BlockTensors<const float>& parameters,
           const BlockPacked& packed, const float* x, const BlockSaved<T>& saved, const BlockTensors<float>& gradients,
           const Context& context)
      : context_(context),
        kernels_(context.kernels),
        shape_(shape),
        options_(options),
        p_(parameters),
        packed_(packed),
        x_(x),
        saved_(saved),
        gradients_(gradients),
        products_(context),
        tokens_(shape.tokens()),
        hidden_(shape.hidden),
        intermediate_(shape.intermediate),
        stride_(operand_stride<T>(hidden_)),
        wide_stride_(operand_stride<T>(intermediate_)),
        part_(BlockSaved<T>::part_stride(hidden_)),
        blocks_((tokens_ + products_.block_rows(tokens_) - 1) / products_.block_rows(tokens_)) {}

  void run(const float* dy, float* dx) {
    // Of the residual stream, from below y down to x.
    float* middle_gradient = dx ? dx : context_.arena.take<float>(tokens_ * hidden_);
    T* attended_gradient = context_.arena.take<T>(tokens_ * stride_);
    after_attention(dy, middle_gradient, attended_gradient);
    if (!dx && !wants_projections()) return;
    attention_gradients(attended_gradient);
    before_attention(dx);
  }

 private:
  PartialSums sums(int64_t cols) { return PartialSums(blocks_, cols, context_.arena); }
  bool wants_projections() const {
    return gradients_.query_weight || gradients_.query_bias || gradients_.key_weight || gradients_.key_bias ||
           gradients_.value_weight || gradients_.value_bias || gradients_.position_bias;
  }

  // From dy down to the gradient of the attention's output; `middle_gradient` is that of x + dropout(...).
  void after_attention(const float* dy, float* middle_gradient, T* attended_gradient) {
    Arena::Scope scope(context_.arena);
    const HiddenDropout attention_dropout(
        {options_.hidden_dropout, options_.seed, options_.step, options_.layer, DropoutSite::attention_output}, hidden_,
        kernels_);
    const HiddenDropout output_dropout(
        {options_.hidden_dropout, options_.seed, options_.step, options_.layer, DropoutSite::output}, hidden_,
        kernels_);
    T* middle = context_.arena.take<T>(tokens_ * stride_);  // output of the attention's LayerNorm, computed again
    T* activated = context_.arena.take<T>(tokens_ * wide_stride_);  // gelu(intermediate), computed again
    T* intermediate_gradient = saved_.intermediate;                 // takes the place of what GELU was given
    T* down_gradient = context_.arena.take<T>(tokens_ * stride_);   // at the output of the down projection
    T* attention_output_gradient = context_.arena.take<T>(tokens_ * stride_);  // at that of the attention's projection
    const PartialSums output_norm_weight = sums(hidden_), output_norm_bias = sums(hidden_), output_bias = sums(hidden_),
                      intermediate_bias = sums(intermediate_), attention_norm_weight = sums(hidden_),
                      attention_norm_bias = sums(hidden_), attention_output_bias = sums(hidden_);
    const PackedMatrix down =
        products_.pack_transposed_weight(p_.output_weight, packed_.output, hidden_, intermediate_);
    const PackedMatrix up =
        products_.pack_transposed_weight(p_.intermediate_weight, packed_.intermediate, intermediate_, hidden_);
    const PackedMatrix attention_output =
        products_.pack_transposed_weight(p_.attention_output_weight, packed_.attention_output, hidden_, hidden_);

    products_.row_blocks(tokens_, [&](int64_t block, int64_t begin, int64_t end) {
      const int64_t rows = end - begin, at = begin * hidden_;
      float* residual = thread_arena().take<float>(rows * hidden_);
      kernels_.layer_norm_backward(dy + at, saved_.output_sum + at, p_.output_norm_weight, saved_.output_mean + begin,
                                   saved_.output_rstd + begin, rows, hidden_, residual, output_norm_weight.of(block),
                                   output_norm_bias.of(block));
      drop_and_keep(output_dropout, residual, begin, end, down_gradient, output_bias.of(block));

      T* wide = intermediate_gradient + begin * wide_stride_;
      products_.multiply_by_columns(
          down_gradient + begin * stride_, stride_, rows, down, [&](const float* c, int64_t from, int64_t to) {
            T* kept = gradients_.output_weight ? activated + begin * wide_stride_ + from : nullptr;
            gelu_gradient(kernels_, wide + from, wide_stride_, c, products_.columns_at_once(), rows, to - from, kept,
                          intermediate_bias.of(block) + from);
          });

      products_.multiply(wide, wide_stride_, rows, up, residual, hidden_, true);
      if (gradients_.intermediate_weight) {
        Arena::Scope norm_scope(thread_arena());
        const KeptRows<T> normed(middle + begin * stride_, rows, hidden_, kernels_);
        kernels_.layer_norm(saved_.middle_sum + at, hidden_, rows, hidden_, p_.attention_norm_weight,
                            p_.attention_norm_bias, options_.norm_epsilon, normed.rows(), hidden_, nullptr, nullptr);
        normed.keep();
      }
      kernels_.layer_norm_backward(residual, saved_.middle_sum + at, p_.attention_norm_weight,
                                   saved_.middle_mean + begin, saved_.middle_rstd + begin, rows, hidden_,
                                   middle_gradient + at, attention_norm_weight.of(block),
                                   attention_norm_bias.of(block));
      drop_and_keep(attention_dropout, middle_gradient + at, begin, end, attention_output_gradient,
                    attention_output_bias.of(block));
      const KeptRows<T> attended(attended_gradient + begin * stride_, rows, hidden_, kernels_);
      products_.multiply(attention_output_gradient + begin * stride_, stride_, rows, attention_output, attended.rows(),
                         hidden_, false);
      attended.keep();
    });

    output_norm_weight.merge(gradients_.output_norm_weight, kernels_);
    output_norm_bias.merge(gradients_.output_norm_bias, kernels_);
    output_bias.merge(gradients_.output_bias, kernels_);
    intermediate_bias.merge(gradients_.intermediate_bias, kernels_);
    attention_norm_weight.merge(gradients_.attention_norm_weight, kernels_);
    attention_norm_bias.merge(gradients_.attention_norm_bias, kernels_);
    attention_output_bias.merge(gradients_.attention_output_bias, kernels_);
    products_.weight_gradient(down_gradient, stride_, 0, hidden_, activated, wide_stride_, intermediate_, tokens_,
                              &gradients_.output_weight, 1);
    products_.weight_gradient(intermediate_gradient, wide_stride_, 0, intermediate_, middle, stride_, hidden_, tokens_,
                              &gradients_.intermediate_weight, 1);
    products_.weight_gradient(attention_output_gradient, stride_, 0, hidden_, saved_.attended, stride_, hidden_,
                              tokens_, &gradients_.attention_output_weight, 1);
  }

  // Dropout of the rows [begin, end) of a gradient, kept in their place in `kept`, and added to `sums`.
  void drop_and_keep(const HiddenDropout& dropout, const float* gradient, int64_t begin, int64_t end, T* kept,
                     float* sums) const {
    Arena::Scope scope(thread_arena());
    const KeptRows<T> dropped(kept + begin * stride_, end - begin, hidden_, kernels_);
    dropout.backward(gradient, begin, end, dropped.rows());
    kernels_.column_sums(dropped.rows(), hidden_, end - begin, hidden_, sums);
    dropped.keep();
  }

  // The gradients of queries, keys and values take their places.
  void attention_gradients(const T* attended_gradient) {
    const Dropout probabilities{options_.attention_dropout, options_.seed, options_.step, options_.layer,
                                DropoutSite::attention_probabilities};
    run_attention_backward({saved_.qkv,
                            saved_.qkv + part_,
                            saved_.qkv + 2 * part_,
                            3 * part_,
                            shape_.offsets,
                            shape_.sequences,
                            shape_.heads,
                            hidden_ / shape_.heads,
                            saved_.attended,
                            stride_,
                            options_.attention_dropout > 0 ? &probabilities : nullptr,
                            {p_.position_bias, shape_.max_distance}},
                           saved_.softmax, attended_gradient, saved_.qkv, part_, gradients_.position_bias, context_);
  }

  // dx, unless null, holds the residual stream's gradient and is added to.
  void before_attention(float* dx) {
    Arena::Scope scope(context_.arena);
    float* weight_gradients[3] = {gradients_.query_weight, gradients_.key_weight, gradients_.value_weight};
    PackedMatrix packed[3] = {};
    if (dx) {
      packed[0] = products_.pack_transposed_weight(p_.query_weight, packed_.query, hidden_, hidden_);
      packed[1] = products_.pack_transposed_weight(p_.key_weight, packed_.key, hidden_, hidden_);
      packed[2] = products_.pack_transposed_weight(p_.value_weight, packed_.value, hidden_, hidden_);
    }
    const PartialSums query_bias = sums(hidden_), value_bias = sums(hidden_);
    // Softmax does not see what all keys have in common: the gradient of the keys' bias is 0, and sums would be nothing
    // but rounding errors, which Adam would scale up.
    const PartialSums* biases[3] = {&query_bias, nullptr, &value_bias};
    products_.row_blocks(tokens_, [&](int64_t block, int64_t begin, int64_t end) {
      for (int part = 0; part < 3; ++part) {
        const T* gradient = saved_.qkv + begin * 3 * part_ + part * part_;
        if (biases[part]) column_sums(kernels_, gradient, 3 * part_, end - begin, hidden_, biases[part]->of(block));
        if (dx) {
          products_.multiply(gradient, 3 * part_, end - begin, packed[part], dx + begin * hidden_, hidden_, true);
        }
      }
    });
    query_bias.merge(gradients_.query_bias, kernels_);
    if (gradients_.key_bias) std::fill_n(gradients_.key_bias, hidden_, 0.0f);
    value_bias.merge(gradients_.value_bias, kernels_);
    products_.weight_gradient(saved_.qkv, 3 * part_, part_, hidden_, x_, hidden_, hidden_, tokens_, weight_gradients,
                              3);
  }

  const Context& context_;
  const KernelTable& kernels_;
  const BlockShape& shape_;
  const BlockOptions& options_;
  const BlockTensors<const float>& p_;
  const BlockPacked& packed_;
  const float* x_;
  const BlockSaved<T>& saved_;
  const BlockTensors<float>& gradients_;
  const Products<T> products_;
  const int64_t tokens_, hidden_, intermediate_;
  const int64_t stride_, wide_stride_, part_;  // see BlockSaved
  const int64_t blocks_;
};

template <typename T>
void run_backward(const BlockShape& shape, const BlockOptions& options, const BlockTensors<const float>& parameters,
                  const BlockPacked& packed, const float* x, float* saved, const float* dy, float* dx,
                  const BlockTensors<float>& gradients, const Context& context) {
  const BlockSaved<T> parts = BlockSaved<T>::within(saved, shape);
  Backward<T>(shape, options, parameters, packed, x, parts, gradients, context).run(dy, dx);
}

}  // namespace

void transformer_block_backward(const BlockShape& shape, const BlockOptions& options,
                                const BlockTensors<const float>& parameters, const BlockPacked& packed, const float* x,
                                float* saved, const float* dy, float* dx, const BlockTensors<float>& gradients,
                                const Context& context) {
  Arena::Scope scope(context.arena);
  if (!saved) {
    saved = context.arena.take<float>(block_saved_floats(shape, shape.tokens(), options.precision, context.kernels));
    Arena::Scope forward_scope(context.arena);
    float* y = context.arena.take<float>(shape.tokens() * shape.hidden);
    transformer_block_forward(shape, options, parameters, packed, x, y, saved, context);
  }
  const auto run = keeps_bf16(options.precision, context.kernels) ? run_backward<bf16> : run_backward<float>;
  run(shape, options, parameters, packed, x, saved, dy, dx, gradients, context);
}

}  // namespace whittle
