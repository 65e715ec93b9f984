// The instruction sets that whittle has kernels for, weakest first.
#pragma once

namespace whittle {

enum class Isa : int { ref = 0, avx2, avxvnni, avx512, vnni, amx };
inline constexpr int kIsaCount = 6;

// "ref", "avx2", ... as WHITTLE_ISA spells them.
const char* isa_name(Isa isa);
// False if the name is none of them.
bool parse_isa(const char* name, Isa* isa);

}  // namespace whittle
