// Counts what one shared object allocates, and makes it fail: preloaded by bench/memory.ts and
// test/native/engine-memory.test.ts, part of no build. COUNTED_OBJECT is the end of the object's file name, COUNT_FILE a
// file of three uint64: allocations and their bytes, as the calls that return into the object ask for them, and how
// many more succeed: 0 is all, n that the n-th from now on fails.
#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>

extern "C" {
void* __libc_malloc(size_t);
void* __libc_calloc(size_t, size_t);
void* __libc_realloc(void*, size_t);
void* __libc_memalign(size_t, size_t);
}

namespace {

struct Counts {
  std::atomic<uint64_t> allocations, bytes, until_failure;
};

std::atomic<uintptr_t> object_begin{0}, object_end{0};

int find_object(dl_phdr_info* info, size_t, void* name) {
  const size_t length = std::strlen(info->dlpi_name), wanted = std::strlen(static_cast<char*>(name));
  if (length < wanted || std::strcmp(info->dlpi_name + length - wanted, static_cast<char*>(name)) != 0) return 0;
  uintptr_t last = 0;
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    const uintptr_t after = info->dlpi_phdr[i].p_vaddr + info->dlpi_phdr[i].p_memsz;
    if (info->dlpi_phdr[i].p_type == PT_LOAD && after > last) last = after;
  }
  object_begin = info->dlpi_addr;
  object_end = info->dlpi_addr + last;
  return 1;
}

Counts* open_counts() {
  const char* path = std::getenv("COUNT_FILE");
  const int file = path ? open(path, O_RDWR) : -1;
  if (file < 0) return nullptr;
  void* mapped = mmap(nullptr, sizeof(Counts), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  close(file);
  return mapped == MAP_FAILED ? nullptr : static_cast<Counts*>(mapped);
}

std::atomic<Counts*> counts{nullptr};
__attribute__((constructor)) void start() {
  counts = open_counts();
}

// False if this allocation must fail.
bool count(void* caller, size_t bytes) {
  Counts* to = counts;
  if (!to) return true;
  const uintptr_t address = reinterpret_cast<uintptr_t>(caller);
  if (address < object_begin || address >= object_end) return true;
  ++to->allocations;
  to->bytes += bytes;
  return to->until_failure == 0 || --to->until_failure > 0;
}

void* out_of_memory() {
  errno = ENOMEM;
  return nullptr;
}

void* or_throw(void* memory) {
  if (!memory) throw std::bad_alloc();
  return memory;
}

}  // namespace

#define COUNT(bytes) count(__builtin_return_address(0), bytes)

extern "C" {
// The object is loaded some time after this library.
void* dlopen(const char* file, int flags) {
  static const auto open_next = reinterpret_cast<void* (*)(const char*, int)>(dlsym(RTLD_NEXT, "dlopen"));
  void* opened = open_next(file, flags);
  const char* wanted = std::getenv("COUNTED_OBJECT");
  if (counts && wanted && object_end == 0) dl_iterate_phdr(find_object, const_cast<char*>(wanted));
  return opened;
}

void* malloc(size_t bytes) {
  return COUNT(bytes) ? __libc_malloc(bytes) : out_of_memory();
}
void* calloc(size_t items, size_t size) {
  return COUNT(items * size) ? __libc_calloc(items, size) : out_of_memory();
}
void* realloc(void* old, size_t bytes) {
  return COUNT(bytes) ? __libc_realloc(old, bytes) : out_of_memory();
}
void* aligned_alloc(size_t alignment, size_t bytes) {
  return COUNT(bytes) ? __libc_memalign(alignment, bytes) : out_of_memory();
}
int posix_memalign(void** result, size_t alignment, size_t bytes) {
  *result = COUNT(bytes) ? __libc_memalign(alignment, bytes) : nullptr;
  return *result ? 0 : ENOMEM;
}
}

void* operator new(size_t bytes) {
  return or_throw(COUNT(bytes) ? __libc_malloc(bytes ? bytes : 1) : nullptr);
}
void* operator new[](size_t bytes) {
  return or_throw(COUNT(bytes) ? __libc_malloc(bytes ? bytes : 1) : nullptr);
}
void* operator new(size_t bytes, std::align_val_t alignment) {
  return or_throw(COUNT(bytes) ? __libc_memalign(static_cast<size_t>(alignment), bytes) : nullptr);
}
void* operator new[](size_t bytes, std::align_val_t alignment) {
  return or_throw(COUNT(bytes) ? __libc_memalign(static_cast<size_t>(alignment), bytes) : nullptr);
}
