// Tensor data of safetensors files. Headers are parsed in lib/models/safetensors.ts, the one place that knows them;
// what arrives here is where each tensor lies, and it is checked again against the file.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace whittle {

enum class Dtype : int { f32 = 0, f16, bf16, i8 };
int64_t dtype_bytes(Dtype dtype);
const char* dtype_name(Dtype dtype);  // as safetensors spells it
// False if whittle computes with no such dtype.
bool parse_dtype(const std::string& name, Dtype* dtype);

// `bytes` bytes at `offset` of `file`, row-major.
struct StoredTensor {
  std::string name;
  std::string file;
  Dtype dtype = Dtype::f32;
  std::vector<int64_t> shape;
  int64_t offset = 0;
  int64_t bytes = 0;

  int64_t elements() const;
};

// A parameter as stored: a float tensor, or int8 [out, ...] with scales [out] or [out, 1].
struct StoredParameter {
  StoredTensor tensor;
  bool has_scale = false;
  StoredTensor scale;
};

// Reads tensors with pread, so that a file that is cut short meanwhile is an error and not a signal. Keeps its files
// open. Not thread safe.
class TensorReader {
 public:
  TensorReader() = default;
  TensorReader(const TensorReader&) = delete;
  TensorReader& operator=(const TensorReader&) = delete;
  ~TensorReader();

  // out: tensor.bytes bytes. Throws Error BAD_CHECKPOINT (shape, bytes and file disagree) or IO.
  void read(const StoredTensor& tensor, void* out);
  // A float tensor widened to float32. out: [elements].
  void read_floats(const StoredTensor& tensor, float* out);
  // A parameter as float32, dequantized if it is int8. out: [elements].
  void read_parameter(const StoredParameter& parameter, float* out);

 private:
  int descriptor(const std::string& file);
  std::map<std::string, int> open_;
  std::vector<char> stored_;
};

// Throws Error BAD_CHECKPOINT naming the tensor and the first element that is NaN or infinite. Rounding to int8 would
// hide it. values: [count] of dtype; all int8 are finite.
void expect_finite(const StoredTensor& tensor, const void* values, Dtype dtype, int64_t count);

struct TensorToWrite {
  std::string name;
  Dtype dtype;          // of the file
  const float* floats;  // rounded to dtype, or
  const int8_t* bytes;  // written as they are
  int64_t elements;
};

// Creates `file`, which must not exist: header, then the tensors; synced. `check` is called between chunks and may
// throw. Whatever is thrown, no file is left. Throws Error IO, or BAD_OPTION if a finite value overflows float16.
void write_tensors(const std::string& file, const uint8_t* header, int64_t header_bytes,
                   const std::vector<TensorToWrite>& tensors, const std::function<void()>& check);

}  // namespace whittle
