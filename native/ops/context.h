// What an operation needs beside its arguments.
#pragma once

#include "cpu/arena.h"
#include "cpu/thread_pool.h"
#include "kernels/kernel_table.h"

namespace whittle {

struct Context {
  const KernelTable& kernels;
  ThreadPool& pool;
  int threads;   // at most; results do not depend on it
  Arena& arena;  // scratch of the calling thread
};

}  // namespace whittle
