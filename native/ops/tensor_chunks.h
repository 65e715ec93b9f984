// Work over the elements of many arrays at once, cut into chunks, so that a few large arrays and many small ones keep
// all threads busy and results do not depend on their number.
#pragma once

#include <algorithm>
#include <cstdint>

#include "ops/context.h"

namespace whittle {

inline constexpr int64_t kChunk = 1 << 14;  // elements of one task, and of one partial sum, at most or about

// Arrays cut into chunks that threads take one by one.
class Chunks {
 public:
  // count_of(i) elements of array i, of which chunks hold chunk_of(i).
  template <typename CountOf, typename ChunkOf>
  Chunks(size_t arrays, Arena& arena, const CountOf& count_of, const ChunkOf& chunk_of)
      : arrays_(arrays), first_(arena.take<int64_t>(static_cast<int64_t>(arrays) + 1)) {
    first_[0] = 0;
    for (size_t i = 0; i < arrays; ++i) first_[i + 1] = first_[i] + (count_of(i) + chunk_of(i) - 1) / chunk_of(i);
  }

  int64_t count() const { return first_[arrays_]; }
  // Number of array i's first chunk; with i = arrays, the count.
  int64_t first(size_t i) const { return first_[i]; }

  // Calls body(i, chunk of array i, chunk of all) for every chunk, in parallel.
  template <typename Body>
  void for_each(const Context& context, const Body& body) const {
    context.pool.run(count(), context.threads, [&](int64_t task) {
      const size_t i = static_cast<size_t>(std::upper_bound(first_, first_ + arrays_, task) - first_) - 1;
      body(i, task - first_[i], task);
    });
  }

 private:
  size_t arrays_;
  int64_t* first_;  // [arrays + 1]
};

// Calls body(tensor, begin, end) for chunks of kChunk elements of all tensors, in parallel. A tensor has a `count`.
template <typename Tensors, typename Body>
void for_each_chunk(const Tensors& tensors, const Context& context, const Body& body) {
  Arena::Scope scope(context.arena);
  const auto count_of = [&](size_t i) { return tensors[i].count; };
  const Chunks chunks(tensors.size(), context.arena, count_of, [](size_t) { return kChunk; });
  chunks.for_each(context, [&](size_t i, int64_t chunk, int64_t) {
    body(tensors[i], chunk * kChunk, std::min((chunk + 1) * kChunk, count_of(i)));
  });
}

}  // namespace whittle
