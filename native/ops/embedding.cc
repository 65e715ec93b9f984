#include "ops/embedding.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <string>

#include "cpu/error.h"

namespace whittle {

namespace {

constexpr int64_t kRowsPerTask = 64;

void check_ids(const int32_t* ids, int64_t count, int64_t rows) {
  for (int64_t i = 0; i < count; ++i) {
    if (ids[i] < 0 || ids[i] >= rows) {
      throw Error("BAD_OPTION", "Expected ids from 0 to " + std::to_string(rows - 1) + " but ids[" + std::to_string(i) +
                                    "] is " + std::to_string(ids[i]));
    }
  }
}

}  // namespace

void gather_rows(const float* table, int64_t rows, int64_t width, const int32_t* ids, int64_t count, float* y,
                 const Context& context) {
  check_ids(ids, count, rows);
  context.pool.split(count, kRowsPerTask, context.threads, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      std::memcpy(y + i * width, table + ids[i] * width, static_cast<size_t>(width) * sizeof(float));
    }
  });
}

void scatter_add_rows(const float* dy, const int32_t* ids, int64_t count, int64_t rows, int64_t width, float* dtable,
                      const Context& context) {
  check_ids(ids, count, rows);
  if (count == 0) return;
  Arena::Scope scope(context.arena);
  // Positions sorted by id and, within an id, by position: each run of equal ids is one thread's, in order.
  int32_t* order = context.arena.take<int32_t>(count);
  int32_t* runs = context.arena.take<int32_t>(count + 1);
  std::iota(order, order + count, 0);
  std::sort(order, order + count, [&](int32_t a, int32_t b) { return ids[a] != ids[b] ? ids[a] < ids[b] : a < b; });
  int64_t run_count = 0;
  for (int64_t i = 0; i < count; ++i) {
    if (i == 0 || ids[order[i]] != ids[order[i - 1]]) runs[run_count++] = static_cast<int32_t>(i);
  }
  runs[run_count] = static_cast<int32_t>(count);
  context.pool.split(run_count, 16, context.threads, [&](int64_t begin, int64_t end) {
    for (int64_t run = begin; run < end; ++run) {
      float* row = dtable + ids[order[runs[run]]] * width;
      std::memcpy(row, dy + order[runs[run]] * width, static_cast<size_t>(width) * sizeof(float));
      for (int64_t i = runs[run] + 1; i < runs[run + 1]; ++i) {
        context.kernels.column_sums(dy + order[i] * width, width, 1, width, row);
      }
    }
  });
}

}  // namespace whittle
