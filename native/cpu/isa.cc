#include "cpu/isa.h"

#include <cstring>

namespace whittle {

const char* isa_name(Isa isa) {
  static const char* const names[kIsaCount] = {"ref", "avx2", "avxvnni", "avx512", "vnni", "amx"};
  return names[static_cast<int>(isa)];
}

bool parse_isa(const char* name, Isa* isa) {
  for (int i = 0; i < kIsaCount; ++i) {
    if (std::strcmp(name, isa_name(static_cast<Isa>(i))) != 0) continue;
    *isa = static_cast<Isa>(i);
    return true;
  }
  return false;
}

}  // namespace whittle
