// Texts to ragged batches: tokens with special tokens around them, cut to a length.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "text/word_piece.h"

namespace whittle {

// A special token, or the place of the first or second text.
struct TemplateItem {
  static constexpr int32_t kFirstText = -1, kSecondText = -2;
  int32_t id;
  int32_t type;
};

// Inputs whose strings lie end to end.
struct TextBatch {
  // What an input is: one text, a pair of texts, or kWords + n words that were split before.
  static constexpr int32_t kText = 0, kPair = 1, kWords = 2;

  std::unique_ptr<char16_t[]> text;  // lone surrogates are replaced in it
  std::vector<int32_t> lengths;      // [strings] UTF-16 code units
  std::vector<int32_t> forms;        // [inputs]

  // How many strings an input has.
  static int64_t strings(int32_t form) { return form >= kWords ? form - kWords : form + 1; }
};

// Inputs as tokens, end to end.
struct EncodedTexts {
  std::vector<int32_t> ids;        // [tokens]
  std::vector<int32_t> types;      // [tokens]
  std::vector<int32_t> words;      // [tokens] -1 for special tokens, if asked for
  std::vector<int32_t> places;     // [tokens, 2] UTF-16 code units of the token's own string, if asked for
  std::vector<int32_t> offsets;    // [inputs + 1]
  std::vector<uint8_t> truncated;  // [inputs] whether tokens were cut off
};

struct EncodeOptions {
  int64_t max_length;             // most tokens of an input, special ones included
  bool words, places;             // what is told beside ids
  int threads;                    // results do not depend on it
  std::function<bool()> aborted;  // asked between texts
};

class TextEncoder {
 public:
  TextEncoder(const WordPieceSpec& spec, std::vector<TemplateItem> single, std::vector<TemplateItem> pair)
      : pieces_(spec), single_(std::move(single)), pair_(std::move(pair)) {}

  // Throws Error BAD_OPTION if max_length leaves no room beside the special tokens; ABORTED.
  EncodedTexts encode(TextBatch& batch, const EncodeOptions& options) const;

 private:
  struct Range;
  struct Scratch;
  int64_t room_of(int32_t form, int64_t max_length) const;
  void encode_range(TextBatch& batch, const Range& range, const EncodeOptions& options, EncodedTexts& out) const;
  void assemble(int32_t form, const Scratch& scratch, int64_t room, const EncodeOptions& options,
                EncodedTexts& out) const;

  WordPiece pieces_;
  std::vector<TemplateItem> single_, pair_;
};

// How many tokens of two texts remain when both together may have `room`: the longer one is cut first, then both alike
// (Hugging Face's longest_first).
std::pair<int64_t, int64_t> truncate_pair(int64_t first, int64_t second, int64_t room);

}  // namespace whittle
