// What BERT's normalizer and pre-tokenizer make of single code points.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "cpu/thread_pool.h"

namespace whittle {

// The fields of tokenizer.json's BertNormalizer, `strip_accents: null` resolved.
struct NormalizerRules {
  bool clean_text, handle_chinese, strip_accents, lowercase;
};

// What a code point is in a text: it vanishes (a control character, an accent), ends a word, belongs to one, or is a
// word of its own (punctuation, a Chinese character).
enum class Kind : uint8_t { nothing, space, word, single };

struct Character {
  uint32_t kind : 2;
  // It is kept, and canonical ordering may move it: its neighbors decide about its place.
  uint32_t reorders : 1;
  // One of the texts that added tokens match in the normalized text may begin with it.
  uint32_t begins_added : 1;
  // The text that it becomes: itself, or `length` bytes at `text` of the table's texts.
  uint32_t is_itself : 1;
  uint32_t length : 5;
  uint32_t text : 22;
  // Of kind single: the id of the one token that it becomes, or -1 if there are several.
  int32_t id;

  // Whether a text that it stands in must be normalized as a whole.
  bool needs_context() const { return reorders | begins_added; }
  Kind get_kind() const { return static_cast<Kind>(kind); }
};

bool is_white_space(char32_t c);
bool is_punctuation(char32_t c);
// What regular expressions call \w: an added token with single_word does not touch it.
bool is_word_character(char32_t c);

// Appends a code point as UTF-8, U+0000 as kNulByte.
void append_utf8(char32_t c, std::string& bytes);

// One normalizer's rules, looked up a code point at a time.
class CharacterTable {
 public:
  // `id_of_single` tells Character::id from the UTF-8 of a character of kind single.
  CharacterTable(const NormalizerRules& rules, FunctionRef<int32_t(std::string_view)> id_of_single,
                 const std::vector<char32_t>& first_of_added);

  const Character& at(char32_t c) const { return blocks_[size_t{index_[c >> kShift]} << kShift | (c & kMask)]; }
  std::string_view text(const Character& character) const {
    return std::string_view(texts_).substr(character.text, character.length);
  }

 private:
  static constexpr int kShift = 7;
  static constexpr size_t kMask = (size_t{1} << kShift) - 1;

  std::vector<uint16_t> index_;  // of the block of each 128 code points
  std::vector<Character> blocks_;
  std::string texts_;
};

// A code point of a text, and the UTF-16 code units of the text as given that it comes from.
struct Placed {
  char32_t c;
  int32_t start, end;
};

// A whole text as the normalizer leaves it, white space around Chinese characters and all: what the table says, and
// canonical ordering, which the table cannot tell.
std::vector<Placed> normalize(const NormalizerRules& rules, const std::vector<Placed>& text);

}  // namespace whittle
