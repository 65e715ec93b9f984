// Rows that are normalized, in registers: half a warp takes a row, and its lane l has columns l, l + 16, ..., which are
// the CPU's 16 lanes of a sum (kernels/vector/sum_lanes.h). Nothing goes through shared memory, and all loads of a row
// are on their way before the first value is used.
#pragma once

#include "kernels/cuda/rows.cuh"

namespace whittle::cuda {

static constexpr int kNormRows = 2 * kRowWarps;  // of a block
// Blocks of a multiprocessor at least: 5 leave 102 registers a thread, 4 leave 128, 3 and 2 leave 168 and 255. The more
// blocks, the more instructions that don't wait for each other.
template <int kPlaces, bool kWhole, bool kHalves>
static constexpr int kNormBlocks = kWhole ? (kHalves && kPlaces <= 48 ? 5 : 4) : kHalves ? 2 : 3;
static constexpr int kNormMagnitudes = 3;       // two outliers a row

static inline Grid norm_grid(int64_t most_rows) {
  return {(most_rows + kNormRows - 1) / kNormRows};
}

// kPlaces values a lane; kWhole: the row has 16 * kPlaces columns, else it may have fewer. kOrdered: its columns are in
// the order of sum_place, so that the lane has 8 side by side.
template <int kPlaces, bool kWhole, bool kOrdered = false>
struct NormRow {
  static_assert(!kOrdered || kWhole);
  int row;
  bool stores;  // false: there is no such row, and the lane goes along with a copy of the last
  int lane;     // below 16
  int cols;
  int left;               // cols - lane
  float values[kPlaces];  // column lane + 16 * i; zeros behind the last

  // from: the lane's first element. Zeros behind the last.
  template <typename Value, typename Widen>
  __device__ __forceinline__ void read(const Value* from, const Widen& widen) {
#pragma unroll
    for (int i = 0; i < kPlaces; ++i) values[i] = has(i) ? widen(from[16 * i]) : 0.0f;
  }
  // from: the row, in order.
  __device__ __forceinline__ void read_ordered(const uint16_t* from) {
    uint4 words[kPlaces / 8];
#pragma unroll
    for (int i = 0; i < kPlaces / 8; ++i) words[i] = *reinterpret_cast<const uint4*>(from + i * 128 + lane * 8);
#pragma unroll
    for (int i = 0; i < kPlaces; ++i) {
      const uint4& eight = words[i / 8];
      const uint32_t pairs[4] = {eight.x, eight.y, eight.z, eight.w};
      values[i] = half_value(static_cast<uint16_t>(pairs[i % 8 / 2] >> (16 * (i % 2))));
    }
  }
  // values += from
  __device__ __forceinline__ void add_floats(const float* from) {
#pragma unroll
    for (int i = 0; i < kPlaces; ++i)
      if (has(i)) values[i] = add(values[i], from[16 * i]);
  }
  __device__ __forceinline__ bool has(int i) const { return kWhole || 16 * i < left; }
  // False if the warp has no row.
  __device__ __forceinline__ bool find(int rows, int64_t columns) {
    const int thread = static_cast<int>(threadIdx.x);
    row = static_cast<int>(blockIdx.x) * kNormRows + thread / 16;
    lane = thread % 16;
    cols = kWhole ? 16 * kPlaces : static_cast<int>(columns);
    left = cols - lane;
    stores = row < rows;
    const bool any = row - thread / 16 % 2 < rows;
    if (!stores) row = rows - 1;
    return any;
  }

  // The sum over the lanes of a row.
  __device__ __forceinline__ static float add_lanes(float sum) {
#pragma unroll
    for (int half = 8; half > 0; half /= 2) sum = add(sum, shuffle_xor(sum, half));
    return sum;
  }

  // values = (values - mean) / sqrt(variance + epsilon) * gamma + beta, with the bits of kernels/ref/layer_norm_u8.cc.
  __device__ __forceinline__ void normalize(const RowResult& result) {
    const float share = 1.0f / static_cast<float>(cols);
    float sum = 0;  // to which zeros behind the last column add nothing
#pragma unroll
    for (int i = 0; i < kPlaces; ++i) sum = add(sum, values[i]);
    const float mean = multiply(add_lanes(sum), share);
    float squares = 0;
#pragma unroll
    for (int i = 0; i < kPlaces; ++i) {
      values[i] = has(i) ? add(values[i], -mean) : 0.0f;
      squares = multiply_add(values[i], values[i], squares);
    }
    const float scale = 1.0f / sqrtf(add(multiply(add_lanes(squares), share), result.epsilon));
    if (result.stats && stores && lane == 0) result.stats[row] = {mean, scale};
    if constexpr (kOrdered) {
      const int own = lane * 8;
#pragma unroll
      for (int i = 0; i < kPlaces; i += 4) {
        const int at = i / 8 * 128 + own + i % 8;
        const float4 gamma = load_constant(reinterpret_cast<const float4*>(result.gamma + at));
        const float4 beta = load_constant(reinterpret_cast<const float4*>(result.beta + at));
        values[i] = multiply_add(multiply(values[i], scale), gamma.x, beta.x);
        values[i + 1] = multiply_add(multiply(values[i + 1], scale), gamma.y, beta.y);
        values[i + 2] = multiply_add(multiply(values[i + 2], scale), gamma.z, beta.z);
        values[i + 3] = multiply_add(multiply(values[i + 3], scale), gamma.w, beta.w);
      }
    } else {
      const float* gamma = result.gamma + lane;
      const float* beta = result.beta + lane;
#pragma unroll
      for (int i = 0; i < kPlaces; ++i)
        if (has(i)) values[i] = multiply_add(multiply(values[i], scale), gamma[16 * i], beta[16 * i]);
    }
  }

  // values = what float16 holds of them, stored at `to`.
  __device__ __forceinline__ void round_to_f16(uint16_t* to) {
    to += int64_t{row} * cols;
#pragma unroll
    for (int i = 0; i < kPlaces; i += 8) {
      uint32_t pairs[4];
#pragma unroll
      for (int e = 0; e < 8; ++e) {
        if (e % 2 == 0) pairs[e / 2] = half_pair(values[i + e], values[i + e + 1]);
        const uint16_t half = static_cast<uint16_t>(pairs[e / 2] >> (16 * (e % 2)));
        values[i + e] = half_value(half);
        if (!kOrdered && stores && has(i + e)) to[lane + 16 * (i + e)] = half;
      }
      if (kOrdered && stores)
        *reinterpret_cast<uint4*>(to + i * 16 + lane * 8) = {pairs[0], pairs[1], pairs[2], pairs[3]};
    }
  }

  __device__ __forceinline__ void store(float* x) const {
    float* to = x + int64_t{row} * cols + made_here(lane);
#pragma unroll
    for (int i = 0; i < kPlaces; ++i)
      if (stores && has(i)) to[16 * i] = values[i];
  }

  // Writes the row's outliers, two at most, in the order of their columns, and cuts them to the limit in `values`.
  __device__ __forceinline__ int take_outliers(const RowScale& scale, const Operand& operand) {
    static_assert(kNormMagnitudes == 3, "a lane keeps the two that a row may have");
    constexpr int kNone = 1 << 30;
    float value[2] = {0, 0};
    int column[2] = {kNone, kNone};  // of the lane's outliers, the last first
#pragma unroll
    for (int group = 0; group < kPlaces; group += 8) {
      bool any = false;
#pragma unroll
      for (int i = group; i < group + 8; ++i) any = any || fabsf(values[i]) > scale.limit;
      if (ballot(any) == 0) continue;
#pragma unroll
      for (int i = group; i < group + 8; ++i) {
        const bool is_outlier = fabsf(values[i]) > scale.limit;
        value[1] = is_outlier ? value[0] : value[1];
        column[1] = is_outlier ? column[0] : column[1];
        value[0] = is_outlier ? values[i] : value[0];
        column[0] = is_outlier ? 16 * i : column[0];
        values[i] = is_outlier ? (values[i] > 0 ? scale.limit : -scale.limit) : values[i];
      }
    }
    int first = (column[1] != kNone ? column[1] : column[0]) + lane;
    int found = (column[0] != kNone) + (column[1] != kNone);
#pragma unroll
    for (int half = 8; half > 0; half /= 2) {
      const int other = shuffle_xor(first, half);
      first = other < first ? other : first;
      found += shuffle_xor(found, half);
    }
#pragma unroll
    for (int i = 0; i < 2; ++i)
      if (stores && column[i] != kNone)
        operand.outliers[int64_t{2} * row + (column[i] + lane != first)] =
            scale.outlier(kOrdered ? static_cast<int>(sum_place(column[i] + lane, 16 * kPlaces)) : column[i] + lane,
                          value[i]);
    return found;
  }

  // Where the lane's words of the operand lie. Word w holds 64 bytes of the row, the lane's 4 at 16 * chunk + byte.
  struct Words {
    uint8_t* even;  // w % 2 == 0
    uint8_t* odd;
    __device__ __forceinline__ uint32_t* at(int w) const {
      return reinterpret_cast<uint32_t*>((w % 2 == 0 ? even : odd) + w / 2 * kBlockBytes);
    }
  };
  __device__ __forceinline__ Words words(const Operand& operand, int blocks, int chunk, int byte) const {
    return {operand_chunk(operand.data, row, blocks, chunk) + byte,
            operand_chunk(operand.data, row, blocks, chunk + 4) + byte};
  }

  __device__ __forceinline__ void quantize(const Operand& operand) {
    Largest<kNormMagnitudes> largest;
#pragma unroll
    for (int i = 0; i < kPlaces; ++i) largest.see(values[i]);
    largest.template merge_lanes<16>();
    const RowScale scale = row_scale(largest, cols);
    int outliers = 0;
    if (ballot(scale.has_outliers) != 0) outliers = take_outliers(scale, operand);
    if (stores && lane == 0) store_scale(operand, row, scale, outliers);

    const float inverse = scale.inverse();
    const int blocks = blocks_of_part(Form::int8, cols);
    if constexpr (kOrdered) {
      const int own = made_here(lane);
      uint8_t* to = operand_chunk(operand.data, row, blocks, own / 2) + own % 2 * 8;
#pragma unroll
      for (int i = 0; i < kPlaces; i += 8) {
        uint32_t bytes[2];
#pragma unroll
        for (int w = 0; w < 2; ++w) {
          const float* four = values + i + 4 * w;
          bytes[w] = last_bytes(rounded_sum(four[0], inverse), rounded_sum(four[1], inverse),
                                rounded_sum(four[2], inverse), rounded_sum(four[3], inverse));
        }
        if (stores) *reinterpret_cast<uint2*>(to + i / 8 * kBlockBytes) = {bytes[0], bytes[1]};
      }
      return;
    }
    // Four lanes side by side swap bytes, so that each has 4 columns of one 16-byte chunk.
    const Words to = words(operand, blocks, lane % 4, lane / 4 * 4);
    const uint32_t first = lane % 2 == 0 ? 0x6240 : 0x3715, second = lane / 2 % 2 == 0 ? 0x5410 : 0x3276;
#pragma unroll
    for (int w = 0; w < kPlaces / 4; ++w) {
      uint32_t bytes = last_bytes(rounded_sum(values[4 * w], inverse), rounded_sum(values[4 * w + 1], inverse),
                                  rounded_sum(values[4 * w + 2], inverse), rounded_sum(values[4 * w + 3], inverse));
      bytes = permute_bytes(bytes, shuffle_xor(bytes, 1), first);
      bytes = permute_bytes(bytes, shuffle_xor(bytes, 2), second);
      if (stores && (kWhole || w < 2 * blocks)) *to.at(w) = bytes;
    }
  }

  // Stores convert(a, b) of the lane's pairs of columns. Two lanes side by side have two columns of each 16; the even
  // lane takes those of the first of two 16, the odd lane those of the second.
  template <typename Convert>
  __device__ __forceinline__ void store_bf16_pairs(const Words& to, int blocks, const Convert& convert) const {
    const int odd = lane % 2;
#pragma unroll
    for (int w = 0; w < kPlaces / 2; ++w) {
      const float given = shuffle_xor(odd ? values[2 * w] : values[2 * w + 1], 1);
      const uint32_t pair = convert(odd ? given : values[2 * w], odd ? values[2 * w + 1] : given);
      if (stores && (kWhole || w < 2 * blocks)) *to.at(w) = pair;
    }
  }
  // The row as bf16, and what that leaves as a second bf16 if the form is split.
  __device__ __forceinline__ void round_to_bf16(const Operand& operand) const {
    const bool split = operand.form == Form::split;
    const int blocks = blocks_of_part(operand.form, cols);
    const Words to = words(operand, split ? 2 * blocks : blocks, lane % 2 * 2 + lane / 8, lane / 2 % 4 * 4);
    store_bf16_pairs(to, blocks, [](float a, float b) { return bf16_pair(a, b); });
    if (!split) return;
    const Words low{to.even + blocks * kBlockBytes, to.odd + blocks * kBlockBytes};
    store_bf16_pairs(low, blocks, low_bf16_pair);
  }

  // What RowResult asks for, but for sums.
  __device__ __forceinline__ void finish(const RowResult& result) {
    if (result.gamma) normalize(result);
    if (result.x) store(result.x);
    if (!result.operand.data) return;
    if (kOrdered || result.operand.form == Form::int8)
      quantize(result.operand);
    else
      round_to_bf16(result.operand);
  }
};

template <int kTakePlaces, bool kTakeWhole>
struct NormShape {
  static constexpr int kPlaces = kTakePlaces;
  static constexpr bool kWhole = kTakeWhole;
};
// Calls start(NormShape) for rows that fit one; false if none does (shared_rows.cuh takes such). kWholeToo: widths of
// common models have shapes of their own.
template <bool kWholeToo, typename Start>
bool start_norm_rows(int64_t cols, const RowResult& result, const Start& start) {
  const Operand& operand = result.operand;
  if (operand.data && operand.form == Form::int8 && operand.most_outliers != kNormMagnitudes - 1) return false;
  if constexpr (kWholeToo) {
    if (cols == 384) return start(NormShape<24, true>{}), true;
    if (cols == 512) return start(NormShape<32, true>{}), true;
    if (cols == 768) return start(NormShape<48, true>{}), true;
    if (cols == 1024) return start(NormShape<64, true>{}), true;
  }
  if (cols <= 384)
    start(NormShape<24, false>{});
  else if (cols <= 768)
    start(NormShape<48, false>{});
  else if (cols <= 1024)
    start(NormShape<64, false>{});
  else
    return false;
  return true;
}

}  // namespace whittle::cuda
