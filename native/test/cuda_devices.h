// The GPUs that the CUDA tests run on: the shim's, or this machine's in the program of the CUDA build.
#pragma once

#include <cstring>
#include <vector>

#include "engine/gpu_device.h"
#include "test/buffers.h"

namespace whittle::test {

const std::vector<GpuDevice*>& cuda_devices();

// A device with a stream, and arrays on it.
class CudaBench {
 public:
  explicit CudaBench(GpuDevice& device) : device_(device), stream_(device.create_stream()) {}
  ~CudaBench() { device_.destroy_stream(stream_); }
  CudaBench(const CudaBench&) = delete;
  CudaBench& operator=(const CudaBench&) = delete;
  cuda::Stream stream() const { return stream_; }
  const cuda::KernelTable& kernels() const { return device_.kernels(); }
  GpuDevice& device() const { return device_; }

  // Device memory with the values, given back with this object.
  template <typename T>
  T* put(const std::vector<T>& values) {
    T* data = take<T>(static_cast<int64_t>(values.size()));
    if (!values.empty()) {
      device_.upload(data, values.data(), static_cast<int64_t>(values.size() * sizeof(T)), stream_);
      device_.synchronize(stream_);
    }
    return data;
  }
  template <typename T>
  T* put_one(T value) {
    return put(std::vector<T>{value});
  }
  // Poisoned device memory.
  template <typename T>
  T* take(int64_t count) {
    const int64_t bytes = count * static_cast<int64_t>(sizeof(T));
    buffers_.emplace_back(device_, bytes + 16);
    std::vector<char> poison(static_cast<size_t>(bytes), 0x7f);
    device_.upload(buffers_.back().as<void>(), poison.data(), bytes, stream_);
    device_.synchronize(stream_);
    return buffers_.back().as<T>();
  }
  // Waits for the stream, and copies back.
  template <typename T>
  std::vector<T> get(const T* data, int64_t count) {
    std::vector<T> values(static_cast<size_t>(count));
    device_.download(values.data(), data, count * static_cast<int64_t>(sizeof(T)), stream_);
    device_.synchronize(stream_);
    return values;
  }

 private:
  GpuDevice& device_;
  cuda::Stream stream_;
  std::vector<GpuBuffer> buffers_;
};

// Rows [rows, k] of `bytes_each`-byte elements in the blocks of kernel_table.h; stored_row maps a row to its place.
template <typename T, typename StoredRow>
std::vector<uint8_t> to_blocks(const std::vector<T>& values, int64_t rows, int64_t k, int64_t stored_rows,
                               const StoredRow& stored_row) {
  const int64_t blocks = (k * static_cast<int64_t>(sizeof(T)) + cuda::kRowBytes - 1) / cuda::kRowBytes;
  std::vector<uint8_t> stored(static_cast<size_t>((stored_rows + 127) / 128 * blocks * cuda::kBlockBytes));
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < k; ++c)
      std::memcpy(&stored[static_cast<size_t>(
                      cuda::operand_offset(stored_row(r), c * static_cast<int64_t>(sizeof(T)), blocks))],
                  &values[static_cast<size_t>(r * k + c)], sizeof(T));
  return stored;
}

}  // namespace whittle::test
