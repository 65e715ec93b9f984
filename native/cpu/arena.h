// A bump allocator for scratch memory: grows to the largest use seen, then allocates nothing more.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <new>
#include <utility>
#include <vector>

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace whittle {

inline constexpr size_t kAlignment = 64;
inline constexpr size_t kHugePage = size_t{1} << 21;
inline constexpr size_t kLeastHugeBytes = 2 * kHugePage;

// Owned, 64-byte aligned, uninitialized memory; what is large lies in huge pages where the system gives them: fewer
// page faults and misses of the address translation. Throws std::bad_alloc.
class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  explicit AlignedBuffer(size_t bytes) : bytes_(bytes) {
    if (bytes == 0) return;
    data_ = ::operator new(whole(bytes), alignment(bytes));
#ifdef MADV_HUGEPAGE
    if (bytes >= kLeastHugeBytes) madvise(data_, whole(bytes), MADV_HUGEPAGE);  // advice: may be declined
#endif
  }
  ~AlignedBuffer() { release(); }
  AlignedBuffer(const AlignedBuffer&) = delete;
  AlignedBuffer& operator=(const AlignedBuffer&) = delete;
  AlignedBuffer(AlignedBuffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  AlignedBuffer& operator=(AlignedBuffer&& other) noexcept {
    if (this != &other) {
      release();
      data_ = std::exchange(other.data_, nullptr);
      bytes_ = std::exchange(other.bytes_, 0);
    }
    return *this;
  }
  template <typename T>
  T* as() const {
    return static_cast<T*>(data_);
  }
  size_t bytes() const { return bytes_; }

 private:
  static std::align_val_t alignment(size_t bytes) {
    return std::align_val_t{bytes >= kLeastHugeBytes ? kHugePage : kAlignment};
  }
  static size_t whole(size_t bytes) {
    if (bytes < kLeastHugeBytes) return bytes;
    if (bytes > SIZE_MAX - kHugePage) throw std::bad_alloc();
    return (bytes + kHugePage - 1) / kHugePage * kHugePage;
  }
  void release() {
    if (data_) ::operator delete(data_, alignment(bytes_));
  }

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
      add_block(std::max(bytes, grown));
      used_ = 0;
    }
    T* result = reinterpret_cast<T*>(blocks_[block_].as<char>() + used_);
    used_ += bytes;
    live_ += bytes;
    peak_ = std::max(peak_, live_);
    return result;
  }

  // Most bytes that were in use at once, or expected to be.
  size_t peak() const { return peak_; }

  // Work like the one at hand, divided otherwise, may take so many bytes more than are in use now.
  void expect(int64_t bytes) { peak_ = std::max(peak_, live_ + static_cast<size_t>(bytes)); }

  // Makes an arena that nobody uses one block of at least `bytes`: less than blocks that were added as it grew, whose
  // ends stay empty. Throws std::bad_alloc, and has its blocks then as before or none.
  void reserve(size_t bytes) {
    if (live_ > 0 || bytes == 0 || (blocks_.size() == 1 && blocks_[0].bytes() >= bytes)) return;
    blocks_.clear();
    block_ = used_ = 0;
    add_block(bytes);
  }

  // Everything taken after its construction is given back at its destruction.
  class Scope {
   public:
    explicit Scope(Arena& arena) : arena_(arena), block_(arena.block_), used_(arena.used_), live_(arena.live_) {}
    ~Scope() {
      arena_.block_ = block_;
      arena_.used_ = used_;
      arena_.live_ = live_;
    }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Arena& arena_;
    size_t block_, used_, live_;
  };

 private:
  void add_block(size_t bytes) {
    blocks_.emplace_back(bytes);
    arena_growth.fetch_add(bytes, std::memory_order_relaxed);
  }

  std::vector<AlignedBuffer> blocks_;
  size_t block_ = 0, used_ = 0;
  size_t live_ = 0, peak_ = 0;
};

namespace detail {

// What thread_arena() gives in place of the thread's own.
inline thread_local Arena* lent_arena = nullptr;

}  // namespace detail

// The scratch memory of the calling thread.
inline Arena& thread_arena() {
  static thread_local Arena own;
  return detail::lent_arena ? *detail::lent_arena : own;
}

// While this lives, thread_arena() of the thread that made it is an arena that goes from hand to hand, so that work that
// comes on another thread each time finds the memory that it had before. There are as many such arenas as were ever
// lent at the same time. Throws std::bad_alloc.
class LentArena {
 public:
  LentArena();
  ~LentArena();
  LentArena(const LentArena&) = delete;
  LentArena& operator=(const LentArena&) = delete;

 private:
  Arena* const before_;
};

}  // namespace whittle
