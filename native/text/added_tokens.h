// Tokens that stand whole in a text, such as [MASK]: found before the text is cut into words.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace whittle {

// An entry of tokenizer.json's added_tokens.
struct AddedToken {
  int32_t id;
  std::u32string content;
  bool single_word;     // only where no word character touches it
  bool lstrip, rstrip;  // takes the white space on its left, or right, with it
  bool normalized;      // looked for in the normalized text, not in the text as given
};

// Finds the tokens of one list, the longest at each place, from the left.
class AddedTokenFinder {
 public:
  AddedTokenFinder() = default;
  // Tokens without content are never found.
  explicit AddedTokenFinder(std::vector<AddedToken> tokens);

  bool empty() const { return tokens_.empty(); }
  // The first code point of each token.
  std::vector<char32_t> first_characters() const;

  // Code points [start, end) of a text: an added token, or text between them (id -1).
  struct Section {
    int32_t id;
    size_t start, end;
  };
  // The text in sections, or nothing if no added token is in it.
  void find(std::u32string_view text, std::vector<Section>& sections) const;

 private:
  const AddedToken* match(std::u32string_view text, size_t at) const;

  std::vector<AddedToken> tokens_;  // by first character, the longest first
};

}  // namespace whittle
