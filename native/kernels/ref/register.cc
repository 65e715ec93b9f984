#include "kernels/kernel_table.h"

namespace whittle {

namespace ref {

void layer_norm(const float* x, int64_t x_stride, int64_t rows, int64_t cols, const float* gamma, const float* beta,
                float eps, float* y, int64_t y_stride, float* mean, float* rstd);
void layer_norm_backward(const float* dy, const float* x, const float* gamma, const float* mean, const float* rstd,
                         int64_t rows, int64_t cols, float* dx, float* dgamma, float* dbeta);
void softmax(const float* x, int64_t x_stride, int64_t rows, int64_t cols, float* y, int64_t y_stride);
void gelu(const float* x, int64_t count, float* y);
void gelu_backward(const float* x, const float* dy, int64_t count, float* dx);
int64_t attention_scratch(int64_t length, int64_t);
void attention(const float* q, const float* k, const float* v, int64_t stride, int64_t length, int64_t head_size,
               float scale, const float* score_bias, float* scratch, float* out, int64_t out_stride, float* lse,
               const KeepMask* keep);
void attention_bf16(const float* q, const float* k, const float* v, int64_t stride, int64_t length, int64_t head_size,
                    float scale, const float* score_bias, float* scratch, float* out, int64_t out_stride, float* lse,
                    const KeepMask* keep);
int64_t attention_backward_scratch(int64_t, int64_t);
void attention_backward(const float* q, const float* k, const float* v, int64_t stride, int64_t length,
                        int64_t head_size, float scale, const float* score_bias, const float* out, const float* dout,
                        int64_t out_stride, const float* lse, const KeepMask* keep, float*, float* dq, float* dk,
                        float* dv);
void dropout_bits(const uint32_t key[2], const uint32_t counter[3], uint32_t threshold, int64_t count, uint8_t* bits);
void dropout(const float* x, int64_t rows, int64_t cols, const float* bias, const KeepMask& keep, const float* residual,
             float* y);
void column_sums(const float* x, int64_t x_stride, int64_t rows, int64_t cols, float* sums);
double sum_of_squares(const float* x, int64_t count);
void magnitude_histogram(const float* x, int64_t count, int64_t* counts);
void magnitude_mask(const float* x, int64_t count, float threshold, uint8_t* mask);
void apply_mask(float* x, const uint8_t* mask, int64_t count);
void adamw(float* p, const float* g, float* m, float* v, int64_t count, float learning_rate, float beta1, float beta2,
           float eps, float weight_decay, float grad_scale, float correction1, float correction2);

}  // namespace ref

void register_ref(KernelTable& table) {
  table.layer_norm = ref::layer_norm;
  table.layer_norm_backward = ref::layer_norm_backward;
  table.softmax = ref::softmax;
  table.gelu = ref::gelu;
  table.gelu_backward = ref::gelu_backward;
  table.attention_scratch = ref::attention_scratch;
  table.attention = ref::attention;
  table.attention_bf16 = ref::attention_bf16;
  table.attention_backward_scratch = ref::attention_backward_scratch;
  table.attention_backward = ref::attention_backward;
  table.dropout_bits = ref::dropout_bits;
  table.dropout = ref::dropout;
  table.column_sums = ref::column_sums;
  table.sum_of_squares = ref::sum_of_squares;
  table.magnitude_histogram = ref::magnitude_histogram;
  table.magnitude_mask = ref::magnitude_mask;
  table.apply_mask = ref::apply_mask;
  table.adamw = ref::adamw;
}

}  // namespace whittle
