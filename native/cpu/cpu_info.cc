#include "cpu/cpu_info.h"

namespace whittle {

const CpuInfo& cpu_info() {
  static const CpuInfo info;
  return info;
}

}  // namespace whittle
