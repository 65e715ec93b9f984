#include <cstring>

#include "kernels/kernel_table.h"

namespace whittle::ref {

namespace {

// Philox4x32-10: J. Salmon, M. Moraes, R. Dror, D. Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
void philox(uint32_t words[4], uint32_t key0, uint32_t key1) {
  for (int round = 0; round < 10; ++round) {
    uint64_t product0 = uint64_t{0xD2511F53u} * words[0];
    uint64_t product1 = uint64_t{0xCD9E8D57u} * words[2];
    uint32_t next[4] = {static_cast<uint32_t>(product1 >> 32) ^ words[1] ^ key0, static_cast<uint32_t>(product1),
                        static_cast<uint32_t>(product0 >> 32) ^ words[3] ^ key1, static_cast<uint32_t>(product0)};
    std::memcpy(words, next, sizeof next);
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
}

void dropout_bits(const uint32_t key[2], const uint32_t counter[3], uint32_t threshold, int64_t count, uint8_t* bits) {
  for (int64_t block = 0; block * 128 < count; ++block) {
    uint8_t* out = bits + block * 16;
    std::memset(out, 0, 16);
    for (uint32_t lane = 0; lane < 16; ++lane) {
      uint32_t words[4] = {static_cast<uint32_t>(block) * 16 + lane, counter[0], counter[1], counter[2]};
      philox(words, key[0], key[1]);
      for (uint32_t word = 0; word < 4; ++word) {
        for (uint32_t half = 0; half < 2; ++half) {
          uint32_t element = word * 32 + lane * 2 + half;
          bool kept = (words[word] >> (16 * half) & 0xffff) >= threshold;
          out[element / 8] |= static_cast<uint8_t>(kept << (element % 8));
        }
      }
    }
  }
}

}  // namespace

void add_dropout_bits(KernelTable& table) {
  table.dropout_bits = dropout_bits;
}

}  // namespace whittle::ref
