#include <cstdlib>
#include <string>

#include "cpu/cpu_info.h"
#include "cpu/error.h"
#include "kernels/kernel_table.h"

namespace whittle {

namespace {

struct Tables {
  KernelTable of[kIsaCount] = {};

  Tables() {
    const CpuInfo& cpu = cpu_info();
    KernelTable table{};
    register_ref(table);
    keep(table, Isa::ref);
    if (!cpu.supports(Isa::avx2)) return;
    register_avx2(table);
    keep(table, Isa::avx2);
    if (cpu.supports(Isa::avxvnni)) {
      KernelTable branch = table;  // AVX-512 CPUs without AVX-VNNI exist, so the ladder goes on from AVX2
      register_avxvnni(branch);
      keep(branch, Isa::avxvnni);
    }
    if (!cpu.supports(Isa::avx512)) return;
    register_avx512(table);
    keep(table, Isa::avx512);
    if (!cpu.supports(Isa::vnni)) return;
    register_vnni(table, cpu.avx512_bf16);
    table.native_bf16 = cpu.avx512_bf16;
    keep(table, Isa::vnni);
    if (!cpu.supports(Isa::amx)) return;
    register_amx(table);
    keep(table, Isa::amx);
  }

  void keep(KernelTable& table, Isa isa) {
    table.isa = isa;
    if (isa != Isa::amx) table.small_gemm_s8 = table.gemm_s8;
    of[static_cast<int>(isa)] = table;
  }
};

Isa choose_isa() {
  const char* wanted = std::getenv("WHITTLE_ISA");
  Isa isa = cpu_info().best_isa();
  if (!wanted || !*wanted) return isa;
  std::string names;
  for (int i = 0; i < kIsaCount; ++i) {
    if (cpu_info().supports(static_cast<Isa>(i))) {
      names += (names.empty() ? "" : ", ") + std::string(isa_name(static_cast<Isa>(i)));
    }
  }
  bool known = parse_isa(wanted, &isa);
  if (known && cpu_info().supports(isa)) return isa;
  throw Error("BAD_OPTION", "Expected WHITTLE_ISA to be one of " + names + " on this machine but it is \"" + wanted +
                                "\"" + (known ? ", which this machine lacks" : ""));
}

}  // namespace

const KernelTable* kernels_for(Isa isa) {
  static const Tables tables;
  return cpu_info().supports(isa) ? &tables.of[static_cast<int>(isa)] : nullptr;
}

const KernelTable& kernels() {
  static const KernelTable& chosen = *kernels_for(choose_isa());
  return chosen;
}

}  // namespace whittle
