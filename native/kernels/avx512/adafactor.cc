#include "kernels/vector/adafactor.h"

#include "kernels/avx512/floats.h"
#include "kernels/kernel_table.h"

namespace whittle::avx512 {

void add_adafactor(KernelTable& table) {
  table.adafactor_squares = vector::adafactor_squares<Floats>;
  table.adafactor = vector::adafactor<Floats>;
}

}  // namespace whittle::avx512
