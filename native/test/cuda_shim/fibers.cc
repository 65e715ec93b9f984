#include "test/cuda_shim/fibers.h"

#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "test/cuda_shim/ready_threads.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#define WHITTLE_FIBER_ASAN 1
#endif

namespace whittle::cuda::shim {

namespace {

constexpr size_t kStackBytes = size_t{256} << 10;  // touched pages only cost memory
constexpr int kWarp = 32, kWarpgroup = 128, kBarriers = 16;
constexpr int kMostPolls = 1 << 20, kMostThreads = 8192;
constexpr int64_t kLargestShared = 227 << 10;  // sm_90

// Saves the callee-saved registers of the System V ABI on this stack and goes on with another.
extern "C" void whittle_switch_stacks(void** save, void* load);
#if defined(__x86_64__)
asm(R"(
.text
.globl whittle_switch_stacks
.hidden whittle_switch_stacks
.type whittle_switch_stacks, @function
whittle_switch_stacks:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size whittle_switch_stacks, . - whittle_switch_stacks
)");
#else
#error "The CUDA shim switches stacks on x86-64 only"
#endif

struct CopyOperation {
  void* to;
  const void* from;
  int bytes, valid_bytes;
};

struct Fiber {
  char* stack = nullptr;
  void* stack_pointer = nullptr;
  void* fake_stack = nullptr;
  int index = 0;
  bool done = false;
  std::vector<CopyOperation> open_copies;
  std::deque<std::vector<CopyOperation>> copy_groups;
};

struct Meeting {
  int arrived = 0, wanted = 0;
  const char* operation = nullptr;
  std::vector<void*> arguments;
  std::vector<int> waiting;
};

struct Warpgroup {
  std::vector<MatrixOperation> open;
  std::deque<std::vector<MatrixOperation>> groups;
};

// The blocks that are at work, one's threads after the other's: one, those of a cluster, or those of a grid.
struct Block {
  std::vector<Fiber> fibers;
  int threads = 0, cluster = 1;  // of a block; blocks
  Ready ready;
  int running = -1, alive = 0;
  std::vector<int> alive_in;  // each block
  int64_t polls = 0;
  std::vector<Meeting> warps, warpgroups;
  std::vector<Meeting> barriers;  // kBarriers a block
  std::vector<Meeting> whole_clusters;
  std::vector<Warpgroup> matrix_queues;
  std::multimap<const void*, std::function<void()>> bulk;
  Dim3 index, dimension, grid;
  bool early = false;  // copies happen at once, not when they are waited for
  uint8_t* shared = nullptr;  // a block's is shared_stride behind that of the one before
  size_t shared_bytes = 0, shared_stride = 0;
  const std::function<void()>* body = nullptr;
  void* scheduler_stack = nullptr;
  const void* scheduler_bottom = nullptr;
  size_t scheduler_size = 0;
};

Block* current = nullptr;
int64_t most_shared = kLargestShared;

// Which of the blocks at work the running thread belongs to.
int own_block() {
  return current->running / current->threads;
}

Fiber& self() {
  return current->fibers[static_cast<size_t>(current->running)];
}

// Leaves the running fiber (or the scheduler, from -1) for `next`.
void switch_to(int next) {
  Block& block = *current;
  const int from = block.running;
  block.running = next;
  Fiber* to = next < 0 ? nullptr : &block.fibers[static_cast<size_t>(next)];
  void** save = from < 0 ? &block.scheduler_stack : &block.fibers[static_cast<size_t>(from)].stack_pointer;
#if WHITTLE_FIBER_ASAN
  Fiber* leaving = from < 0 ? nullptr : &block.fibers[static_cast<size_t>(from)];
  void* scheduler_fake = nullptr;
  void** fake = leaving ? &leaving->fake_stack : &scheduler_fake;
  const bool ends = leaving && leaving->done;
  __sanitizer_start_switch_fiber(ends ? nullptr : fake, to ? to->stack : block.scheduler_bottom,
                                 to ? kStackBytes : block.scheduler_size);
#endif
  whittle_switch_stacks(save, to ? to->stack_pointer : block.scheduler_stack);
#if WHITTLE_FIBER_ASAN
  __sanitizer_finish_switch_fiber(*fake, nullptr, nullptr);
#endif
}

// The running fiber has nothing to do: goes on with the next ready one.
void leave() {
  Block& block = *current;
  const int next = block.ready.take();
  if (next < 0) {
    if (block.alive > 0) fault("threads wait for each other forever");
    return switch_to(-1);
  }
  if (next != block.running) switch_to(next);
}

void fiber_main() {
#if WHITTLE_FIBER_ASAN
  const void* bottom;
  size_t size;
  __sanitizer_finish_switch_fiber(nullptr, &bottom, &size);
  if (!current->scheduler_bottom) {
    current->scheduler_bottom = bottom;
    current->scheduler_size = size;
  }
#endif
  (*current->body)();
  Fiber& fiber = self();
  if (!fiber.open_copies.empty() || !fiber.copy_groups.empty()) wait_copies(0);
  fiber.done = true;
  --current->alive;
  --current->alive_in[static_cast<size_t>(own_block())];
  progress();
  leave();
  fault("a thread that has ended was woken");
}

void start(Fiber& fiber) {
  fiber.done = false;
  fiber.fake_stack = nullptr;
  fiber.open_copies.clear();
  fiber.copy_groups.clear();
#if WHITTLE_FIBER_ASAN
  ASAN_UNPOISON_MEMORY_REGION(fiber.stack, kStackBytes);  // frames of its last run never returned
#endif
  // As if whittle_switch_stacks had been called by a function whose return address is fiber_main.
  uintptr_t top = (reinterpret_cast<uintptr_t>(fiber.stack) + kStackBytes) & ~uintptr_t{15};
  void** slots = reinterpret_cast<void**>(top) - 8;
  for (int i = 0; i < 6; ++i) slots[i] = nullptr;
  slots[6] = reinterpret_cast<void*>(&fiber_main);
  slots[7] = nullptr;
  fiber.stack_pointer = slots;
}

// Stacks stay for the next launch.
char* stack_of(size_t index) {
  static std::vector<char*> stacks;
  while (stacks.size() <= index) {
    void* memory =
        mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) fault("no memory for stacks");
    stacks.push_back(static_cast<char*>(memory));
  }
  return stacks[index];
}

void run_copy(const CopyOperation& copy) {
  std::memcpy(copy.to, copy.from, static_cast<size_t>(copy.valid_bytes));
  std::memset(static_cast<char*>(copy.to) + copy.valid_bytes, 0, static_cast<size_t>(copy.bytes - copy.valid_bytes));
}

void run_matrices(Warpgroup& queue, size_t groups_left) {
  while (queue.groups.size() > groups_left) {
    for (const MatrixOperation& operation : queue.groups.front()) operation.run(operation, shared_memory());
    queue.groups.pop_front();
  }
}

}  // namespace

void fault(const char* what) {
  std::fprintf(stderr, "CUDA shim: %s", what);
  if (current) {
    std::fprintf(stderr, " (block %u, %u; thread %d; copies %s)\n", current->index.x, current->index.y,
                 current->running, current->early ? "early" : "late");
    for (const Meeting& one : current->warps)
      if (one.arrived) std::fprintf(stderr, "  %d threads of a warp wait at %s\n", one.arrived, one.operation);
    for (const Meeting& one : current->barriers)
      if (one.arrived) std::fprintf(stderr, "  %d of %d threads wait at %s\n", one.arrived, one.wanted, one.operation);
    for (const Meeting& one : current->warpgroups)
      if (one.arrived) std::fprintf(stderr, "  %d threads of a warpgroup wait at %s\n", one.arrived, one.operation);
  }
  std::abort();
}

void limit_shared_memory(int64_t bytes) {
  most_shared = bytes;
}

void run_grid(Dim3 grid, int threads, int64_t shared_bytes, const std::function<void()>& body, int cluster,
              bool together) {
  if (threads < 1 || threads > 1024 || threads % kWarp != 0) fault("blocks have 32 to 1024 threads, whole warps");
  if (cluster < 1 || grid.x % static_cast<unsigned>(cluster) != 0) fault("a grid consists of whole clusters");
  const int blocks = together ? static_cast<int>(grid.x * grid.y) : cluster;  // at work at the same time
  if (blocks > 1 && (threads % kWarpgroup != 0 || threads * blocks > kMostThreads))
    fault("the shim knows 8192 threads at most side by side, in blocks of whole warpgroups");
  if (shared_bytes > most_shared) fault("more shared memory than a block of this kind of GPU has");
  // Blocks of a grid, and single ones from launch to launch, take turns in what the hardware leaves open: the order of
  // the threads, and whether a copy is there at once, where a stage that is filled too soon shows, or as late as its
  // wait allows, where a missing wait does.
  static unsigned launches = 0;
  const unsigned launch = launches++;
  Block block;
  block.grid = grid;
  block.dimension = {static_cast<unsigned>(threads), 1, 1};
  block.body = &body;
  block.threads = threads;
  block.cluster = cluster;
  const int all_threads = threads * blocks;
  block.fibers.resize(static_cast<size_t>(all_threads));
  block.shared_bytes = static_cast<size_t>(shared_bytes);
  // Ends where the allocation ends, as nearly as its alignment allows, so that sanitizers see what lies behind it.
  block.shared_stride = (block.shared_bytes + 1023) / 1024 * 1024 + 1024;
  const size_t allocated = block.shared_stride * static_cast<size_t>(blocks);
  std::unique_ptr<void, void (*)(void*)> memory(std::aligned_alloc(1024, allocated), std::free);
  block.shared = static_cast<uint8_t*>(memory.get());
  Block* const outer = current;
  current = &block;
  for (unsigned y = 0; y < (together ? 1 : grid.y); ++y)
    for (unsigned x = 0; x < grid.x; x += static_cast<unsigned>(together ? grid.x : blocks)) {
      block.index = {x, y, 0};
      std::memset(block.shared, 0x7f, allocated);  // int8 127, and NaN as half, bf16 and float pairs
      block.warps.assign(static_cast<size_t>(all_threads / kWarp), {});
      block.warpgroups.assign(static_cast<size_t>((all_threads + kWarpgroup - 1) / kWarpgroup), {});
      block.matrix_queues.assign(block.warpgroups.size(), {});
      block.barriers.assign(static_cast<size_t>(kBarriers * blocks), {});
      block.whole_clusters.assign(static_cast<size_t>(blocks / cluster), {});
      block.bulk.clear();
      block.polls = 0;
      block.alive = all_threads;
      block.alive_in.assign(static_cast<size_t>(blocks), threads);
      const unsigned turn = launch + x + y;
      block.ready.clear(static_cast<Order>(turn % kOrders), turn, all_threads);
      block.early = turn / kOrders % 2;
      for (int i = 0; i < all_threads; ++i) {
        Fiber& fiber = block.fibers[static_cast<size_t>(i)];
        fiber.index = i;
        fiber.stack = stack_of(static_cast<size_t>(i));
        start(fiber);
        block.ready.add(i);
      }
      block.running = -1;
      leave();
      if (block.alive != 0) fault("a block ended before its threads");
      for (size_t begin = 0; begin < allocated; begin += block.shared_stride)
        for (size_t i = block.shared_bytes; i < block.shared_stride; ++i)
          if (block.shared[begin + i] != 0x7f) fault("a block wrote behind its shared memory");
      for (const Warpgroup& queue : block.matrix_queues)
        if (!queue.open.empty() || !queue.groups.empty()) fault("a warpgroup ended before its matrix operations");
      if (!block.bulk.empty()) fault("a block ended before its bulk copies");
    }
  current = outer;
}

Dim3 thread_index() {
  return {static_cast<unsigned>(current->running % current->threads), 0, 0};
}
int cluster_rank() {
  return own_block() % current->cluster;
}
Dim3 block_index() {
  const unsigned x = current->index.x + static_cast<unsigned>(own_block());
  return {x % current->grid.x, current->index.y + x / current->grid.x, 0};
}
Dim3 block_dimension() {
  return current->dimension;
}
Dim3 grid_dimension() {
  return current->grid;
}
uint8_t* shared_memory() {
  return static_cast<uint8_t*>(shared_of(0, cluster_rank()));
}
void* shared_of(int64_t offset, int rank) {
  if (rank < 0 || rank >= current->cluster) fault("the cluster has no such block");
  const size_t block = static_cast<size_t>(own_block() / current->cluster * current->cluster + rank);
  if (current->alive_in[block] == 0) fault("a block reaches for the memory of one that has ended");
  return current->shared + block * current->shared_stride + offset;
}

void together(Scope scope, const char* operation, void* argument, void (*act)(void* const*, int), int barrier_id,
              int barrier_threads) {
  Block& block = *current;
  const int thread = block.running;
  Meeting* meeting;
  int slot;
  if (scope == Scope::barrier) {
    if (barrier_id < 0 || barrier_id >= kBarriers || barrier_threads % kWarp != 0) fault("no such barrier");
    meeting = &block.barriers[static_cast<size_t>(own_block() * kBarriers + barrier_id)];
    slot = meeting->arrived;
  } else if (scope == Scope::cluster) {
    meeting = &block.whole_clusters[static_cast<size_t>(own_block() / block.cluster)];
    slot = meeting->arrived;
    barrier_threads = block.threads * block.cluster;
  } else {
    const int size = scope == Scope::warp ? kWarp : kWarpgroup;
    auto& meetings = scope == Scope::warp ? block.warps : block.warpgroups;
    meeting = &meetings[static_cast<size_t>(thread / size)];
    slot = thread % size;
    barrier_threads = size;
  }
  if (meeting->arrived == 0) {
    meeting->operation = operation;
    meeting->wanted = barrier_threads;
    meeting->arguments.resize(static_cast<size_t>(barrier_threads));
  } else if (std::strcmp(meeting->operation, operation) != 0 || meeting->wanted != barrier_threads) {
    std::fprintf(stderr, "CUDA shim: a thread came to %s\n", operation);
    fault("threads that must do the same do different things");
  }
  meeting->arguments[static_cast<size_t>(slot)] = argument;
  if (++meeting->arrived < meeting->wanted) {
    meeting->waiting.push_back(thread);
    return leave();
  }
  if (act) act(meeting->arguments.data(), meeting->wanted);
  meeting->arrived = 0;
  for (const int waiting : meeting->waiting) block.ready.add(waiting);
  meeting->waiting.clear();
  progress();
  block.ready.add(thread);  // in its turn, as who arrived first
  leave();
}

void progress() {
  current->polls = 0;
}

void poll() {
  if (++current->polls > kMostPolls) fault("all threads poll and nothing happens");
  current->ready.add_polling(current->running);
  leave();
}

void defer_bulk(const void* key, std::function<void()> work) {
  if (current->early) return work();
  current->bulk.emplace(key, std::move(work));
}

void flush_bulk(const void* key) {
  auto [begin, end] = current->bulk.equal_range(key);
  if (begin == end) return;
  std::vector<std::function<void()>> works;
  for (auto it = begin; it != end; ++it) works.push_back(std::move(it->second));
  current->bulk.erase(begin, end);
  for (const auto& work : works) work();
  progress();
}

void defer_copy(void* to, const void* from, int bytes, int valid_bytes) {
  const CopyOperation copy{to, from, bytes, valid_bytes};
  if (current->early) return run_copy(copy);
  self().open_copies.push_back(copy);
}

void commit_copies() {
  self().copy_groups.push_back(std::move(self().open_copies));
  self().open_copies.clear();
}

void wait_copies(int groups_left) {
  auto& groups = self().copy_groups;
  while (static_cast<int>(groups.size()) > groups_left) {
    for (const CopyOperation& copy : groups.front()) run_copy(copy);
    groups.pop_front();
  }
}

void defer_matrix(const MatrixOperation& operation) {
  current->matrix_queues[static_cast<size_t>(current->running / kWarpgroup)].open.push_back(operation);
}

void commit_matrices() {
  Warpgroup& queue = current->matrix_queues[static_cast<size_t>(current->running / kWarpgroup)];
  queue.groups.push_back(std::move(queue.open));
  queue.open.clear();
}

void wait_matrices(int groups_left) {
  run_matrices(current->matrix_queues[static_cast<size_t>(current->running / kWarpgroup)],
               static_cast<size_t>(groups_left));
}

}  // namespace whittle::cuda::shim
