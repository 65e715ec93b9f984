// The kernels of one kind of GPU, as the host calls them: each entry launches on a stream and returns. Plain C++, read
// by nvcc, by the executor and by the tests. Pointers are to device memory. How many rows there are lies in device
// memory too (`rows`), so that a captured graph serves every batch of up to `most_rows`, which sizes the launch.
#pragma once

#include <cstdint>

namespace whittle::cuda {

using Stream = void*;  // cudaStream_t, or the shim's

// --- operands of products ------------------------------------------------------------------------------------------
// Both operands of a product are stored in blocks of 128 rows by 128 bytes, one after the other: all blocks of rows 0
// to 127, then those of the next rows. A block is what one bulk copy moves and what wgmma reads: row r lies at r * 128,
// and its 16-byte chunk c at place c ^ (r % 8) (the 128-byte swizzling). Bytes behind the last column are zero; rows
// behind the last may hold anything.
inline constexpr int kBlockRows = 128, kRowBytes = 128, kBlockBytes = kBlockRows * kRowBytes;

// int8; bf16; or float32 as the sum of two bf16, high and low, whose product is three: high high, high low, low high.
// Error of a factor: 2^-9 for bf16, 2^-17 for split.
enum class Form : int { int8 = 0, bf16, split };

constexpr int64_t form_bytes(Form form) {  // of an element, in one of the form's parts
  return form == Form::int8 ? 1 : 2;
}
constexpr int form_parts(Form form) {
  return form == Form::split ? 2 : 1;
}
// Blocks that one part of k columns takes.
constexpr int64_t part_blocks(Form form, int64_t k) {
  return (k * form_bytes(form) + kRowBytes - 1) / kRowBytes;
}
constexpr int64_t operand_bytes(Form form, int64_t rows, int64_t k) {
  return (rows + kBlockRows - 1) / kBlockRows * form_parts(form) * part_blocks(form, k) * kBlockBytes;
}
// Where byte `byte` of row `row` lies in an operand whose rows take `blocks` blocks (parts together).
constexpr int64_t operand_offset(int64_t row, int64_t byte, int64_t blocks) {
  const int64_t chunk = (byte / 16 % 8) ^ (row % 8);
  return (row / kBlockRows * blocks + byte / kRowBytes) * kBlockBytes + row % kBlockRows * kRowBytes + chunk * 16 +
         byte % 16;
}

// Of a result: float32, float16, the operand of the next product (bf16 or split; operand_s8: int8, of gemm_gelu_s8), or
// heads: int8, with a scale for each head of each row.
enum class Format : int { f32 = 0, f16, operand, heads, operand_s8 };

// Whether products give Format::heads for heads of this size: a tile holds whole ones.
inline constexpr int64_t kMostHeadSize = 128;
constexpr bool product_gives_heads(int64_t head_size) {
  return head_size == 32 || head_size == 64 || head_size == kMostHeadSize;
}

// Weight rows are stored in an order in which each of the four threads q that share a row of a tile holds 16 bytes of
// the result side by side: of 32 columns, thread q has those of the stored rows j * 8 + q * 2 + e (j below 4, e below
// 2), which are columns q * 8 + j * 2 + e of a result of 16 bits or of heads, and j / 2 * 16 + q * 4 + j % 2 * 2 + e of
// one of float32. Of operand_s8 it has those of the stored rows p * 32 + j * 8 + q * 2 + e (p below 4) of 128, columns
// p / 2 * 64 + q * 16 + p % 2 * 8 + j * 2 + e.
constexpr int64_t stored_weight_row(int64_t column, Format format) {
  if (format == Format::operand_s8)
    return column / 128 * 128 + column / 64 % 2 * 64 + column / 8 % 2 * 32 + column / 2 % 4 * 8 + column / 16 % 4 * 2 +
           column % 2;
  const bool wide = format == Format::f32;
  const int64_t q = wide ? column / 4 % 4 : column / 8 % 4, e = column % 2;
  const int64_t j = wide ? column / 16 % 2 * 2 + column / 2 % 2 : column / 2 % 4;
  return column / 32 * 32 + j * 8 + q * 2 + e;
}
// Weights have rows of zeros up to a multiple of this.
inline constexpr int64_t kWeightRows = 256;

// An element that the int8 scale of its row cannot hold is `value` scales more than its int8 says, see
// KernelTable::find_outliers.
struct Outlier {
  int32_t column, value;
};
inline constexpr int kMostRowOutliers = 4;

// No result of GELU is below -0.169998 (kernels/gelu_polynomial.h).
inline constexpr float kGeluLowest = 0.17f;

// Activations as a product reads them. int8 has a scale a row, and of each row its outliers, at most `most_outliers`;
// or, for results of GELU, which are hardly ever negative, the int8 that stands for 0, with its sign changed.
struct Operand {
  Form form = Form::int8;
  int64_t k = 0;
  uint8_t* data = nullptr;            // operand_bytes(form, rows, k)
  float* scales = nullptr;            // [rows]
  int most_outliers = 0;              // of a row
  int32_t* outlier_counts = nullptr;  // [rows]
  Outlier* outliers = nullptr;        // [rows, most_outliers]
  int32_t* offsets = nullptr;         // [rows], or null: 0 stands for 0
};

enum class Activation : int { none = 0, gelu, tanh, relu };

// What LayerNorm takes of a row: (x - mean) * scale.
struct RowStats {
  float mean, scale;
};

// --- products -------------------------------------------------------------------------------------------------------
// y = activation(A W^T * scales + bias) + residual.
struct Gemm {
  const int32_t* rows;
  int64_t most_rows;
  int64_t n;
  Operand a;              // [rows, k]
  const uint8_t* w;       // operand_bytes(form, padded n, k), rows stored as stored_weight_row(row, format) says
  const float* w_scales;  // [n], int8
  const int8_t* columns;  // [k, n] W^T as it is, if rows of A may have outliers
  const int32_t* w_sums;  // [n] sums of the rows of W, if A has offsets
  const float* bias;      // [n] or null
  Activation activation;
  const void* residual;  // [rows, n] of y's format, f32 or f16, or null; added after the activation; may be y
  // LayerNorm of the residual, on its way: (residual - mean) * scale * gamma + beta. Null: as it is.
  const RowStats* residual_stats;               // [rows]
  const float *residual_gamma, *residual_beta;  // [n]
  Format format;  // of y: [rows, n], or the operand of the next product (bf16 or split)
  void* y;
  uint16_t* y_low;  // float16 [rows, n] or null: y - float16(y)
  Form y_form;      // if format is operand
  // Format::heads, of int8 products with a bias and without activation or residual. n is a multiple of head_size, one
  // that product_gives_heads.
  int64_t head_size;
  float* head_scales;         // [n / head_size, head_scale_stride]: a float for each row
  int64_t head_scale_stride;  // at least the rows
};

// A launch of gemm_gelu_s8: group g has the row tiles g, g + groups, ... of 64, a block each panel of 128 columns.
struct GeluGrid {
  int panels = 0, groups = 0, cluster = 1;  // panels side by side in a cluster
  bool possible() const { return groups > 0; }
};
// Where the blocks of a launch tell each other the maxima of their rows: zeros before the first launch, and used by one
// launch at a time, all of the same grid or of fewer groups.
inline constexpr int kGeluTurns = 4, kGeluRing = 2 * 3 * 64;  // words and rows of a group
constexpr int gelu_slots(int panels) {                        // of a row
  return (panels + 3) / 4 * 4;
}
constexpr int64_t gelu_exchange_words(const GeluGrid& grid) {
  return int64_t{grid.groups} * (kGeluTurns + kGeluRing * gelu_slots(grid.panels));
}

// y = what quantize_gelu_u8 makes of A W^T * scales + bias.
struct GemmGelu {
  const int32_t* rows;
  int64_t most_rows;
  int64_t n;              // a multiple of 128
  Operand a;              // [rows, k], int8, k at most 1024
  const uint8_t* w;       // rows stored for Format::operand_s8
  const float* w_scales;  // [n]
  const int8_t* columns;  // [k, n] W^T as it is, if rows of A may have outliers
  const float* bias;      // [n]
  Operand y;              // [rows, n]
  GeluGrid grid;          // gelu_grid's, for this n and k
  uint32_t* exchange;     // gelu_exchange_words
};

// --- the order of hidden columns in int8 ---------------------------------------------------------------------------
// LayerNorm's threads add columns 16 apart, in the CPU's order. So that each has 8 of them side by side, rows of these
// widths have their columns at other places wherever int8's LayerNorm reads or writes them: the sums that it reads, its
// gamma and beta, and the operand that it makes. Whoever packs a model's weights puts rows of those whose results are
// such sums, with their scales and biases, and columns of those that multiply such operands, in the same order.
constexpr bool sums_are_ordered(int64_t cols) {
  return cols == 384 || cols == 512 || cols == 768 || cols == 1024;
}
constexpr int64_t sum_place(int64_t column, int64_t cols) {
  return sums_are_ordered(cols) ? column / 128 * 128 + column % 16 * 8 + column % 128 / 16 : column;
}

// --- row by row -----------------------------------------------------------------------------------------------------
// What becomes of a row of float32: LayerNorm if there is gamma, then stored as float32 if there is x, then as operand
// if that has memory. x may be where the row comes from. Of rows of float16 in sum_place's order, and with sums, gamma,
// beta, sums and operand are in that order, x is not; the operand is then int8 with two outliers, or none.
struct RowResult {
  const float* gamma = nullptr;  // [cols]
  const float* beta = nullptr;   // [cols]
  float epsilon = 0;
  float* x = nullptr;  // [rows, cols]
  Operand operand = {};
  RowStats* stats = nullptr;  // [rows] or null, of LayerNorm
  // Of embeddings, [rows, cols] or null: the row as float16 before all that, which is then of what it holds.
  uint16_t* sums = nullptr;
};

// Rows to Format::heads, for heads of which products cannot make it: each head as quantize_rows_s8 has a row.
struct HeadRows {
  const int32_t* rows;
  int64_t most_rows, heads, head_size;
  const float* x;        // [rows, heads * head_size]
  int8_t* y;             // [rows, y_stride], zeros behind the last head
  int64_t y_stride;
  float* scales;         // [heads, scale_stride]
  int64_t scale_stride;  // at least the rows
};

enum class TableForm : int { f32 = 0, f16, bf16, int8 };

// word[ids] + type[types] + position[positions].
struct Embeddings {
  const int32_t* rows;
  int64_t most_rows, cols;
  const int32_t* ids;        // [rows]
  const int32_t* positions;  // [rows]
  const int32_t* types;      // [rows]
  const void* word;          // [vocabulary, cols]
  TableForm word_form;
  const float* word_scales;  // [vocabulary], int8
  const float* position;     // [positions, cols]
  const float* type;         // [types, cols] or null
  RowResult result;
};

struct Rows {
  const int32_t* rows;
  int64_t most_rows, cols;
  const float* in;  // [rows, cols]
  RowResult result;
  const uint16_t* halves = nullptr;  // [rows, cols] float16, of layer_norm and quantize_rows_s8 in place of in
};

// --- attention ------------------------------------------------------------------------------------------------------
// Queries `first` up to first + 63 of sequence `sequence`, which has the tokens from `begin` on.
inline constexpr int kAttentionQueries = 64;
inline constexpr int64_t kWidestHead = 128, kWidestSplitHead = 64;
struct alignas(16) AttentionTile {
  int32_t sequence, first, begin, length;
};

// softmax(q k^T / sqrt(head_size) + bias) v, sequence by sequence and head by head.
struct Attention {
  const int32_t* tile_count;
  int64_t most_tiles;
  const AttentionTile* tiles;  // [tile_count]
  const int32_t* offsets;      // [sequences + 1]
  int64_t heads, head_size;    // head_size at most kWidestHead, with low parts kWidestSplitHead
  const uint16_t* qkv;         // float16 [tokens, 3 * heads * head_size]
  const uint16_t* qkv_low;     // float16, or null
  const float* bias;           // [heads, 2 * max_distance - 1], as ops/attention.h has it, or null
  int64_t max_distance;
  bool first_only;  // row s of the result is the first query of sequence s, else row t is token t
  uint8_t* y;       // operand [rows, heads * head_size]
  Form y_form;      // bf16, with the low parts split
};

// The same over int8 with a scale a token and head, at most 8,191 tokens a sequence (kernels/byte_attention.h).
struct ByteAttention {
  int64_t most_tiles;
  const AttentionTile* tiles;  // [most_tiles], of length 0 behind the last
  int64_t heads, head_size;    // head_size at most kWidestHead
  const int8_t* qkv;           // [tokens, stride] q's heads, k's heads, v's heads; 16-byte aligned
  int64_t stride;              // bytes, a multiple of 16
  const float* scales;         // [3 * heads, scale_stride] q's, k's, v's: a float a token
  int64_t scale_stride;
  const float* bias;  // as Attention has it
  int64_t max_distance;
  bool first_only;  // as Attention has it
  uint16_t* y;      // float16 [rows, heads * head_size]
};

// [sequences, cols] float32 from x [tokens, cols]: the first row of each sequence, or the mean of its rows, summed from
// the first to the last.
struct Pooling {
  const int32_t* sequences;
  int64_t most_sequences, cols;
  const float* x;
  const int32_t* offsets;  // [sequences + 1]
  bool mean;
  float* y;
};

// The first row of each sequence, as it is, and what LayerNorm takes of it.
struct FirstRows {
  const int32_t* sequences;
  int64_t most_sequences, cols;
  const uint16_t* x;  // float16 [tokens, cols]
  const RowStats* stats;   // [tokens]
  const int32_t* offsets;  // [sequences + 1]
  uint16_t* y;             // [sequences, cols]
  RowStats* y_stats;       // [sequences]
};

// --- compression ----------------------------------------------------------------------------------------------------
inline constexpr int kUpperBins = 32768, kLowerBins = 65536;

// counts[b] += how many |x| have the upper 16 bits (sign off) b, below kUpperBins; or, within >= 0, how many of those
// whose upper bits are `within` have the lower 16 bits b.
struct MagnitudeHistogram {
  const float* x;  // 16-byte aligned
  int64_t count;
  int32_t within;
  uint64_t* counts;
};

inline constexpr int64_t kMaskBlock = 8192;  // elements

// mask[i] = |x[i]| > threshold ? 1 : 0, and ties[b] how many elements of block b are at the threshold. With ties_before,
// those from number cut_ties on, counted from ties_before[b] in block b, get 1 too, and ties is left alone.
struct MagnitudeMask {
  const float* x;  // 16-byte aligned
  int64_t count;
  float threshold;
  uint8_t* mask;               // [count], 4-byte aligned
  int32_t* ties;               // [blocks]
  const int64_t* ties_before;  // [blocks] or null
  int64_t cut_ties;
};

// Rows of weights to int8, as compress/quantize_weight.h has it.
struct WeightRows {
  const float* w;  // [rows, cols]
  int64_t rows, cols;
  int8_t* q;        // [rows, cols]
  float* scales;    // [rows]
  double* errors;   // [rows] sums of (w - q * scale)^2
  double* weights;  // [rows] sums of w^2
};

struct KernelTable {
  int capability;  // 10 * major + minor; 0: not set
  void (*gemm_s8)(const Gemm&, Stream);
  void (*gemm_bf16)(const Gemm&, Stream);         // bf16 and split
  // gemm_s8 and quantize_gelu_u8 in one, bit for bit, where gelu_grid says that it is possible. Its blocks wait for
  // each other: all of them must be at work at the same time.
  void (*gemm_gelu_s8)(const GemmGelu&, Stream);
  int gelu_blocks[3];  // of gemm_gelu_s8 that this GPU has at work at once, in clusters of 1, 2 and 4; 0: none
  void (*layer_norm)(const Rows&, Stream);        // of float32 or float16; then quantized or rounded
  void (*quantize_rows_s8)(const Rows&, Stream);  // of float32 or float16, no norm
  void (*quantize_heads_s8)(const HeadRows&, Stream);
  // No norm: x = GELU(in) >= -kGeluLowest, in all 255 steps between that and the row's maximum m (0 at least). With
  // z = round(kGeluLowest * 254 / (m + kGeluLowest)), int8 = round(fma(x, 254 / (m + kGeluLowest), z - 128)), offset
  // 128 - z. GELU is that of kernels/gelu_polynomial.h.
  void (*quantize_gelu_u8)(const Rows&, Stream);
  void (*convert_f32_bf16)(const Rows&, Stream);  // no norm
  void (*embedding)(const Embeddings&, Stream);
  // float16 factors, float32 softmax and sums, on the matrix units. With the low parts, factors are sums of two float16
  // and each product is three.
  void (*attention)(const Attention&, Stream);
  // int8 factors and weights of 8 bits on the matrix units, with the bits of the CPU's ops/attention_bytes.h.
  void (*attention_s8)(const ByteAttention&, Stream);
  void (*pooling)(const Pooling&, Stream);
  void (*first_rows)(const FirstRows&, Stream);
  void (*magnitude_histogram)(const MagnitudeHistogram&, Stream);
  void (*magnitude_mask)(const MagnitudeMask&, Stream);
  void (*quantize_weight_rows)(const WeightRows&, Stream);
};

// One a source. `capability` chooses among the kernels of a source; `multiprocessors` sizes persistent launches.
struct Target {
  int capability, multiprocessors;
};
// These three ask the current GPU how many blocks it has at work at once.
void add_gemm_s8(KernelTable& table, const Target& target);
void add_gemm_bf16(KernelTable& table, const Target& target);
void add_gemm_gelu_s8(KernelTable& table, const Target& target);
void add_layer_norm(KernelTable& table);
void add_quantize_rows_s8(KernelTable& table);
void add_quantize_heads_s8(KernelTable& table);
void add_quantize_gelu_u8(KernelTable& table);
void add_convert_f32_bf16(KernelTable& table);
void add_embedding(KernelTable& table);
void add_attention(KernelTable& table);
void add_attention_s8(KernelTable& table, const Target& target);
void add_pooling(KernelTable& table);
void add_magnitude_histogram(KernelTable& table, const Target& target);
void add_magnitude_mask(KernelTable& table);
void add_quantize_weight_rows(KernelTable& table);

inline KernelTable make_kernel_table(const Target& target) {
  KernelTable table{};
  table.capability = target.capability;
  add_gemm_s8(table, target);
  add_gemm_bf16(table, target);
  add_gemm_gelu_s8(table, target);
  add_layer_norm(table);
  add_quantize_rows_s8(table);
  add_quantize_heads_s8(table);
  add_quantize_gelu_u8(table);
  add_convert_f32_bf16(table);
  add_embedding(table);
  add_attention(table);
  add_attention_s8(table, target);
  add_pooling(table);
  add_magnitude_histogram(table, target);
  add_magnitude_mask(table);
  add_quantize_weight_rows(table);
  return table;
}

// How gemm_gelu_s8 multiplies n columns of k bytes: as many groups as there are blocks for; of such grids the one with
// the largest clusters, whose blocks fetch A once for all of them.
inline GeluGrid gelu_grid(const KernelTable& table, int64_t n, int64_t k) {
  GeluGrid best;
  if (n % kBlockRows != 0 || k > 8 * kRowBytes) return best;
  best.panels = static_cast<int>(n / kBlockRows);
  for (int size = 0; size < 3; ++size)
    if (const int groups = table.gelu_blocks[size] / best.panels; best.panels % (1 << size) == 0 && groups > 0)
      if (groups >= best.groups) best.groups = groups, best.cluster = 1 << size;
  return best;
}

}  // namespace whittle::cuda
