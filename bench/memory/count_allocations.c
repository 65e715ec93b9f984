// Counts what one shared object allocates, for memory.ts. Preloaded; COUNTED_OBJECT is the end of the object's file name,
// COUNT_FILE a file of two uint64: allocations and their bytes, as the calls that return into the object ask for them.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

static _Atomic uintptr_t begin_, end_;
static _Atomic(_Atomic uint64_t *) counts_;
static _Atomic uint64_t calls_;

static int find_object(struct dl_phdr_info *info, size_t size, void *name) {
  (void)size;
  size_t length = strlen(info->dlpi_name), wanted = strlen(name);
  if (length < wanted || strcmp(info->dlpi_name + length - wanted, name) != 0) return 0;
  uintptr_t last = 0;
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    uintptr_t after = info->dlpi_phdr[i].p_vaddr + info->dlpi_phdr[i].p_memsz;
    if (info->dlpi_phdr[i].p_type == PT_LOAD && after > last) last = after;
  }
  begin_ = info->dlpi_addr;
  end_ = info->dlpi_addr + last;
  return 1;
}

__attribute__((constructor)) static void open_counts(void) {
  const char *path = getenv("COUNT_FILE");
  int file = path ? open(path, O_RDWR) : -1;
  if (file < 0) return;
  void *mapped = mmap(NULL, 16, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  close(file);
  if (mapped != MAP_FAILED) counts_ = mapped;
}

// The object is loaded some time after this library: look for it now and then.
static void count(void *caller, size_t bytes) {
  _Atomic uint64_t *counts = counts_;
  if (!counts) return;
  if (!end_ && ++calls_ % 1024 == 0) dl_iterate_phdr(find_object, getenv("COUNTED_OBJECT"));
  uintptr_t address = (uintptr_t)caller;
  if (address < begin_ || address >= end_) return;
  ++counts[0];
  counts[1] += bytes;
}

#define CALLER __builtin_return_address(0)

void *malloc(size_t bytes) { return count(CALLER, bytes), __libc_malloc(bytes); }
void *calloc(size_t items, size_t size) { return count(CALLER, items * size), __libc_calloc(items, size); }
void *realloc(void *old, size_t bytes) { return count(CALLER, bytes), __libc_realloc(old, bytes); }
void *aligned_alloc(size_t alignment, size_t bytes) {
  return count(CALLER, bytes), __libc_memalign(alignment, bytes);
}
int posix_memalign(void **result, size_t alignment, size_t bytes) {
  count(CALLER, bytes);
  *result = __libc_memalign(alignment, bytes);
  return *result ? 0 : 12;  // ENOMEM
}
// operator new and new[], plain and aligned. Running out of memory here ends the benchmark.
void *_Znwm(size_t bytes) { return count(CALLER, bytes), __libc_malloc(bytes); }
void *_Znam(size_t bytes) { return count(CALLER, bytes), __libc_malloc(bytes); }
void *_ZnwmSt11align_val_t(size_t bytes, size_t alignment) {
  return count(CALLER, bytes), __libc_memalign(alignment, bytes);
}
void *_ZnamSt11align_val_t(size_t bytes, size_t alignment) {
  return count(CALLER, bytes), __libc_memalign(alignment, bytes);
}
