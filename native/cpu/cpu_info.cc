#include "cpu/cpu_info.h"

#include <cpuid.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <thread>
#include <vector>

namespace whittle {

namespace {

struct Registers {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
};

Registers cpuid(unsigned leaf, unsigned subleaf = 0) {
  Registers r;
  if (__get_cpuid_max(leaf & 0x80000000u, nullptr) >= leaf) {
    __cpuid_count(leaf, subleaf, r.eax, r.ebx, r.ecx, r.edx);
  }
  return r;
}

bool bit(unsigned value, int index) {
  return (value >> index) & 1;
}

uint64_t read_xcr0() {
  unsigned low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (static_cast<uint64_t>(high) << 32) | low;
}

std::string text(std::initializer_list<unsigned> words) {
  std::string result;
  for (unsigned word : words) result.append(reinterpret_cast<const char*>(&word), 4);
  result = result.c_str();
  size_t begin = result.find_first_not_of(' ');
  size_t end = result.find_last_not_of(' ');
  return begin == std::string::npos ? "" : result.substr(begin, end - begin + 1);
}

void detect_names(CpuInfo& info) {
  Registers r = cpuid(0);
  info.vendor = text({r.ebx, r.edx, r.ecx});
  Registers a = cpuid(0x80000002u), b = cpuid(0x80000003u), c = cpuid(0x80000004u);
  info.model = text({a.eax, a.ebx, a.ecx, a.edx, b.eax, b.ebx, b.ecx, b.edx, c.eax, c.ebx, c.ecx, c.edx});
}

// Asks Linux for the tile data registers; they are off in a process until it asks (kernel 5.16 and later).
bool request_amx(std::string* note) {
  constexpr long kRequestPermission = 0x1023, kTileData = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  if (syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0) return true;
  *note = std::string("the kernel refuses the tile registers (arch_prctl: ") + std::strerror(errno) + ")";
  return false;
}

void detect_features(CpuInfo& info) {
  Registers one = cpuid(1), seven = cpuid(7), seven_one;
  if (seven.eax >= 1) seven_one = cpuid(7, 1);
  if (!bit(one.ecx, 27)) return;  // OSXSAVE
  uint64_t xcr0 = read_xcr0();
  bool os_ymm = (xcr0 & 0x6) == 0x6, os_zmm = (xcr0 & 0xe6) == 0xe6, os_tiles = (xcr0 & 0x60000) == 0x60000;
  info.avx2 = os_ymm && bit(one.ecx, 28) && bit(one.ecx, 12) && bit(one.ecx, 29) && bit(seven.ebx, 5);
  info.avxvnni = info.avx2 && bit(seven_one.eax, 4);
  info.avx512 =
      info.avx2 && os_zmm && bit(seven.ebx, 16) && bit(seven.ebx, 17) && bit(seven.ebx, 30) && bit(seven.ebx, 31);
  info.avx512_vnni = info.avx512 && bit(seven.ecx, 11);
  info.avx512_bf16 = info.avx512 && bit(seven_one.eax, 5);
  bool amx_tile = bit(seven.edx, 24), amx_int8 = bit(seven.edx, 25), amx_bf16 = bit(seven.edx, 22);
  if (!amx_tile || !(amx_int8 || amx_bf16)) return;
  if (!os_tiles) {
    info.amx_note = "the operating system does not save the tile registers (XCR0)";
  } else if (request_amx(&info.amx_note)) {
    info.amx_int8 = amx_int8;
    info.amx_bf16 = amx_bf16;
    if (!info.supports(Isa::amx)) info.amx_note = "whittle's AMX kernels need AVX-512 VNNI and BF16 beside it";
  }
}

void detect_threads(CpuInfo& info) {
  info.logical_cpus = std::max(1, static_cast<int>(sysconf(_SC_NPROCESSORS_CONF)));
  info.affinity_cpus = info.affinity_cores = info.logical_cpus;
  for (size_t cpus = 1024; cpus <= 65536; cpus *= 2) {  // the kernel refuses a set smaller than its own
    std::vector<unsigned long> mask(cpus / (8 * sizeof(unsigned long)));
    size_t bytes = mask.size() * sizeof(unsigned long);
    if (sched_getaffinity(0, bytes, reinterpret_cast<cpu_set_t*>(mask.data())) != 0) continue;
    std::vector<int> allowed;
    for (size_t cpu = 0; cpu < cpus; ++cpu) {
      if (CPU_ISSET_S(cpu, bytes, reinterpret_cast<cpu_set_t*>(mask.data()))) allowed.push_back(static_cast<int>(cpu));
    }
    info.affinity_cpus = std::max(1, static_cast<int>(allowed.size()));
    info.affinity_cores = std::max(1, physical_cores(allowed, "/sys/devices/system/cpu"));
    break;
  }
  info.cgroup_cpus = cgroup_cpu_quota("/proc/self", "/sys/fs/cgroup");
  // Two hardware threads share the vector units of their core: for whittle's kernels a second one brings nothing.
  info.threads = info.affinity_cores;
  if (info.cgroup_cpus > 0) {
    info.threads = std::min(info.threads, static_cast<int>(std::ceil(std::min(info.cgroup_cpus, 65536.0))));
  }
  info.threads = std::max(1, info.threads);
}

void detect_caches(CpuInfo& info) {
  info.l1d_bytes = std::max(0L, sysconf(_SC_LEVEL1_DCACHE_SIZE));
  info.l2_bytes = std::max(0L, sysconf(_SC_LEVEL2_CACHE_SIZE));
  info.l3_bytes = std::max(0L, sysconf(_SC_LEVEL3_CACHE_SIZE));
}

}  // namespace

bool CpuInfo::supports(Isa isa) const {
  switch (isa) {
    case Isa::ref:
      return true;
    case Isa::avx2:
      return avx2;
    case Isa::avxvnni:
      return avxvnni;
    case Isa::avx512:
      return avx512;
    case Isa::vnni:
      return avx512_vnni;
    case Isa::amx:
      return amx_int8 && amx_bf16 && avx512_vnni && avx512_bf16;
  }
  return false;
}

Isa CpuInfo::best_isa() const {
  for (int isa = kIsaCount - 1; isa > 0; --isa) {
    if (supports(static_cast<Isa>(isa))) return static_cast<Isa>(isa);
  }
  return Isa::ref;
}

const CpuInfo& cpu_info() {
  static const CpuInfo info = [] {
    CpuInfo found;
    detect_names(found);
    detect_features(found);
    detect_threads(found);
    detect_caches(found);
    return found;
  }();
  return info;
}

}  // namespace whittle
