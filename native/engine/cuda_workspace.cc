#include "engine/cuda_workspace.h"

#include <algorithm>

namespace whittle {

namespace {

constexpr int64_t kAlign = 256;

int64_t aligned(int64_t bytes) {
  return (bytes + kAlign - 1) / kAlign * kAlign;
}

// Hands out memory from a start on; a null start only counts.
class Layout {
 public:
  explicit Layout(void* start) : start_(static_cast<char*>(start)) {}
  template <typename T>
  T* take(int64_t count) {
    T* result = start_ ? reinterpret_cast<T*>(start_ + used_) : nullptr;
    used_ = aligned(used_ + count * static_cast<int64_t>(sizeof(T)));
    return result;
  }
  int64_t used() const { return used_; }

 private:
  char* start_;
  int64_t used_ = 0;
};

cuda::Operand take_operand(Layout& layout, cuda::Form form, int64_t rows, int64_t k, int most_outliers) {
  cuda::Operand operand;
  operand.form = form;
  operand.k = k;
  operand.data = layout.take<uint8_t>(cuda::operand_bytes(form, rows, k));
  if (form != cuda::Form::int8) return operand;
  operand.scales = layout.take<float>(rows);
  operand.outlier_counts = layout.take<int32_t>(rows);
  operand.outliers = layout.take<cuda::Outlier>(rows * most_outliers);
  if (most_outliers == 0) operand.offsets = layout.take<int32_t>(rows);
  return operand;
}

CudaHeads take_heads(Layout& layout, const CudaModel& model, int64_t rows) {
  const int64_t columns = 3 * model.hidden, stride = (columns + 15) / 16 * 16;  // of bytes, as attention reads them
  CudaHeads heads{layout.take<int8_t>(rows * stride), stride, layout.take<float>(3 * model.heads * rows), rows, nullptr};
  if (!cuda::product_gives_heads(model.head_size)) heads.values = layout.take<float>(rows * columns);
  return heads;
}

}  // namespace

int64_t bucket_size(int64_t count) {
  int64_t size = 16;
  while (size < count) size = size + size / 2 >= count ? size + size / 2 : 2 * size;
  return size;
}

cuda::Form form_of(Precision precision) {
  return precision == Precision::int8       ? cuda::Form::int8
         : precision == Precision::bfloat16 ? cuda::Form::bf16
                                            : cuda::Form::split;
}

CudaBatchArrays lay_out_batch(void* start, const CudaBucket& bucket) {
  Layout layout(start);
  CudaBatchArrays arrays;
  arrays.counts = layout.take<int32_t>(4);
  arrays.ids = layout.take<int32_t>(bucket.tokens);
  arrays.positions = layout.take<int32_t>(bucket.tokens);
  arrays.types = layout.take<int32_t>(bucket.tokens);
  arrays.offsets = layout.take<int32_t>(bucket.sequences + 1);
  arrays.tiles = layout.take<cuda::AttentionTile>(bucket.tiles);
  arrays.first_tiles = layout.take<cuda::AttentionTile>(bucket.sequences);
  arrays.bytes = layout.used();
  return arrays;
}

CudaWorkspace lay_out_workspace(void* start, const CudaModel& model, const CudaBucket& bucket) {
  Layout layout(start);
  const int64_t rows = bucket.tokens, hidden = model.hidden, inner = model.intermediate;
  const cuda::Form form = form_of(model.precision);
  CudaWorkspace space{};
  space.exchange = layout.take<uint32_t>(cuda::gelu_exchange_words(model.gelu));
  space.batch = lay_out_batch(layout.take<char>(lay_out_batch(nullptr, bucket).bytes), bucket);
  space.x = layout.take<float>(rows * hidden);
  space.stats = layout.take<cuda::RowStats>(rows);
  if (form == cuda::Form::int8) {
    space.sums = layout.take<uint16_t>(rows * hidden);
    space.attention_sums = space.x;
    space.first = layout.take<uint16_t>(bucket.sequences * hidden);
    space.first_stats = layout.take<cuda::RowStats>(bucket.sequences);
  } else {
    space.sums = space.x;
    space.attention_sums = layout.take<float>(rows * hidden);
    space.first = layout.take<float>(bucket.sequences * hidden);
  }
  space.pooled = layout.take<float>(bucket.sequences * hidden);
  space.out = layout.take<float>(rows * std::max(model.labels, int64_t{1}));
  space.a = take_operand(layout, form, rows, hidden, kNormOutliers);
  space.inner = take_operand(layout, form, rows, inner, 0);
  if (form == cuda::Form::int8) {
    space.heads = take_heads(layout, model, rows);
    space.attended = layout.take<uint16_t>(rows * hidden);
    if (!model.gelu.possible()) space.widened = layout.take<float>(rows * inner);
  } else {
    space.qkv = layout.take<uint16_t>(rows * 3 * hidden);
  }
  if (form == cuda::Form::split) space.qkv_low = layout.take<uint16_t>(rows * 3 * hidden);
  space.head_a = take_operand(layout, cuda::Form::split, rows, hidden, 0);
  space.head_a.scales = layout.take<float>(rows);
  space.bytes = layout.used();
  return space;
}

int64_t workspace_bytes(const CudaModel& model, int64_t tokens) {
  const int64_t most = bucket_size(tokens);  // sequences and tiles, too, are at most as many as tokens
  return lay_out_workspace(nullptr, model, {most, most, most}).bytes;
}

}  // namespace whittle
