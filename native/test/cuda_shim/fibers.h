// Threads of a CUDA block as fibers of one thread of the host: a block runs until all its threads have ended, switching
// where a thread waits for others. Kernels are then plain C++ that debuggers and sanitizers understand.
#pragma once

#include <cstdint>
#include <functional>

namespace whittle::cuda::shim {

struct Dim3 {
  unsigned x = 1, y = 1, z = 1;
};

// Runs `body` once a thread of every block, cluster by cluster of so many blocks side by side, or all blocks together.
// Shared memory of a block is poisoned before it starts.
void run_grid(Dim3 grid, int threads, int64_t shared_bytes, const std::function<void()>& body, int cluster = 1,
              bool together = false);
// What a block may have of shared memory from now on.
void limit_shared_memory(int64_t bytes);

// --- of the thread that runs ---
Dim3 thread_index();
Dim3 block_index();
Dim3 block_dimension();
Dim3 grid_dimension();
uint8_t* shared_memory();  // 1024-byte aligned
int cluster_rank();        // of its block
// That far from where the shared memory of the cluster's block `rank` begins.
void* shared_of(int64_t offset, int rank);

// Threads that do something together: a warp, a warpgroup, the `threads` that meet at barrier `id`, or a cluster.
enum class Scope : int { warp, warpgroup, barrier, cluster };

// Waits until all threads of the scope are here with the same `operation`, then one of them runs `act` with what each
// passed, in the order of the threads (barriers: of arrival). A thread that meets others at another operation ends the
// program, since on a GPU it would hang or compute rubbish.
void together(Scope scope, const char* operation, void* argument, void (*act)(void* const* arguments, int count),
              int barrier_id = 0, int barrier_threads = 0);

// Lets other threads run; for polling. Blocks in which nobody does anything but poll end the program.
void poll();
// Something happened that polling threads may wait for.
void progress();

// Work that a real GPU does behind the thread's back. Done at once or, by turns, kept until `flush_bulk(key)`.
void defer_bulk(const void* key, std::function<void()> work);
void flush_bulk(const void* key);

// The calling thread's own queue of asynchronous copies, in groups; they happen at once or, by turns, when waited for.
void defer_copy(void* to, const void* from, int bytes, int valid_bytes);
void commit_copies();
void wait_copies(int groups_left);

// The calling thread's warpgroup's queue of matrix operations.
struct MatrixOperation {
  void* accumulators[128];
  uint64_t a, b;
  bool accumulate;
  void (*run)(const MatrixOperation&, const uint8_t* shared);
};
void defer_matrix(const MatrixOperation& operation);
void commit_matrices();
void wait_matrices(int groups_left);

[[noreturn]] void fault(const char* what);

}  // namespace whittle::cuda::shim
