#include "training/transformer_block.h"

#include <cstring>

#include "ops/attention.h"
#include "training/block_saved.h"
#include "training/hidden_dropout.h"
#include "training/products.h"

namespace whittle {

namespace {

void run_attention(const Attention& arguments, float*, const Context& context) {
  attention(arguments, Precision::float32, context);
}
void run_attention(const AttentionOf<bf16>& arguments, float* softmax, const Context& context) {
  attention(arguments, softmax, context);
}

template <typename T>
class Forward {
 public:
  // keep: whether what is saved is still needed afterwards.
  Forward(const BlockShape& shape, const BlockOptions& options, const BlockTensors<const float>& parameters,
          const BlockPacked& packed, const BlockSaved<T>& saved, bool keep, const Context& context)
      : context_(context),
        kernels_(context.kernels),
        shape_(shape),
        options_(options),
        p_(parameters),
        packed_(packed),
        saved_(saved),
        keep_(keep),
        products_(context),
        tokens_(shape.tokens()),
        hidden_(shape.hidden),
        intermediate_(shape.intermediate),
        part_(BlockSaved<T>::part_stride(shape.hidden)) {}

  void run(const float* x, float* y) {
    project(x);
    const Dropout probabilities{options_.attention_dropout, options_.seed, options_.step, options_.layer,
                                DropoutSite::attention_probabilities};
    run_attention({saved_.qkv,
                   saved_.qkv + part_,
                   saved_.qkv + 2 * part_,
                   3 * part_,
                   shape_.offsets,
                   shape_.sequences,
                   shape_.heads,
                   hidden_ / shape_.heads,
                   saved_.attended,
                   operand_stride<T>(hidden_),
                   options_.attention_dropout > 0 ? &probabilities : nullptr,
                   {p_.position_bias, shape_.max_distance}},
                  saved_.softmax, context_);
    after_attention(x, y);
  }

 private:
  // Queries, keys and values.
  void project(const float* x) {
    Arena::Scope scope(context_.arena);
    const float* biases[3] = {p_.query_bias, p_.key_bias, p_.value_bias};
    const PackedMatrix packed[3] = {products_.pack_weight(p_.query_weight, packed_.query, hidden_, hidden_),
                                    products_.pack_weight(p_.key_weight, packed_.key, hidden_, hidden_),
                                    products_.pack_weight(p_.value_weight, packed_.value, hidden_, hidden_)};
    products_.row_blocks(tokens_, [&](int64_t, int64_t begin, int64_t end) {
      const int64_t rows = end - begin;
      const T* in = as_operand<T>(x + begin * hidden_, rows, hidden_, kernels_);
      for (int part = 0; part < 3; ++part) {
        T* out = saved_.qkv + begin * 3 * part_ + part * part_;
        products_.multiply_by_columns(in, operand_stride<T>(hidden_), rows, packed[part],
                                      [&](const float* c, int64_t from, int64_t to) {
                                        add_bias(kernels_, c, products_.columns_at_once(), rows, to - from,
                                                 biases[part] + from, out + from, static_cast<T*>(nullptr), 3 * part_);
                                      });
      }
    });
    // Attention writes the columns of heads alone.
    clear_padding(saved_.attended, tokens_, hidden_);
  }

  void after_attention(const float* x, float* y) {
    Arena::Scope scope(context_.arena);
    const HiddenDropout attention_dropout(
        {options_.hidden_dropout, options_.seed, options_.step, options_.layer, DropoutSite::attention_output}, hidden_,
        kernels_);
    const HiddenDropout output_dropout(
        {options_.hidden_dropout, options_.seed, options_.step, options_.layer, DropoutSite::output}, hidden_,
        kernels_);
    const PackedMatrix attention_output =
        products_.pack_weight(p_.attention_output_weight, packed_.attention_output, hidden_, hidden_);
    const PackedMatrix up =
        products_.pack_weight(p_.intermediate_weight, packed_.intermediate, intermediate_, hidden_);
    const PackedMatrix down = products_.pack_weight(p_.output_weight, packed_.output, hidden_, intermediate_);
    const int64_t stride = operand_stride<T>(hidden_), wide_stride = operand_stride<T>(intermediate_);
    products_.row_blocks(tokens_, [&](int64_t, int64_t begin, int64_t end) {
      const int64_t rows = end - begin;
      Arena& arena = thread_arena();
      float* middle = arena.take<float>(rows * hidden_);
      T* activated = arena.take<T>(rows * wide_stride);
      float* sum = keep_ ? saved_.middle_sum + begin * hidden_ : arena.take<float>(rows * hidden_);
      products_.multiply(saved_.attended + begin * stride, stride, rows, attention_output, sum, hidden_, false);
      attention_dropout.forward(sum, begin, end, p_.attention_output_bias, x + begin * hidden_, sum);
      kernels_.layer_norm(sum, hidden_, rows, hidden_, p_.attention_norm_weight, p_.attention_norm_bias,
                          options_.norm_epsilon, middle, hidden_, saved_.middle_mean + begin,
                          saved_.middle_rstd + begin);

      T* before_gelu = keep_ ? saved_.intermediate + begin * wide_stride : arena.take<T>(rows * wide_stride);
      products_.multiply_by_columns(as_operand<T>(middle, rows, hidden_, kernels_), stride, rows, up,
                                    [&](const float* c, int64_t from, int64_t to) {
                                      add_bias(kernels_, c, products_.columns_at_once(), rows, to - from,
                                               p_.intermediate_bias + from, before_gelu + from, activated + from,
                                               wide_stride);
                                    });

      if (keep_) sum = saved_.output_sum + begin * hidden_;
      products_.multiply(activated, wide_stride, rows, down, sum, hidden_, false);
      output_dropout.forward(sum, begin, end, p_.output_bias, middle, sum);
      kernels_.layer_norm(sum, hidden_, rows, hidden_, p_.output_norm_weight, p_.output_norm_bias,
                          options_.norm_epsilon, y + begin * hidden_, hidden_, saved_.output_mean + begin,
                          saved_.output_rstd + begin);
    });
  }

  const Context& context_;
  const KernelTable& kernels_;
  const BlockShape& shape_;
  const BlockOptions& options_;
  const BlockTensors<const float>& p_;
  const BlockPacked& packed_;
  const BlockSaved<T>& saved_;
  const bool keep_;
  const Products<T> products_;
  const int64_t tokens_, hidden_, intermediate_, part_;
};

template <typename T>
void run_forward(const BlockShape& shape, const BlockOptions& options, const BlockTensors<const float>& parameters,
                 const BlockPacked& packed, const float* x, float* y, float* buffer, const Context& context) {
  Arena::Scope scope(context.arena);
  const bool keep = buffer != nullptr;
  BlockSaved<T> saved;
  if (keep) {
    saved = BlockSaved<T>::within(buffer, shape);
  } else {
    saved = BlockSaved<T>::without_sums(shape, context.arena);
  }
  Forward<T>(shape, options, parameters, packed, saved, keep, context).run(x, y);
}

}  // namespace

int64_t block_saved_floats(const BlockShape& shape, int64_t tokens, Precision precision, const KernelTable& kernels) {
  return keeps_bf16(precision, kernels)
             ? BlockSaved<bf16>::floats(tokens, shape.hidden, shape.heads, shape.intermediate)
             : BlockSaved<float>::floats(tokens, shape.hidden, shape.heads, shape.intermediate);
}

void transformer_block_forward(const BlockShape& shape, const BlockOptions& options,
                               const BlockTensors<const float>& parameters, const BlockPacked& packed, const float* x,
                               float* y, float* saved, const Context& context) {
  const auto run = keeps_bf16(options.precision, context.kernels) ? run_forward<bf16> : run_forward<float>;
  run(shape, options, parameters, packed, x, y, saved, context);
}

}  // namespace whittle
