#include "text/character_table.h"

#include <algorithm>
#include <cstring>
#include <span>
#include <unordered_map>

#include "text/piece_trie.h"
#include "text/unicode_tables.h"

namespace whittle {

namespace {

using namespace unicode;

constexpr char32_t kCodePoints = 0x110000;
constexpr char32_t kReplacement = 0xfffd;

// What is true of a code point before any rules.
enum Flag : uint16_t {
  removed = 1,
  spaced = 2,
  chinese = 4,
  whitespace = 8,
  punctuation = 16,
  mark = 32,
  decomposes = 64,
  lowers = 128,
  ordered = 256  // combining class above 0
};

#define WHITTLE_TABLE(name) std::span(name, name##_count)

template <typename T>
const T* find_range(std::span<const T> ranges, char32_t c) {
  const auto found = std::lower_bound(ranges.begin(), ranges.end(), c,
                                      [](const T& range, char32_t value) { return range.last < value; });
  return found != ranges.end() && found->first <= c ? &*found : nullptr;
}

bool is_surrogate(char32_t c) {
  return c >= 0xd800 && c <= 0xdfff;
}

// Hangul syllables decompose by arithmetic (Unicode Standard, section 3.12).
constexpr char32_t kHangulFirst = 0xac00, kHangulLast = 0xd7a3;

// Up to four code points.
struct Parts {
  char32_t c[4];
  int count = 0;
  void add(char32_t part) { c[count++] = part; }
};

Parts mapped(std::span<const Mapping> mappings, char32_t c) {
  Parts parts;
  const Mapping* mapping = find_range(mappings, c);
  if (mapping && mapping->shift == 0) {
    for (const uint32_t target : mapping->targets)
      if (target) parts.add(target);
  } else {
    parts.add(mapping ? static_cast<char32_t>(static_cast<int64_t>(c) + mapping->shift) : c);
  }
  return parts;
}

// What strip_accents leaves of a code point that is no mark.
Parts decompose(char32_t c) {
  if (c < kHangulFirst || c > kHangulLast) return mapped(WHITTLE_TABLE(kStripped), c);
  constexpr char32_t kVowels = 21, kTrails = 28;
  const char32_t index = c - kHangulFirst, trail = index % kTrails;
  Parts parts;
  parts.add(0x1100 + index / (kVowels * kTrails));
  parts.add(0x1161 + index / kTrails % kVowels);
  if (trail) parts.add(0x11a7 + trail);
  return parts;
}

Parts lower(char32_t c) {
  return mapped(WHITTLE_TABLE(kLowered), c);
}

uint8_t combining_class(char32_t c) {
  if (c < 0x300) return 0;
  for (const ClassRange& range : WHITTLE_TABLE(kCombiningClasses))
    if (c >= range.first && c <= range.last) return range.combining_class;
  return 0;
}

// [kCodePoints]
std::vector<uint16_t> all_flags() {
  std::vector<uint16_t> flags(kCodePoints);
  const auto paint = [&](auto ranges, Flag flag) {
    for (const auto& range : ranges)
      for (uint32_t c = range.first; c <= range.last; ++c) flags[c] = static_cast<uint16_t>(flags[c] | flag);
  };
  paint(WHITTLE_TABLE(kRemoved), removed);
  paint(WHITTLE_TABLE(kSpaced), spaced);
  paint(WHITTLE_TABLE(kChinese), chinese);
  paint(WHITTLE_TABLE(kWhitespace), whitespace);
  paint(WHITTLE_TABLE(kPunctuation), punctuation);
  paint(WHITTLE_TABLE(kMarks), mark);
  paint(WHITTLE_TABLE(kStripped), decomposes);
  paint(WHITTLE_TABLE(kLowered), lowers);
  paint(WHITTLE_TABLE(kCombiningClasses), ordered);
  constexpr Range kHangul[] = {{kHangulFirst, kHangulLast}};
  paint(std::span(kHangul), decomposes);
  // A lone surrogate is no character; written as UTF-8 it becomes U+FFFD.
  for (char32_t c = 0xd800; c <= 0xdfff; ++c) flags[c] = flags[kReplacement];
  return flags;
}

}  // namespace

bool is_white_space(char32_t c) {
  return find_range(WHITTLE_TABLE(kWhitespace), c) != nullptr;
}

bool is_punctuation(char32_t c) {
  return find_range(WHITTLE_TABLE(kPunctuation), c) != nullptr;
}

bool is_word_character(char32_t c) {
  return find_range(WHITTLE_TABLE(kWordCharacters), c) != nullptr;
}

void append_utf8(char32_t c, std::string& bytes) {
  const auto add = [&](char32_t byte) { bytes.push_back(static_cast<char>(byte)); };
  if (c == 0) return add(kNulByte);
  if (c < 0x80) return add(c);
  if (c < 0x800) {
    add(0xc0 | c >> 6);
  } else {
    if (c < 0x10000) {
      add(0xe0 | c >> 12);
    } else {
      add(0xf0 | c >> 18);
      add(0x80 | (c >> 12 & 0x3f));
    }
    add(0x80 | (c >> 6 & 0x3f));
  }
  add(0x80 | (c & 0x3f));
}

CharacterTable::CharacterTable(const NormalizerRules& rules, FunctionRef<int32_t(std::string_view)> id_of_single,
                               const std::vector<char32_t>& first_of_added)
    : index_(kCodePoints >> kShift) {
  const std::vector<uint16_t> flags = all_flags();
  const auto make = [&](char32_t given) {
    Character result;
    std::memset(&result, 0, sizeof result);  // blocks are compared as bytes
    result.id = -1;
    const uint16_t own = flags[given];
    const auto set_kind = [&](Kind kind) { result.kind = static_cast<uint32_t>(kind); };
    set_kind(Kind::nothing);
    if (rules.clean_text && (own & removed)) return result;
    const auto begins_added = [&](char32_t first) {
      return std::find(first_of_added.begin(), first_of_added.end(), first) != first_of_added.end();
    };
    if (rules.clean_text && (own & spaced)) {
      set_kind(Kind::space);
      result.begins_added = begins_added(' ');
      return result;
    }
    if (rules.strip_accents && (own & mark)) return result;
    const char32_t c = is_surrogate(given) ? kReplacement : given;
    std::string bytes;
    char32_t first = 0;
    Parts parts;
    if (rules.strip_accents && (own & decomposes))
      parts = decompose(c);
    else
      parts.add(c);
    for (int i = 0; i < parts.count; ++i) {
      if (rules.strip_accents && (flags[parts.c[i]] & ordered)) result.reorders = 1;
      Parts lowered;
      if (rules.lowercase)
        lowered = lower(parts.c[i]);
      else
        lowered.add(parts.c[i]);
      for (int j = 0; j < lowered.count; ++j) {
        if (bytes.empty()) first = lowered.c[j];
        append_utf8(lowered.c[j], bytes);
      }
    }
    const uint16_t leading = flags[first];
    const bool is_set_apart = rules.handle_chinese && (own & chinese);  // by spaces
    result.begins_added = begins_added(first) || (is_set_apart && begins_added(' '));
    set_kind(leading & whitespace ? Kind::space : leading & punctuation || is_set_apart ? Kind::single : Kind::word);
    std::string itself;
    append_utf8(given, itself);
    result.length = static_cast<uint32_t>(bytes.size());
    result.is_itself = bytes == itself;
    if (!result.is_itself) {
      result.text = static_cast<uint32_t>(texts_.size());
      texts_ += bytes;
    }
    if (result.get_kind() == Kind::single) result.id = id_of_single(bytes);
    return result;
  };

  std::unordered_map<std::string, uint16_t> known;  // blocks by their bytes
  std::vector<Character> block(kMask + 1);
  char32_t plain_from = 0;  // the block holds plain letters of as many bytes as this code point has
  for (char32_t first = 0; first < kCodePoints; first += kMask + 1) {
    const auto* begin = flags.data() + first;
    const bool is_plain = std::all_of(begin, begin + kMask + 1, [](uint16_t flag) { return flag == 0; }) &&
                          std::none_of(first_of_added.begin(), first_of_added.end(),
                                       [&](char32_t c) { return c >> kShift == first >> kShift; });
    if (is_plain && plain_from >= 0x800 && (first < 0x10000) == (plain_from < 0x10000)) {
      index_[first >> kShift] = index_[plain_from >> kShift];
      continue;
    }
    if (is_plain) plain_from = first;
    for (char32_t i = 0; i <= kMask; ++i) block[i] = make(first + i);
    const std::string bytes(reinterpret_cast<const char*>(block.data()), block.size() * sizeof(Character));
    const auto [place, is_new] = known.emplace(bytes, static_cast<uint16_t>(known.size()));
    if (is_new) blocks_.insert(blocks_.end(), block.begin(), block.end());
    index_[first >> kShift] = place->second;
  }
  blocks_.shrink_to_fit();
  texts_.shrink_to_fit();
}

namespace {

// clean_text and handle_chinese_chars.
std::vector<Placed> clean(const NormalizerRules& rules, const std::vector<Placed>& text) {
  std::vector<Placed> cleaned;
  cleaned.reserve(text.size());
  for (const Placed& one : text) {
    if (rules.clean_text && find_range(WHITTLE_TABLE(kRemoved), one.c)) continue;
    const Placed space{' ', one.start, one.end};
    const bool is_chinese = rules.handle_chinese && find_range(WHITTLE_TABLE(kChinese), one.c);
    if (is_chinese) cleaned.push_back(space);
    cleaned.push_back(rules.clean_text && find_range(WHITTLE_TABLE(kSpaced), one.c) ? space : one);
    if (is_chinese) cleaned.push_back(space);
  }
  return cleaned;
}

// Canonical decomposition and ordering, without marks. The library's places keep their order while marks move: what was
// a character before takes the next place, further parts of its decomposition that of what came before them.
std::vector<Placed> strip_accents(const std::vector<Placed>& text) {
  struct Part {
    char32_t c;
    uint8_t combining_class;
    bool is_first, is_mark;
  };
  std::vector<Part> parts;
  parts.reserve(text.size());
  for (const Placed& one : text) {
    if (find_range(WHITTLE_TABLE(kMarks), one.c)) {
      parts.push_back({one.c, combining_class(one.c), true, true});
      continue;
    }
    const Parts decomposed = decompose(one.c);
    for (int i = 0; i < decomposed.count; ++i)
      parts.push_back({decomposed.c[i], combining_class(decomposed.c[i]), i == 0, false});
  }
  const auto is_starter = [](const Part& part) { return part.combining_class == 0; };
  for (auto from = parts.begin(); from != parts.end();) {
    from = std::find_if_not(from, parts.end(), is_starter);
    const auto to = std::find_if(from, parts.end(), is_starter);
    std::stable_sort(from, to, [](const Part& a, const Part& b) { return a.combining_class < b.combining_class; });
    from = to;
  }
  std::vector<Placed> result;
  result.reserve(parts.size());
  size_t taken = 0;
  for (const Part& part : parts) {
    if (part.is_first) ++taken;
    const Placed& place = text[taken > 0 ? taken - 1 : 0];
    if (!part.is_mark) result.push_back({part.c, place.start, place.end});
  }
  return result;
}

}  // namespace

std::vector<Placed> normalize(const NormalizerRules& rules, const std::vector<Placed>& text) {
  std::vector<Placed> normalized = clean(rules, text);
  if (rules.strip_accents) normalized = strip_accents(normalized);
  if (!rules.lowercase) return normalized;
  std::vector<Placed> lowered;
  lowered.reserve(normalized.size());
  for (const Placed& one : normalized) {
    const Parts parts = lower(one.c);
    for (int i = 0; i < parts.count; ++i) lowered.push_back({parts.c[i], one.start, one.end});
  }
  return lowered;
}

}  // namespace whittle
