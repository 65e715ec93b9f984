// Chunks cover every sequence once, in order, within their token budget.
#include "engine/batcher.h"

#include "test/test.h"

using namespace whittle;
using namespace whittle::test;

TEST(batcher, chunks_cover_the_batch_in_order_and_keep_to_the_budget) {
  auto random = generator(51);
  std::vector<Chunk> chunks;
  for (int round = 0; round < 300; ++round) {
    const int64_t sequences = 1 + static_cast<int64_t>(random() % 200);
    const int threads = 1 + static_cast<int>(random() % 8);
    std::vector<int32_t> offsets = {0};
    for (int64_t i = 0; i < sequences; ++i)
      offsets.push_back(offsets.back() + 1 + static_cast<int32_t>(random() % (round % 3 ? 30 : 400)));
    const RaggedBatch batch{nullptr, nullptr, offsets.data(), sequences};
    plan_chunks(batch, threads, chunks);
    const int64_t target = target_tokens(batch.tokens(), threads);
    CHECK(target >= 32 && target <= 128);
    int64_t next = 0;
    for (const Chunk& chunk : chunks) {
      CHECK_EQUAL(chunk.first, next);
      CHECK(chunk.last > chunk.first);
      const int64_t tokens = offsets[static_cast<size_t>(chunk.last)] - offsets[static_cast<size_t>(chunk.first)];
      CHECK(tokens <= target || chunk.last == chunk.first + 1);
      next = chunk.last;
    }
    CHECK_EQUAL(next, sequences);
  }
}
