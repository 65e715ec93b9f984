#include "test/kernel_variants.h"

#include "test/test.h"

namespace whittle::test {

const std::vector<KernelVariant>& kernel_variants() {
  static const std::vector<KernelVariant> variants = [] {
    std::vector<KernelVariant> found;
    for (int i = 0; i < kIsaCount; ++i) {
      Isa isa = static_cast<Isa>(i);
      if (const KernelTable* table = kernels_for(isa)) found.push_back({isa_name(isa), table});
    }
    return found;
  }();
  return variants;
}

}  // namespace whittle::test
