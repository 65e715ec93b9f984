// A bump allocator for scratch memory: grows to the largest use seen, then allocates nothing more.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <vector>

namespace whittle {

inline constexpr size_t kAlignment = 64;

// Owned, 64-byte aligned, uninitialized memory.
class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  explicit AlignedBuffer(size_t bytes) : bytes_(bytes) {
    if (bytes == 0) return;
    data_ = std::aligned_alloc(kAlignment, (bytes + kAlignment - 1) / kAlignment * kAlignment);
    if (!data_) throw std::bad_alloc();
  }
  ~AlignedBuffer() { std::free(data_); }
  AlignedBuffer(const AlignedBuffer&) = delete;
  AlignedBuffer& operator=(const AlignedBuffer&) = delete;
  AlignedBuffer(AlignedBuffer&& other) noexcept : data_(other.data_), bytes_(other.bytes_) {
    other.data_ = nullptr;
    other.bytes_ = 0;
  }
  AlignedBuffer& operator=(AlignedBuffer&& other) noexcept {
    if (this != &other) {
      std::free(data_);
      data_ = other.data_;
      bytes_ = other.bytes_;
      other.data_ = nullptr;
      other.bytes_ = 0;
    }
    return *this;
  }
  template <typename T>
  T* as() const {
    return static_cast<T*>(data_);
  }
  size_t bytes() const { return bytes_; }

 private:
  void* data_ = nullptr;
  size_t bytes_ = 0;
};

// Bytes that all arenas of the process together have grown by so far: constant once every size has been seen.
inline std::atomic<uint64_t> arena_growth{0};

class Arena {
 public:
  // Memory for `count` values of T, valid until the enclosing Scope ends. Not thread safe: one arena a caller.
  template <typename T>
  T* take(int64_t count) {
    size_t bytes = (static_cast<size_t>(count) * sizeof(T) + kAlignment - 1) / kAlignment * kAlignment;
    while (block_ < blocks_.size() && used_ + bytes > blocks_[block_].bytes()) {
      ++block_;
      used_ = 0;
    }
    if (block_ == blocks_.size()) {
      size_t grown = blocks_.empty() ? size_t{1} << 20 : blocks_.back().bytes() * 2;
      blocks_.emplace_back(bytes > grown ? bytes : grown);
      arena_growth.fetch_add(blocks_.back().bytes(), std::memory_order_relaxed);
      used_ = 0;
    }
    T* result = reinterpret_cast<T*>(blocks_[block_].as<char>() + used_);
    used_ += bytes;
    return result;
  }

  // Everything taken after its construction is given back at its destruction.
  class Scope {
   public:
    explicit Scope(Arena& arena) : arena_(arena), block_(arena.block_), used_(arena.used_) {}
    ~Scope() {
      arena_.block_ = block_;
      arena_.used_ = used_;
    }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Arena& arena_;
    size_t block_, used_;
  };

 private:
  std::vector<AlignedBuffer> blocks_;
  size_t block_ = 0, used_ = 0;
};

// The scratch memory of the calling thread.
inline Arena& thread_arena() {
  static thread_local Arena arena;
  return arena;
}

}  // namespace whittle
