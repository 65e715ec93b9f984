#include "training/transformer_block.h"

#include "ops/attention.h"
#include "training/hidden_dropout.h"
#include "training/products.h"

namespace whittle {

int64_t BlockSaved::floats(int64_t tokens, int64_t hidden, int64_t intermediate) {
  return tokens * (6 * hidden + intermediate + 4);
}

BlockSaved BlockSaved::within(float* buffer, const BlockShape& shape) {
  const int64_t tokens = shape.tokens();
  const auto take = [&](int64_t columns) {
    float* part = buffer;
    buffer += tokens * columns;
    return part;
  };
  BlockSaved saved;
  saved.qkv = take(3 * shape.hidden);
  saved.attended = take(shape.hidden);
  saved.middle_sum = take(shape.hidden);
  saved.output_sum = take(shape.hidden);
  saved.intermediate = take(shape.intermediate);
  saved.middle_mean = take(1);
  saved.middle_rstd = take(1);
  saved.output_mean = take(1);
  saved.output_rstd = take(1);
  return saved;
}

void transformer_block_forward(const BlockShape& shape, const BlockOptions& options, const BlockTensors<const float>& p,
                               const float* x, float* y, float* saved_buffer, const Context& context) {
  const KernelTable& kernels = context.kernels;
  const int64_t tokens = shape.tokens(), hidden = shape.hidden, intermediate = shape.intermediate;
  Arena::Scope scope(context.arena);
  if (!saved_buffer) {
    saved_buffer = context.arena.take<float>(BlockSaved::floats(tokens, hidden, intermediate));
  }
  const BlockSaved saved = BlockSaved::within(saved_buffer, shape);
  const Products products(options.precision, context);

  const PackedMatrix qkv_weights[3] = {products.pack(p.query_weight, hidden, 1, hidden, hidden),
                                       products.pack(p.key_weight, hidden, 1, hidden, hidden),
                                       products.pack(p.value_weight, hidden, 1, hidden, hidden)};
  const float* qkv_biases[3] = {p.query_bias, p.key_bias, p.value_bias};
  products.row_blocks(tokens, [&](int64_t, int64_t begin, int64_t end) {
    for (int part = 0; part < 3; ++part) {
      float* out = saved.qkv + begin * 3 * hidden + part * hidden;
      products.multiply(x + begin * hidden, hidden, end - begin, qkv_weights[part], out, 3 * hidden, false);
      kernels.epilogue_f32(out, 3 * hidden, end - begin, hidden, qkv_biases[part], Activation::none, nullptr, 0, out,
                           3 * hidden);
    }
  });

  const Dropout probabilities{options.attention_dropout, options.seed, options.step, options.layer,
                              DropoutSite::attention_probabilities};
  attention({saved.qkv,
             saved.qkv + hidden,
             saved.qkv + 2 * hidden,
             3 * hidden,
             shape.offsets,
             shape.sequences,
             shape.heads,
             hidden / shape.heads,
             saved.attended,
             hidden,
             options.attention_dropout > 0 ? &probabilities : nullptr,
             {p.position_bias, shape.max_distance}},
            options.precision, context);

  const HiddenDropout attention_dropout(
      {options.hidden_dropout, options.seed, options.step, options.layer, DropoutSite::attention_output}, hidden,
      kernels);
  const HiddenDropout output_dropout(
      {options.hidden_dropout, options.seed, options.step, options.layer, DropoutSite::output}, hidden, kernels);
  const PackedMatrix attention_output = products.pack(p.attention_output_weight, hidden, 1, hidden, hidden);
  const PackedMatrix up = products.pack(p.intermediate_weight, hidden, 1, intermediate, hidden);
  const PackedMatrix down = products.pack(p.output_weight, intermediate, 1, hidden, intermediate);
  products.row_blocks(tokens, [&](int64_t, int64_t begin, int64_t end) {
    const int64_t rows = end - begin, at = begin * hidden;
    Arena::Scope block_scope(thread_arena());
    float* middle = thread_arena().take<float>(rows * hidden);
    float* activated = thread_arena().take<float>(rows * intermediate);
    float* sum = saved.middle_sum + at;
    products.multiply(saved.attended + at, hidden, rows, attention_output, sum, hidden, false);
    attention_dropout.forward(sum, begin, end, p.attention_output_bias, x + at, sum);
    kernels.layer_norm(sum, hidden, rows, hidden, p.attention_norm_weight, p.attention_norm_bias, options.norm_epsilon,
                       middle, hidden, saved.middle_mean + begin, saved.middle_rstd + begin);

    float* before_gelu = saved.intermediate + begin * intermediate;
    products.multiply(middle, hidden, rows, up, before_gelu, intermediate, false);
    kernels.epilogue_f32(before_gelu, intermediate, rows, intermediate, p.intermediate_bias, Activation::none, nullptr,
                         0, before_gelu, intermediate);
    kernels.gelu(before_gelu, rows * intermediate, activated);

    sum = saved.output_sum + at;
    products.multiply(activated, intermediate, rows, down, sum, hidden, false);
    output_dropout.forward(sum, begin, end, p.output_bias, middle, sum);
    kernels.layer_norm(sum, hidden, rows, hidden, p.output_norm_weight, p.output_norm_bias, options.norm_epsilon,
                       y + at, hidden, saved.output_mean + begin, saved.output_rstd + begin);
  });
}

}  // namespace whittle
