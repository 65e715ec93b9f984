#include "formats/tensor_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>

#include "cpu/error.h"
#include "formats/half.h"

namespace whittle {

namespace {

constexpr int64_t kChunkElements = 1 << 18;

std::string reason(int error) {
  switch (error) {
    case ENOSPC:
      return "the disk is full";
    case EDQUOT:
      return "the disk quota is used up";
    case EACCES:
    case EPERM:
      return "permission denied";
    case EROFS:
      return "the file system is read-only";
    default:
      return std::strerror(error);
  }
}

// Ends with close; until commit() was called the file is removed as well.
class NewFile {
 public:
  explicit NewFile(const std::string& path) : path_(path) {
    descriptor_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (descriptor_ < 0) fail(errno);
  }
  ~NewFile() {
    if (descriptor_ >= 0) {
      ::close(descriptor_);
      ::unlink(path_.c_str());
    }
  }
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;

  void write(const void* data, int64_t bytes) {
    const char* from = static_cast<const char*>(data);
    while (bytes > 0) {
      const ssize_t done = ::write(descriptor_, from, static_cast<size_t>(bytes));
      if (done < 0 && errno == EINTR) continue;
      if (done < 0) fail(errno);
      from += done;
      bytes -= done;
    }
  }

  void commit() {
    if (::fsync(descriptor_) != 0) fail(errno);
    const int closing = descriptor_;
    descriptor_ = -1;
    if (::close(closing) != 0) {
      const int error = errno;
      ::unlink(path_.c_str());
      fail(error);
    }
  }

 private:
  [[noreturn]] void fail(int error) const { throw Error("IO", path_ + " could not be written: " + reason(error)); }

  std::string path_;
  int descriptor_;
};

std::string describe(const StoredTensor& tensor) {
  return tensor.file + ": tensor " + tensor.name;
}

// Rounds floats [begin, end) of the tensor into out.
void round_chunk(const TensorToWrite& tensor, int64_t begin, int64_t end, std::vector<uint16_t>& out,
                 const std::string& file) {
  for (int64_t i = begin; i < end; ++i) {
    const float value = tensor.floats[i];
    if (tensor.dtype == Dtype::bf16) {
      out[static_cast<size_t>(i - begin)] = float_to_bf16(value);
      continue;
    }
    const uint16_t half = float_to_half(value);
    if ((half & 0x7fffu) == 0x7c00u && std::isfinite(value))
      throw Error("BAD_OPTION", file + ": tensor " + tensor.name +
                                    ": expected values within float16's range of 65504 but found " +
                                    std::to_string(value) + "; store it as float32 or bfloat16");
    out[static_cast<size_t>(i - begin)] = half;
  }
}

// The first element whose exponent is all ones, that of NaN and the infinities; count if there is none.
template <class Bits>
int64_t first_non_finite(const void* values, Bits exponent, int64_t count) {
  constexpr int64_t kBlock = 1 << 12;
  const char* bytes = static_cast<const char*>(values);
  Bits block[kBlock];
  for (int64_t begin = 0; begin < count; begin += kBlock) {
    const int64_t size = std::min(kBlock, count - begin);
    std::memcpy(block, bytes + begin * static_cast<int64_t>(sizeof(Bits)), static_cast<size_t>(size) * sizeof(Bits));
    Bits found = 0;
    for (int64_t i = 0; i < size; ++i) found |= static_cast<Bits>((block[i] & exponent) == exponent);
    if (found)
      for (int64_t i = 0; i < size; ++i)
        if ((block[i] & exponent) == exponent) return begin + i;
  }
  return count;
}

}  // namespace

void expect_finite(const StoredTensor& tensor, const void* values, Dtype dtype, int64_t count) {
  int64_t found = count;
  if (dtype == Dtype::f32) found = first_non_finite<uint32_t>(values, 0x7f800000u, count);
  if (dtype == Dtype::f16) found = first_non_finite<uint16_t>(values, 0x7c00u, count);
  if (dtype == Dtype::bf16) found = first_non_finite<uint16_t>(values, 0x7f80u, count);
  if (found < count)
    throw Error("BAD_CHECKPOINT", describe(tensor) + ": expected finite numbers but element " + std::to_string(found) +
                                      " is NaN or infinite");
}

int64_t dtype_bytes(Dtype dtype) {
  return dtype == Dtype::f32 ? 4 : dtype == Dtype::i8 ? 1 : 2;
}

const char* dtype_name(Dtype dtype) {
  constexpr const char* names[] = {"F32", "F16", "BF16", "I8"};
  return names[static_cast<int>(dtype)];
}

bool parse_dtype(const std::string& name, Dtype* dtype) {
  for (Dtype one : {Dtype::f32, Dtype::f16, Dtype::bf16, Dtype::i8})
    if (name == dtype_name(one)) {
      *dtype = one;
      return true;
    }
  return false;
}

int64_t StoredTensor::elements() const {
  int64_t product = 1;
  for (int64_t size : shape)
    if (__builtin_mul_overflow(product, size, &product))
      throw Error("BAD_CHECKPOINT", describe(*this) + ": its shape is too large");
  return product;
}

TensorReader::~TensorReader() {
  for (const auto& [file, descriptor] : open_) ::close(descriptor);
}

int TensorReader::descriptor(const std::string& file) {
  const auto found = open_.find(file);
  if (found != open_.end()) return found->second;
  const int opened = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  if (opened < 0) throw Error("IO", file + " could not be read: " + reason(errno));
  open_.emplace(file, opened);
  return opened;
}

void TensorReader::read(const StoredTensor& tensor, void* out) {
  int64_t expected;
  if (__builtin_mul_overflow(tensor.elements(), dtype_bytes(tensor.dtype), &expected) || expected != tensor.bytes)
    throw Error("BAD_CHECKPOINT", describe(tensor) + ": expected " + std::to_string(expected) + " bytes of " +
                                      dtype_name(tensor.dtype) + " but found " + std::to_string(tensor.bytes));
  const int from = descriptor(tensor.file);
  char* to = static_cast<char*>(out);
  int64_t done = 0;
  while (done < tensor.bytes) {
    const ssize_t got = ::pread(from, to + done, static_cast<size_t>(tensor.bytes - done), tensor.offset + done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw Error("IO", tensor.file + " could not be read: " + reason(errno));
    if (got == 0)
      throw Error("BAD_CHECKPOINT", describe(tensor) + ": expected " + std::to_string(tensor.bytes) +
                                        " bytes but the file ends after " + std::to_string(done));
    done += got;
  }
}

void TensorReader::read_floats(const StoredTensor& tensor, float* out) {
  if (tensor.dtype == Dtype::f32) return read(tensor, out);
  if (tensor.dtype == Dtype::i8) throw Error("BAD_CHECKPOINT", describe(tensor) + ": is I8 and has no scales");
  stored_.resize(static_cast<size_t>(tensor.bytes));
  read(tensor, stored_.data());
  const int64_t count = tensor.elements();
  for (int64_t i = 0; i < count; ++i) {
    uint16_t bits;
    std::memcpy(&bits, stored_.data() + 2 * i, 2);
    out[i] = tensor.dtype == Dtype::f16 ? half_to_float(bits) : bf16_to_float(bits);
  }
}

void TensorReader::read_parameter(const StoredParameter& parameter, float* out) {
  const StoredTensor& tensor = parameter.tensor;
  if (tensor.dtype != Dtype::i8) return read_floats(tensor, out);
  if (!parameter.has_scale || tensor.shape.empty() || parameter.scale.elements() != tensor.shape[0])
    throw Error("BAD_CHECKPOINT", describe(tensor) + ": is I8 and needs one scale a row");
  std::vector<float> scales(static_cast<size_t>(tensor.shape[0]));
  read_floats(parameter.scale, scales.data());
  stored_.resize(static_cast<size_t>(tensor.bytes));
  read(tensor, stored_.data());
  const int64_t rows = tensor.shape[0], columns = rows ? tensor.elements() / rows : 0;
  const auto* quantized = reinterpret_cast<const int8_t*>(stored_.data());
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < columns; ++c)
      out[r * columns + c] = static_cast<float>(quantized[r * columns + c]) * scales[static_cast<size_t>(r)];
}

void write_tensors(const std::string& file, const uint8_t* header, int64_t header_bytes,
                   const std::vector<TensorToWrite>& tensors, const std::function<void()>& check) {
  NewFile out(file);
  out.write(header, header_bytes);
  std::vector<uint16_t> rounded(kChunkElements);
  for (const TensorToWrite& tensor : tensors)
    for (int64_t begin = 0; begin < tensor.elements; begin += kChunkElements) {
      check();
      const int64_t end = std::min(tensor.elements, begin + kChunkElements);
      if (tensor.dtype == Dtype::i8) {
        out.write(tensor.bytes + begin, end - begin);
      } else if (tensor.dtype == Dtype::f32) {
        out.write(tensor.floats + begin, (end - begin) * 4);
      } else {
        round_chunk(tensor, begin, end, rounded, file);
        out.write(rounded.data(), (end - begin) * 2);
      }
    }
  out.commit();
}

}  // namespace whittle
