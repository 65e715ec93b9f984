// What Hugging Face's BertNormalizer and BertPreTokenizer do to code points: the data of character_table.cc, made by
// scripts/make-unicode-tables.py. Sorted and disjoint; first and last are inclusive.
#pragma once

#include <cstddef>
#include <cstdint>

namespace whittle::unicode {

struct Range {
  uint32_t first, last;
};

// Each code point becomes itself plus `shift`, or, where that is 0, `targets` up to the first 0.
struct Mapping {
  uint32_t first, last;
  int32_t shift;
  uint32_t targets[4];
};

struct ClassRange {
  uint32_t first, last;
  uint8_t combining_class;
};

extern const Range kRemoved[], kSpaced[], kChinese[], kWhitespace[], kPunctuation[], kMarks[], kWordCharacters[];
extern const size_t kRemoved_count, kSpaced_count, kChinese_count, kWhitespace_count, kPunctuation_count, kMarks_count,
    kWordCharacters_count;
extern const Mapping kStripped[], kLowered[];
extern const size_t kStripped_count, kLowered_count;
// Grouped by class, not sorted.
extern const ClassRange kCombiningClasses[];
extern const size_t kCombiningClasses_count;

}  // namespace whittle::unicode
