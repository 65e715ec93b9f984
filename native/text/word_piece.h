// BERT's tokenization: normalize, cut at white space and around punctuation, and spell each word with the longest
// vocabulary entries, greedily from the left (Schuster and Nakajima 2012). Ids, places and word indices are those of
// Hugging Face's tokenizers.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/added_tokens.h"
#include "text/character_table.h"
#include "text/piece_trie.h"

namespace whittle {

struct WordPieceSpec {
  NormalizerRules rules;
  std::vector<std::pair<std::u16string_view, int32_t>> vocabulary;
  std::string unknown, prefix;  // UTF-8: [UNK] and ##
  int64_t longest_word;         // in code points; longer words are unknown
  std::vector<AddedToken> added;
  // RobertaProcessing's trim_offsets, with its add_prefix_space.
  bool trim_offsets = false, keep_first_space = false;
};

struct Token {
  int32_t id;
  int32_t start, end;  // UTF-16 code units of the text
  int32_t word;        // index of its word
};

// Tokens of one text while it is being cut up. Reused from text to text.
class TokenBuffer {
 public:
  int64_t size() const { return size_; }
  int64_t words = 0;
  const Token& operator[](int64_t i) const { return tokens_[static_cast<size_t>(i)]; }
  Token& operator[](int64_t i) { return tokens_[static_cast<size_t>(i)]; }
  void add(const Token& token) {
    if (size_ == static_cast<int64_t>(tokens_.size())) tokens_.resize(tokens_.size() * 2);
    tokens_[static_cast<size_t>(size_++)] = token;
  }
  // Takes the last tokens away again.
  void cut(int64_t size) { size_ = size; }
  // Empties it, and gives the memory of an extraordinary text back.
  void clear() {
    size_ = words = 0;
    if (tokens_.size() > kKept) std::vector<Token>(kKept).swap(tokens_);
  }

 private:
  static constexpr size_t kKept = 1 << 16;
  std::vector<Token> tokens_ = std::vector<Token>(512);
  int64_t size_ = 0;
};

// Room for words that are not plain ASCII. Reused from text to text.
struct WordScratch {
  std::string bytes;                  // UTF-8 of a normalized word
  std::vector<int32_t> starts, ends;  // [bytes] where the source of each byte starts and ends in the text

  void clear() {
    bytes.clear();
    starts.clear();
    ends.clear();
  }
  // Says where the bytes come from that were added last.
  void place(int32_t start, int32_t end) {
    starts.resize(bytes.size(), start);
    ends.resize(bytes.size(), end);
  }
};

class WordPiece {
 public:
  // Throws Error BAD_CHECKPOINT if the vocabulary lacks the unknown token.
  explicit WordPiece(const WordPieceSpec& spec);

  // Appends the tokens of a text, until more than `room` of them are there. word: the index that all of them get, or
  // -1: words are counted. Lone surrogates in the text are replaced by U+FFFD.
  void tokenize(char16_t* text, int64_t length, int64_t room, int32_t word, WordScratch& scratch,
                TokenBuffer& into) const;

 private:
  struct Job;

  void add_sections(Job& job) const;
  void add_section(Job& job, int64_t start, int64_t end) const;
  void add_normalized_section(Job& job, int64_t start, int64_t end) const;
  void add_normalized_words(Job& job, const Placed* text, size_t length) const;
  bool add_words(Job& job, int64_t start, int64_t end) const;
  int64_t add_ascii_word(Job& job, int64_t start, int64_t end) const;
  int64_t add_other_word(Job& job, int64_t start, int64_t end) const;
  int64_t add_letters(char32_t c, const Character& character, std::string& bytes) const;
  void add_single(Job& job, const Character& character, int64_t start, int64_t end) const;
  void add_pieces(Job& job, int64_t letters, int32_t start, int32_t end) const;
  void add_added(Job& job, int32_t id, int32_t start, int32_t end, std::u32string_view content) const;
  void trim(const Job& job, int64_t row, int64_t leading, int64_t trailing) const;

  // Spaces at the ends of vocabulary entries that have some; they count for trim_offsets.
  struct Spaces {
    int32_t id, leading, trailing;
  };

  NormalizerRules rules_;
  PieceTrie trie_;
  PieceTrie::Node continuation_;  // of the prefix, kNone if no entry has it
  int32_t unknown_;
  int64_t longest_word_;
  AddedTokenFinder in_text_, in_normalized_;
  std::vector<char16_t> first_units_;  // UTF-16 code units that the tokens of in_text_ begin with
  CharacterTable characters_;
  std::array<Character, 128> ascii_;
  std::array<uint8_t, 128> ascii_letter_;  // the one byte that a letter becomes; 0 for all that is no letter
  std::vector<Spaces> spaces_;
  bool trim_offsets_, keep_first_space_;
};

}  // namespace whittle
