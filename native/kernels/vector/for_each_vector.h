// The kernels of this folder are written once over a vector type F (avx2::Floats, avx512::Floats) and instantiated in
// the folder of each ISA. F lies in an unnamed namespace, so no instantiation for one ISA can serve another.
#pragma once

#include <cstdint>

namespace whittle::vector {

// Calls full(c) for each whole vector of [0, count) and rest(c, lanes) for what is left.
template <typename F, typename Full, typename Rest>
inline __attribute__((always_inline)) void for_each_vector(int64_t count, const Full& full, const Rest& rest) {
  int64_t c = 0;
  for (; c + F::width <= count; c += F::width) full(c);
  if (c < count) rest(c, count - c);
}

}  // namespace whittle::vector
