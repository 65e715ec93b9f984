// The one table of kernels. A kernel is a pure function over pointers and shapes: no allocation, no threads,
// no global state. native/kernels/dispatch.cc fills the table from ref/ upwards to the chosen ISA: an ISA that
// has no kernel of its own for an operation keeps the one of the ISA below it.
#pragma once

#include <cstdint>

#include "cpu/isa.h"
#include "kernels/outliers.h"

namespace whittle {

using bf16 = uint16_t;  // the upper half of a float32

// Columns of a byte or bf16 left operand are padded to a multiple of this many elements.
inline constexpr int64_t kPadK = 64;
static inline int64_t padded_k(int64_t k) {  // static: no copy of it compiled for one ISA may serve another
  return (k + kPadK - 1) / kPadK * kPadK;
}

// What takes sums of a product: rows [row, row + rows) of columns [column, column + columns), at most 64 and from a
// multiple of 64 behind the first on; kFinishedStride apart, and free to be written over.
inline constexpr int64_t kFinishedStride = 64, kFinishedSums = 128 * kFinishedStride;
template <typename TC>
struct FinishSums {
  void (*call)(void* context, TC* sums, int64_t row, int64_t rows, int64_t column, int64_t columns);
  void* context;
};

inline constexpr int64_t kUsualMostRows = 96;

// A product C[m, n] = A[m, k] * W[n, k]^T with W packed once in the layout of the ISA.
// A: row-major; TA is uint8_t, bf16 or float. Columns [k, padded_k(k)) of A exist: zeros for bf16, anything for bytes.
// Bytes stand for a - 128, from -128 to 127: unsigned by signed is what the instructions multiply.
// TW is what pack() reads: float for a bf16 product, which rounds to nearest even while it packs.
// Every element of C is one chain of additions in the order of k: it depends neither on m nor on the range of n.
template <typename TA, typename TW, typename TC>
struct PackedProduct {
  // Columns of C that one panel of W covers: n ranges given to pack() and run() start at a multiple of it.
  int64_t panel;
  int64_t rows;  // Rows of C that the inner loop computes at once: blocks of a multiple of it are fastest.
  int64_t (*packed_bytes)(int64_t n, int64_t k);
  // W element (r, c) is w[r * row_stride + c * column_stride]: packs a matrix or its transpose.
  // Packs the panels that cover [n_begin, n_end), so that several threads can share the work.
  void (*pack)(const TW* w, int64_t row_stride, int64_t column_stride, int64_t n, int64_t k, int64_t n_begin,
               int64_t n_end, void* packed);
  // c: [m, n_end - n_begin] written at c[row * c_stride + (column - n_begin)]. accumulate: adds to c.
  // n_end may go on to the next multiple of 16 behind n, as if W had rows of zeros there.
  void (*run)(const TA* a, int64_t a_stride, const void* packed, int64_t m, int64_t n, int64_t k, int64_t n_begin,
              int64_t n_end, TC* c, int64_t c_stride, bool accumulate);
  // A block of rows takes as long as one of the next multiple of this many.
  int64_t row_unit = 1;
  // As run() without accumulation, for sums that are used at once: calls finish for parts of C, which together cover
  // it, each once, as soon as they are known. sums: scratch, kFinishedSums elements. Null where a caller does as well
  // with run().
  void (*run_finishing)(const TA* a, int64_t a_stride, const void* packed, int64_t m, int64_t n, int64_t k,
                        int64_t n_begin, int64_t n_end, TC* sums, const FinishSums<TC>& finish) = nullptr;
  // As pack(), for bytes of A that stand for themselves, from 0 to 255. Null for other elements than bytes.
  void (*pack_unsigned)(const TW* w, int64_t row_stride, int64_t column_stride, int64_t n, int64_t k, int64_t n_begin,
                        int64_t n_end, void* packed) = nullptr;
  // Rows that each part of W is read for at once: where products are fast, W comes too slowly for fewer.
  int64_t most_rows = kUsualMostRows;
  // Elements between rows of sums in scratch memory: rows 2,048 bytes apart would share few sets of the caches.
  int64_t sums_gap = 0;
};

// Which elements dropout keeps, one bit an element (bit c % 8 of byte c / 8), rows `stride` bytes apart; those kept are
// multiplied by scale = 1 / (1 - rate). dropout_bits makes them.
struct KeepMask {
  const uint8_t* bits;
  int64_t stride;
  float scale;
};

// Added to the scaled scores: element (i, j) is data[i * stride + j]. Stride -1 makes one row of 2 * length - 1
// elements serve all queries, for a bias that depends on j - i alone; data is then its element of distance 0.
struct ScoreBias {
  const float* data;
  int64_t stride;
};

// gelu: x * (1 + erf(x / sqrt 2)) / 2, of int8 products the polynomial of gelu_polynomial.h.
enum class Activation : int { none = 0, gelu, tanh };

// No result of GELU is below -0.169998 (kernels/gelu_polynomial.h).
inline constexpr float kGeluLowest = 0.17f;

// A tile of an int8 product, and what is to be added to its sums before they are scaled.
struct SumsS8 {
  const int32_t* sums;  // [rows, cols], rows `stride` apart
  int64_t stride;
  const float* row_scales;     // [rows]
  const float* column_scales;  // [cols]
  // offsets[r] * column_sums[c]: rows whose zero is not 128. Null: none.
  const int32_t* offsets;      // [rows]
  const int32_t* column_sums;  // [cols], of W over k
  // The outliers of each row times their columns of W; without offsets only. Null: none.
  const RowOutliers* outliers;  // [rows]
  const int8_t* columns;        // W^T [k, cols], rows `columns_stride` apart
  int64_t columns_stride;
};

struct KernelTable {
  Isa isa;
  bool native_bf16;  // the ISA multiplies bf16 natively (AVX-512 BF16 or AMX); else the engine uses float32

  // --- products -----------------------------------------------------------------------------------------
  PackedProduct<uint8_t, int8_t, int32_t> gemm_s8;  // exact for all bytes: every ISA gives the same int32
  // The same, where it is faster for matrices as small as those of short sequences: on AMX that of VNNI.
  PackedProduct<uint8_t, int8_t, int32_t> small_gemm_s8;
  PackedProduct<float, float, float> gemm_f32;
  PackedProduct<bf16, float, float> gemm_bf16;  // A by convert_f32_bf16

  // --- row-wise -----------------------------------------------------------------------------------------
  // q[r, c] = round_half_even(x[r, c] * (127 / m_r)), m_r = max |x[r, :]|, scales[r] = m_r / 127; a row with
  // m_r < 1e-36 counts as zeros, with scale 0. Columns [cols, padded_k(cols)) of q are set to zero. x is finite.
  // Bit-identical on every ISA; -128 does not occur.
  void (*quantize_rows_s8)(const float* x, int64_t x_stride, int64_t rows, int64_t cols, int8_t* q, int64_t q_stride,
                           float* scales);
  // Activations as bytes: q[r, c] - 128 = round_half_even(x[r, c] * (127 / limit_r)) kept within [-128, 127],
  // scales[r] = limit_r / 127, with limit_r = max |x[r, :]|, or with most > 0 as kernels/outliers.h says, up to `most`
  // outliers then going to outliers[r]. A row with limit_r < 1e-36 counts as zeros, with scale 0. Columns [cols,
  // padded_k(cols)) of q are written. x is finite, most <= kMostOutliers. Bit-identical on every ISA.
  void (*quantize_rows_u8)(const float* x, int64_t x_stride, int64_t rows, int64_t cols, int most, uint8_t* q,
                           int64_t q_stride, float* scales, RowOutliers* outliers);
  // GELU's results, which are at least -kGeluLowest, in all 255 steps between it and the row's maximum m_r (0 at
  // least): q[r, c] - 128 = round_half_even(fma(x, 254 / (m_r + kGeluLowest), zero_r - 128)), where
  // zero_r = round_half_even(kGeluLowest * (254 / (m_r + kGeluLowest))) stands for 0; offsets[r] = 128 - zero_r.
  // Bit-identical on every ISA.
  void (*quantize_gelu_u8)(const float* x, int64_t x_stride, int64_t rows, int64_t cols, uint8_t* q, int64_t q_stride,
                           float* scales, int32_t* offsets);
  // layer_norm of x rounded to float16's values (ref/float16.h), as GPUs keep it between a product and this, then
  // quantize_rows_u8 of y. x may be y. Bit-identical on every ISA.
  void (*layer_norm_u8)(const float* x, int64_t x_stride, int64_t rows, int64_t cols, const float* gamma,
                        const float* beta, float eps, float* y, int64_t y_stride, int most, uint8_t* q,
                        int64_t q_stride, float* scales, RowOutliers* outliers);
  void (*widen_f16)(const uint16_t* x, int64_t count, float* y);
  void (*widen_s8)(const int8_t* x, float scale, int64_t count, float* y);  // y = x * scale
  // Round to nearest even; columns [cols, padded_k(cols)) of y are set to zero. Numbers below 1.2e-38 may become zero.
  void (*convert_f32_bf16)(const float* x, int64_t x_stride, int64_t rows, int64_t cols, bf16* y, int64_t y_stride);
  // y[c, r] = x[r, c]; the second rounds as convert_f32_bf16 does and sets columns [rows, padded_k(rows)) of y to zero.
  void (*transpose_f32)(const float* x, int64_t x_stride, int64_t rows, int64_t cols, float* y, int64_t y_stride);
  void (*transpose_f32_bf16)(const float* x, int64_t x_stride, int64_t rows, int64_t cols, bf16* y, int64_t y_stride);
  // y = act(fma(sums * row_scales[r], column_scales[c], bias[c])) + residual[r, c]; bias and residual may be null; y may
  // be the memory of the sums. GELU is that of kernels/gelu_polynomial.h. Bit-identical on every ISA but for tanh.
  void (*epilogue_s8)(const SumsS8& sums, int64_t rows, int64_t cols, const float* bias, Activation act,
                      const float* residual, int64_t residual_stride, float* y, int64_t y_stride);
  // y = act(c + bias[c]) + residual[r, c]; y may be c.
  void (*epilogue_f32)(const float* c, int64_t c_stride, int64_t rows, int64_t cols, const float* bias, Activation act,
                       const float* residual, int64_t residual_stride, float* y, int64_t y_stride);
  // y = (x - mean) / sqrt(variance + eps) * gamma + beta, row by row; mean and rstd [rows] may be null. y may be x.
  void (*layer_norm)(const float* x, int64_t x_stride, int64_t rows, int64_t cols, const float* gamma,
                     const float* beta, float eps, float* y, int64_t y_stride, float* mean, float* rstd);
  // dx from dy; dgamma and dbeta [cols] are added to.
  void (*layer_norm_backward)(const float* dy, const float* x, const float* gamma, const float* mean, const float* rstd,
                              int64_t rows, int64_t cols, float* dx, float* dgamma, float* dbeta);
  // Row by row, with the maximum taken off; y may be x.
  void (*softmax)(const float* x, int64_t x_stride, int64_t rows, int64_t cols, float* y, int64_t y_stride);
  void (*gelu)(const float* x, int64_t count, float* y);
  void (*gelu_backward)(const float* x, const float* dy, int64_t count, float* dx);  // dx = dy * gelu'(x)

  // --- attention, one head of one sequence ----------------------------------------------------------------
  // out[i, :] = softmax_j(scale * q_i . k_j + bias[i, j]) v_j. q, k, v, out: [length, head_size], rows `stride`
  // (`out_stride`) apart. bias: or null. scratch: attention_scratch(length, head_size) floats.
  // keep (training only, else null): dropout of the probabilities, [length, length], stride an even number of bytes.
  int64_t (*attention_scratch)(int64_t length, int64_t head_size);
  void (*attention)(const float* q, const float* k, const float* v, int64_t stride, int64_t length, int64_t head_size,
                    float scale, const ScoreBias* bias, float* scratch, float* out, int64_t out_stride,
                    const KeepMask* keep);
  // The same with bf16 products, where the table says native_bf16; float32 softmax.
  int64_t (*attention_bf16_scratch)(int64_t length, int64_t head_size);
  void (*attention_bf16)(const float* q, const float* k, const float* v, int64_t stride, int64_t length,
                         int64_t head_size, float scale, const ScoreBias* bias, float* scratch, float* out,
                         int64_t out_stride, const KeepMask* keep);
  // --- attention in integers, what kernels/byte_attention.h says; bit-identical on every ISA -----------------
  // q[r, h * head_size + c] = quantize_rows_s8 of head h of row r, xor `flip` (0x80: as the left operand of gemm_s8),
  // and scales[h * scale_stride + r]. x: [rows, heads * head_size].
  void (*quantize_heads_s8)(const float* x, int64_t x_stride, int64_t rows, int64_t heads, int64_t head_size,
                            uint8_t flip, int8_t* q, int64_t q_stride, float* scales, int64_t scale_stride);
  // Weights [rows, length] from products of bytes [rows, length], their keys' scales, and their values' scales over the
  // largest of them (ratios) and those ratios' logarithms; and what the weights' products with values are to be
  // multiplied by to be the row's result, but for that largest scale (factors [rows]). bias: seen from the first row
  // and key 0, or null. Columns from `length` to padded_k(length) may be written, and the products may.
  void (*softmax_u8)(int32_t* products, int64_t stride, int64_t rows, int64_t length, const float* row_scales,
                     const float* key_scales, const float* value_ratios, const float* value_logarithms,
                     const ScoreBias* bias, uint8_t* weights, int64_t weights_stride, float* factors);
  // y = sums * factors[r] as float16 holds it: to the nearest, ties to even, at most 65504. sums: [rows, cols].
  void (*scale_sums_f16)(const int32_t* sums, int64_t stride, int64_t rows, int64_t cols, const float* factors,
                         float* y, int64_t y_stride);
  // Gradients dq, dk, dv (rows `stride` apart like q, k, v, which they may be; overwritten) from dout [length,
  // head_size], rows `dout_stride` apart. scratch: attention_backward_scratch(length, head_size) floats. dbias: laid
  // out as bias->data and added to, or null.
  int64_t (*attention_backward_scratch)(int64_t length, int64_t head_size);
  void (*attention_backward)(const float* q, const float* k, const float* v, int64_t stride, int64_t length,
                             int64_t head_size, float scale, const ScoreBias* bias, const float* dout,
                             int64_t dout_stride, const KeepMask* keep, float* scratch, float* dq, float* dk, float* dv,
                             float* dbias);

  // --- training in bf16, where the table says native_bf16 ---------------------------------------------------
  // Rows of bf16 are what products take: columns [cols, padded_k(cols)) are set to zero.
  // y = round(c + bias[c]); activated, unless null, = round(gelu(y)), rows y_stride apart too.
  void (*epilogue_bf16)(const float* c, int64_t c_stride, int64_t rows, int64_t cols, const float* bias, bf16* y,
                        bf16* activated, int64_t y_stride);
  // dx = round(dy * gelu'(x)) and, unless null, activated = round(gelu(x)), rows x_stride apart as those of x.
  // sums[c] += the sum over rows of dx before rounding.
  void (*gelu_backward_bf16)(const bf16* x, int64_t x_stride, const float* dy, int64_t dy_stride, int64_t rows,
                             int64_t cols, bf16* dx, bf16* activated, float* sums);
  // sums[c] += sum over rows of x[r, c].
  void (*column_sums_bf16)(const bf16* x, int64_t x_stride, int64_t rows, int64_t cols, float* sums);
  // y[c, r] = x[r, c]; columns [rows, padded_k(rows)) of y are set to zero.
  void (*transpose_bf16)(const bf16* x, int64_t x_stride, int64_t rows, int64_t cols, bf16* y, int64_t y_stride);
  // As gemm_bf16.pack() for W[n, k] with element (r, c) at x[c * x_stride + r].
  void (*pack_transposed_bf16)(const bf16* x, int64_t x_stride, int64_t n, int64_t k, int64_t n_begin, int64_t n_end,
                               void* packed);
  // What rows [begin, end) of W [n, k] are in gemm_bf16's packed forms of W and of its transpose. `begin` is a multiple
  // of 32, and so is `end` unless it is n.
  void (*pack_weight_bf16)(const float* w, int64_t n, int64_t k, int64_t begin, int64_t end, void* packed,
                           void* transposed);
  // attention_bf16 on bf16 that keeps what its backward pass needs: softmax [2, length], the largest score of each
  // query (with scale and bias) and 1 / the sum of its exponentials.
  int64_t (*attention_forward_bf16_scratch)(int64_t length, int64_t head_size);
  void (*attention_forward_bf16)(const bf16* q, const bf16* k, const bf16* v, int64_t stride, int64_t length,
                                 int64_t head_size, float scale, const ScoreBias* bias, float* scratch, bf16* out,
                                 int64_t out_stride, float* softmax, const KeepMask* keep);
  // As attention_backward.
  int64_t (*attention_backward_bf16_scratch)(int64_t length, int64_t head_size);
  void (*attention_backward_bf16)(const bf16* q, const bf16* k, const bf16* v, int64_t stride, int64_t length,
                                  int64_t head_size, float scale, const ScoreBias* bias, const bf16* dout,
                                  int64_t dout_stride, const float* softmax, const KeepMask* keep, float* scratch,
                                  bf16* dq, bf16* dk, bf16* dv, float* dbias);

  // --- dropout --------------------------------------------------------------------------------------------
  // Keep bits of `count` elements from Philox4x32-10 (Salmon et al. 2011) with the given key and counter
  // {n, counter[0], counter[1], counter[2]}. A block is n = 16 * block up to 16 * block + 15, 4 words each, seen as
  // 128 uint16 in the order word, n, half; element c, of block c / 128, is kept where its uint16 >= threshold
  // (= rate * 65536, rounded).
  // Writes whole blocks: ceil(count / 128) * 16 bytes. Bit-identical on every ISA.
  void (*dropout_bits)(const uint32_t key[2], const uint32_t counter[3], uint32_t threshold, int64_t count,
                       uint8_t* bits);
  // y[r, c] = keep[r, c] * (x[r, c] + bias[c]) + residual[r, c]; all rows cols apart; bias and residual may be null;
  // y may be x.
  void (*dropout)(const float* x, int64_t rows, int64_t cols, const float* bias, const KeepMask& keep,
                  const float* residual, float* y);

  // --- sums -----------------------------------------------------------------------------------------------
  // sums[c] += sum over rows of x[r, c].
  void (*column_sums)(const float* x, int64_t x_stride, int64_t rows, int64_t cols, float* sums);
  double (*sum_of_squares)(const float* x, int64_t count);
  // row_sums[r] += sum over columns of (scale * x[r, c])^2, column_sums[c] += the sum over rows; rows cols apart.
  void (*square_sums)(const float* x, int64_t rows, int64_t cols, float scale, float* row_sums, float* column_sums);

  // --- compression and optimization ---------------------------------------------------------------------
  // counts[b] += how many |x| have their upper 16 bits (sign off) equal b, b in [0, 32768): one pass of the radix
  // selection of a magnitude threshold.
  void (*magnitude_histogram)(const float* x, int64_t count, int64_t* counts);
  // mask[i] = |x[i]| > threshold ? 1 : 0.
  void (*magnitude_mask)(const float* x, int64_t count, float threshold, uint8_t* mask);
  // x[i] = mask[i] ? x[i] : 0.
  void (*apply_mask)(float* x, const uint8_t* mask, int64_t count);
  // AdamW (Loshchilov and Hutter 2019): m, v are updated; p -= lr * (m_hat / (sqrt(v_hat) + eps) + decay * p).
  // The gradient is g * grad_scale + gradient_decay * p: grad_scale clips, gradient_decay is Adam's L2 term. g null:
  // all zero. correction1 = 1 - beta1^t, correction2 = 1 - beta2^t.
  void (*adamw)(float* p, const float* g, float* m, float* v, int64_t count, float learning_rate, float beta1,
                float beta2, float eps, float weight_decay, float gradient_decay, float grad_scale, float correction1,
                float correction2);
  // Stochastic gradient descent (Sutskever et al. 2013, as torch.optim.SGD has it): with d = g * grad_scale + decay *
  // p, velocity = momentum * velocity + d; p -= lr * velocity, or with nesterov lr * (d + momentum * velocity).
  // velocity null: p -= lr * d.
  void (*sgd)(float* p, const float* g, float* velocity, int64_t count, float learning_rate, float momentum,
              bool nesterov, float weight_decay, float grad_scale);
  // Lion (Chen et al. 2023): with d = g * grad_scale, p -= lr * (sign(beta1 * m + (1 - beta1) * d) + decay * p), then
  // m = beta2 * m + (1 - beta2) * d. The sign of 0 is 0.
  void (*lion)(float* p, const float* g, float* m, int64_t count, float learning_rate, float beta1, float beta2,
               float weight_decay, float grad_scale);
  // Adafactor (Shazeer and Stern 2018) with the second moment of element (r, c) factored: the direction is
  // d[r, c] = g[r, c] * grad_scale * min(limit, row_factors[r] * column_factors[c]), rows cols apart.
  // The first gives the sum of its squares, the second moves p -= step * d + decay * p.
  double (*adafactor_squares)(const float* g, int64_t rows, int64_t cols, float grad_scale, const float* row_factors,
                              const float* column_factors, float limit);
  void (*adafactor)(float* p, const float* g, int64_t rows, int64_t cols, float grad_scale, const float* row_factors,
                    const float* column_factors, float limit, float step, float decay);
  // average += share * (x - average).
  void (*moving_average)(float* average, const float* x, int64_t count, float share);
  // x is cut to within [-limit, limit]; what is not a number stays.
  void (*clip_by_value)(float* x, int64_t count, float limit);

  // --- measurement --------------------------------------------------------------------------------------
  // Multiplies and adds from registers as fast as the ISA can, on the calling thread; returns how many operations it
  // did, a multiplication and an addition counting as two. Null where the table has no such product of its own.
  int64_t (*peak_s8)(int64_t rounds);
  int64_t (*peak_f32)(int64_t rounds);
  int64_t (*peak_bf16)(int64_t rounds);
};

// The table of the best ISA, or of WHITTLE_ISA. Throws Error (BAD_OPTION) with one sentence if the variable names no
// ISA or one that this machine lacks.
const KernelTable& kernels();
// The table of a given ISA, for tests and forced choices; null if the machine lacks it.
const KernelTable* kernels_for(Isa isa);

// Each folder's register.cc. Overwrites the entries that its ISA does better.
void register_ref(KernelTable& table);
void register_avx2(KernelTable& table);
void register_avxvnni(KernelTable& table);
void register_avx512(KernelTable& table);
void register_vnni(KernelTable& table, bool with_bf16);
void register_amx(KernelTable& table);

}  // namespace whittle
