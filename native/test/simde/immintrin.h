// Stands in for <immintrin.h> where kernels for AVX-512 are compiled for a CPU without it: SIMDe's portable forms under
// the names of the intrinsics, and the few that SIMDe lacks.
#pragma once

#include_next <immintrin.h>

#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>
