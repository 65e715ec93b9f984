#include "test/kernel_variants.h"

#include "test/test.h"

#if defined(WHITTLE_EMULATION_tiles) || defined(WHITTLE_EMULATION_simde)
// The kernels' own sources, compiled once more with the namespace renamed (binding.gyp, target kernels_emulated). Their
// KernelTable is the same struct under another name.
namespace whittle_emulated {
struct KernelTable;
void register_avx512(KernelTable& table);
void register_vnni(KernelTable& table, bool with_bf16);
void register_amx(KernelTable& table);
}  // namespace whittle_emulated
#endif

namespace whittle::test {

namespace {

void add_emulated([[maybe_unused]] std::vector<KernelVariant>& variants) {
#if defined(WHITTLE_EMULATION_tiles)
  static KernelTable amx;
  const KernelTable* vnni = kernels_for(Isa::vnni);
  if (!vnni || !vnni->native_bf16) return;
  amx = *vnni;
  amx.isa = Isa::amx;
  whittle_emulated::register_amx(reinterpret_cast<whittle_emulated::KernelTable&>(amx));
  variants.push_back({"amx (emulated tiles)", &amx});
#elif defined(WHITTLE_EMULATION_simde)
  static KernelTable tables[3];
  const KernelTable* avx2 = kernels_for(Isa::avx2);
  if (!avx2) return;
  KernelTable table = *avx2;
  auto& emulated = reinterpret_cast<whittle_emulated::KernelTable&>(table);
  auto keep = [&](int index, Isa isa, const char* name) {
    tables[index] = table;
    tables[index].isa = isa;
    if (isa != Isa::amx) table.small_gemm_s8 = tables[index].small_gemm_s8 = table.gemm_s8;
    tables[index].native_bf16 = isa >= Isa::vnni;
    variants.push_back({name, &tables[index]});
  };
  whittle_emulated::register_avx512(emulated);
  keep(0, Isa::avx512, "avx512 (emulated)");
  whittle_emulated::register_vnni(emulated, true);
  keep(1, Isa::vnni, "vnni (emulated)");
  whittle_emulated::register_amx(emulated);
  keep(2, Isa::amx, "amx (emulated)");
#endif
}

}  // namespace

const std::vector<KernelVariant>& kernel_variants() {
  static const std::vector<KernelVariant> variants = [] {
    std::vector<KernelVariant> found;
    for (int i = 0; i < kIsaCount; ++i) {
      Isa isa = static_cast<Isa>(i);
      if (const KernelTable* table = kernels_for(isa)) found.push_back({isa_name(isa), table});
    }
    add_emulated(found);
    return found;
  }();
  return variants;
}

}  // namespace whittle::test

using namespace whittle;
using namespace whittle::test;

// Says which kernels this run could not execute at all, or only in emulation.
namespace {

void require_isa(Isa isa) {
  if (kernels_for(isa)) return;
  for (const KernelVariant& variant : kernel_variants()) {
    if (variant.table->isa != isa) continue;
    SKIP(std::string("this CPU has no ") + isa_name(isa) + ": its kernels were checked as " + variant.name +
         ", not natively");
  }
  SKIP(std::string("this CPU has no ") + isa_name(isa) + " and this build no emulation of it: its kernels DID NOT RUN");
}

}  // namespace

TEST(kernel_variants, avx2_runs_natively) {
  require_isa(Isa::avx2);
}
TEST(kernel_variants, avxvnni_runs_natively) {
  require_isa(Isa::avxvnni);
}
TEST(kernel_variants, avx512_runs_natively) {
  require_isa(Isa::avx512);
}
TEST(kernel_variants, vnni_runs_natively) {
  require_isa(Isa::vnni);
}
TEST(kernel_variants, amx_runs_natively) {
  require_isa(Isa::amx);
}
