#include "text/word_piece.h"

#include <algorithm>
#include <deque>

#include "cpu/error.h"

namespace whittle {

namespace {

constexpr char32_t kReplacement = 0xfffd;
// How byte-level vocabularies write a space; the library counts it as one when it trims offsets.
constexpr char32_t kByteLevelSpace = 0x120;

bool is_high(char16_t unit) {
  return unit >= 0xd800 && unit <= 0xdbff;
}
bool is_low(char16_t unit) {
  return unit >= 0xdc00 && unit <= 0xdfff;
}

// The code point at text[at] of well-formed UTF-16; `at` moves behind it.
char32_t next_character(const char16_t* text, int64_t& at) {
  const char16_t unit = text[at++];
  if (!is_high(unit)) return unit;
  return 0x10000 + ((char32_t{unit} - 0xd800) << 10) + (char32_t{text[at++]} - 0xdc00);
}

// Makes the text well-formed.
void replace_lone_surrogates(char16_t* text, int64_t length) {
  // Most texts have none, and a loop without branches tells.
  bool any = false;
  for (int64_t i = 0; i < length; ++i) any |= (text[i] & 0xf800) == 0xd800;
  if (!any) return;
  for (int64_t i = 0; i < length; ++i) {
    if (is_high(text[i]) && i + 1 < length && is_low(text[i + 1]))
      ++i;
    else if (is_high(text[i]) || is_low(text[i]))
      text[i] = static_cast<char16_t>(kReplacement);
  }
}

// Whether a byte of UTF-8 (or kNulByte) begins a code point.
bool starts_letter(char byte) {
  return (static_cast<uint8_t>(byte) & 0xc0) != 0x80;
}

bool is_trimmed(char32_t c) {
  return c == kByteLevelSpace || is_white_space(c);
}

// How many spaces a token's text begins and ends with; all of them both ways if there is nothing else.
std::pair<int64_t, int64_t> spaces_of(std::u32string_view text) {
  const auto is_letter = [](char32_t c) { return !is_trimmed(c); };
  const auto leading = std::find_if(text.begin(), text.end(), is_letter) - text.begin();
  const auto trailing = std::find_if(text.rbegin(), text.rend(), is_letter) - text.rbegin();
  return {leading, trailing};
}

std::vector<AddedToken> chosen(const std::vector<AddedToken>& tokens, bool normalized) {
  std::vector<AddedToken> result;
  for (const AddedToken& token : tokens)
    if (token.normalized == normalized) result.push_back(token);
  return result;
}

// Entries in the bytes of words: without those that no word can have in it.
struct Entries {
  std::deque<std::string> texts;
  std::vector<std::pair<std::string_view, int32_t>> list;
};

Entries entries_of(const WordPieceSpec& spec) {
  Entries entries;
  // Four bytes a code point at most.
  const size_t longest = static_cast<size_t>(std::min<int64_t>(spec.longest_word, 1 << 20)) * 4 + spec.prefix.size();
  for (const auto& [text, id] : spec.vocabulary) {
    std::string bytes;
    const auto length = static_cast<int64_t>(text.size());
    bool is_lone = false;
    for (int64_t i = 0; i < length;) {
      is_lone |=
          is_low(text[static_cast<size_t>(i)]) ||
          (is_high(text[static_cast<size_t>(i)]) && (i + 1 == length || !is_low(text[static_cast<size_t>(i) + 1])));
      if (is_lone) break;
      append_utf8(next_character(text.data(), i), bytes);
    }
    if (is_lone || bytes.empty() || bytes.size() > longest) continue;
    entries.texts.push_back(std::move(bytes));
    entries.list.emplace_back(entries.texts.back(), id);
  }
  return entries;
}

}  // namespace

// One text on its way.
struct WordPiece::Job {
  const char16_t* text;
  int64_t length;
  int64_t room;
  int32_t word;  // -1: counted
  WordScratch& scratch;
  TokenBuffer& into;

  bool is_full() const { return into.size() > room; }
  int32_t next_word() {
    const int32_t index = word < 0 ? static_cast<int32_t>(into.words) : word;
    into.words = int64_t{index} + 1;
    return index;
  }
};

namespace {

// The contents as the normalizer leaves them: that is what the library looks for in normalized text.
std::vector<AddedToken> normalized_tokens(const WordPieceSpec& spec) {
  std::vector<AddedToken> tokens = chosen(spec.added, true);
  for (AddedToken& token : tokens) {
    std::vector<Placed> text;
    for (const char32_t c : token.content) text.push_back({c, 0, 0});
    token.content.clear();
    for (const Placed& one : normalize(spec.rules, text)) token.content.push_back(one.c);
  }
  return tokens;
}

}  // namespace

WordPiece::WordPiece(const WordPieceSpec& spec)
    : rules_(spec.rules),
      trie_(entries_of(spec).list),
      continuation_(trie_.find(spec.prefix)),
      unknown_(trie_.id_of(spec.unknown)),
      longest_word_(spec.longest_word),
      in_text_(chosen(spec.added, false)),
      in_normalized_(normalized_tokens(spec)),
      characters_(
          spec.rules,
          [this](std::string_view bytes) {
            const auto letters = std::count_if(bytes.begin(), bytes.end(), starts_letter);
            const int32_t id = trie_.id_of(bytes);
            return letters > 1 ? -1 : id < 0 ? unknown_ : id;
          },
          in_normalized_.first_characters()),
      trim_offsets_(spec.trim_offsets),
      keep_first_space_(spec.keep_first_space) {
  if (unknown_ < 0)
    throw Error("BAD_CHECKPOINT",
                "expected the unknown token \"" + spec.unknown + "\" in the vocabulary but it is not there");
  for (const char32_t first : in_text_.first_characters())
    first_units_.push_back(static_cast<char16_t>(first < 0x10000 ? first : 0xd800 + ((first - 0x10000) >> 10)));
  for (char32_t c = 0; c < 128; ++c) {
    ascii_[c] = characters_.at(c);
    ascii_letter_[c] = 0;
    if (ascii_[c].get_kind() != Kind::word) continue;
    std::string itself;
    append_utf8(c, itself);
    ascii_letter_[c] = static_cast<uint8_t>(ascii_[c].is_itself ? itself[0] : characters_.text(ascii_[c])[0]);
  }
  if (!trim_offsets_) return;
  for (const auto& [text, id] : spec.vocabulary) {
    std::u32string letters;
    for (const char16_t unit : text) letters.push_back(unit);  // no space is outside the basic plane
    const auto [leading, trailing] = spaces_of(letters);
    if (leading > 0 || trailing > 0)
      spaces_.push_back({id, static_cast<int32_t>(leading), static_cast<int32_t>(trailing)});
  }
}

void WordPiece::tokenize(char16_t* text, int64_t length, int64_t room, int32_t word, WordScratch& scratch,
                         TokenBuffer& into) const {
  replace_lone_surrogates(text, length);
  const int64_t from = into.size();
  Job job{text, length, room, word, scratch, into};
  add_sections(job);
  if (spaces_.empty()) return;
  for (int64_t row = from; row < into.size(); ++row)
    for (const Spaces& spaces : spaces_)
      if (spaces.id == into[row].id) trim(job, row, spaces.leading, spaces.trailing);
}

// The text cut at the added tokens that are looked for in the text as given.
void WordPiece::add_sections(Job& job) const {
  bool may_have_added = false;
  for (const char16_t unit : first_units_)
    for (int64_t i = 0; i < job.length; ++i) may_have_added |= job.text[i] == unit;
  if (!may_have_added) return add_section(job, 0, job.length);
  std::u32string text;
  std::vector<int32_t> places;
  for (int64_t at = 0; at < job.length;) {
    places.push_back(static_cast<int32_t>(at));
    text.push_back(next_character(job.text, at));
  }
  places.push_back(static_cast<int32_t>(job.length));
  std::vector<AddedTokenFinder::Section> sections;
  in_text_.find(text, sections);
  if (sections.empty()) return add_section(job, 0, job.length);
  for (const auto& [id, start, end] : sections) {
    if (job.is_full()) return;
    if (id < 0)
      add_section(job, places[start], places[end]);
    else
      add_added(job, id, places[start], places[end], std::u32string_view(text).substr(start, end - start));
  }
}

// Text without added tokens of the text as given.
void WordPiece::add_section(Job& job, int64_t start, int64_t end) const {
  bool is_plain = true;
  if (!in_normalized_.empty())
    for (int64_t i = start; i < end; ++i) is_plain &= job.text[i] >= 128 || !ascii_[job.text[i]].begins_added;
  const int64_t tokens = job.into.size(), words = job.into.words;
  if (is_plain && add_words(job, start, end)) return;
  job.into.cut(tokens);
  job.into.words = words;
  add_normalized_section(job, start, end);
}

// The long way: normalizes the whole section first.
void WordPiece::add_normalized_section(Job& job, int64_t start, int64_t end) const {
  std::vector<Placed> given;
  for (int64_t at = start; at < end;) {
    const int64_t from = at;
    const char32_t c = next_character(job.text, at);
    given.push_back({c, static_cast<int32_t>(from), static_cast<int32_t>(at)});
  }
  const std::vector<Placed> text = normalize(rules_, given);
  std::u32string letters;
  for (const Placed& one : text) letters.push_back(one.c);
  std::vector<AddedTokenFinder::Section> sections;
  in_normalized_.find(letters, sections);
  if (sections.empty()) return add_normalized_words(job, text.data(), text.size());
  for (const auto& [id, first, last] : sections) {
    if (job.is_full()) return;
    if (id < 0)
      add_normalized_words(job, text.data() + first, last - first);
    else
      add_added(job, id, text[first].start, text[last - 1].end,
                std::u32string_view(letters).substr(first, last - first));
  }
}

void WordPiece::add_normalized_words(Job& job, const Placed* text, size_t length) const {
  WordScratch& word = job.scratch;
  for (size_t at = 0; at < length && !job.is_full();) {
    if (is_white_space(text[at].c)) {
      ++at;
      continue;
    }
    size_t end = at + 1;
    if (!is_punctuation(text[at].c))
      while (end < length && !is_white_space(text[end].c) && !is_punctuation(text[end].c)) ++end;
    word.clear();
    for (size_t i = at; i < end && i - at <= static_cast<size_t>(longest_word_); ++i) {
      append_utf8(text[i].c, word.bytes);
      word.place(text[i].start, text[i].end);
    }
    add_pieces(job, static_cast<int64_t>(end - at), text[at].start, text[end - 1].end);
    at = end;
  }
}

// False if a character came up for which the section must be normalized as a whole.
bool WordPiece::add_words(Job& job, int64_t at, int64_t end) const {
  const char16_t* text = job.text;
  while (at < end) {
    int64_t next = at + 1;
    const Character* character;
    if (text[at] < 128) {
      character = &ascii_[text[at]];
    } else {
      next = at;
      character = &characters_.at(next_character(text, next));
      if (character->needs_context()) return false;
    }
    switch (character->get_kind()) {
      case Kind::nothing:
      case Kind::space:
        at = next;
        continue;
      case Kind::single:
        add_single(job, *character, at, next);
        at = next;
        break;
      case Kind::word:
        at = text[at] < 128 ? add_ascii_word(job, at, end) : add_other_word(job, at, end);
        if (at < 0) return false;
    }
    if (job.is_full()) return true;
  }
  return true;
}

// A word that begins with an ASCII letter. Returns where it ends, or -1 as add_other_word does.
int64_t WordPiece::add_ascii_word(Job& job, int64_t start, int64_t end) const {
  const char16_t* text = job.text;
  const auto letter_at = [&](int64_t at) { return ascii_letter_[text[at]]; };
  // The longest entry that the word begins with; most words are one entry.
  PieceTrie::Node node = trie_.root();
  int64_t at = start, piece_end = start;
  int32_t piece = -1;
  for (; at < end && text[at] < 128 && letter_at(at); ++at) {
    node = trie_.child(node, letter_at(at));
    if (node == PieceTrie::kNone) break;
    const int32_t id = trie_.id(node);
    piece = id >= 0 ? id : piece;
    piece_end = id >= 0 ? at + 1 : piece_end;
  }
  while (at < end && text[at] < 128 && letter_at(at)) ++at;
  if (at < end) {
    const bool goes_on = text[at] >= 128 || ascii_[text[at]].get_kind() == Kind::nothing;
    if (goes_on) return add_other_word(job, start, end);
  }
  const int32_t word = job.next_word();
  const int64_t first = job.into.size();
  const auto add = [&](int32_t id, int64_t from, int64_t to) {
    job.into.add({id, static_cast<int32_t>(from), static_cast<int32_t>(to), word});
  };
  if (at - start > longest_word_) piece_end = start;
  int64_t piece_start = start;
  while (piece_end > piece_start) {
    add(piece, piece_start, piece_end);
    if (piece_end == at) return at;
    piece_start = piece_end;
    node = continuation_;
    for (int64_t next = piece_start; next < at && node != PieceTrie::kNone; ++next) {
      node = trie_.child(node, letter_at(next));
      if (node == PieceTrie::kNone) break;
      const int32_t id = trie_.id(node);
      piece = id >= 0 ? id : piece;
      piece_end = id >= 0 ? next + 1 : piece_end;
    }
  }
  job.into.cut(first);
  add(unknown_, start, at);
  return at;
}

// Any word. Returns where it ends, or -1 if a character came up for which the section must be normalized as a whole.
int64_t WordPiece::add_other_word(Job& job, int64_t start, int64_t end) const {
  WordScratch& word = job.scratch;
  word.clear();
  int64_t letters = 0, visible_end = start, at = start;
  for (int64_t next = at; at < end; at = next) {
    const char32_t c = next_character(job.text, next);
    const Character& character = characters_.at(c);
    if (character.needs_context()) return -1;
    if (character.get_kind() == Kind::nothing) continue;
    if (character.get_kind() != Kind::word) break;
    visible_end = next;
    if (letters > longest_word_) continue;  // too long already: only its end is wanted
    letters += add_letters(c, character, word.bytes);
    word.place(static_cast<int32_t>(at), static_cast<int32_t>(next));
  }
  add_pieces(job, letters, static_cast<int32_t>(start), static_cast<int32_t>(visible_end));
  return at;
}

// Appends what a character becomes; returns how many code points that is.
int64_t WordPiece::add_letters(char32_t c, const Character& character, std::string& bytes) const {
  if (character.is_itself) {
    append_utf8(c, bytes);
    return 1;
  }
  const std::string_view text = characters_.text(character);
  bytes += text;
  return std::count_if(text.begin(), text.end(), starts_letter);
}

void WordPiece::add_single(Job& job, const Character& character, int64_t start, int64_t end) const {
  if (character.id >= 0) {
    job.into.add({character.id, static_cast<int32_t>(start), static_cast<int32_t>(end), job.next_word()});
    return;
  }
  job.scratch.clear();
  const int64_t letters = add_letters(0, character, job.scratch.bytes);
  job.scratch.place(static_cast<int32_t>(start), static_cast<int32_t>(end));
  add_pieces(job, letters, static_cast<int32_t>(start), static_cast<int32_t>(end));
}

// The pieces of the word in the scratch, of `letters` code points, which stands at [start, end) of the text.
void WordPiece::add_pieces(Job& job, int64_t letters, int32_t start, int32_t end) const {
  const WordScratch& word = job.scratch;
  const int32_t index = job.next_word();
  const int64_t first = job.into.size();
  const size_t length = letters > longest_word_ ? 0 : word.bytes.size();
  size_t piece_start = 0;
  while (piece_start < length) {
    PieceTrie::Node node = piece_start == 0 ? trie_.root() : continuation_;
    size_t piece_end = piece_start;
    int32_t piece = -1;
    for (size_t at = piece_start; at < length && node != PieceTrie::kNone; ++at) {
      node = trie_.child(node, static_cast<uint8_t>(word.bytes[at]));
      if (node == PieceTrie::kNone || trie_.id(node) < 0) continue;
      piece = trie_.id(node);
      piece_end = at + 1;
    }
    if (piece_end == piece_start) break;
    job.into.add({piece, word.starts[piece_start], word.ends[piece_end - 1], index});
    piece_start = piece_end;
  }
  if (length > 0 && piece_start == length) return;
  job.into.cut(first);
  job.into.add({unknown_, start, end, index});
}

void WordPiece::add_added(Job& job, int32_t id, int32_t start, int32_t end, std::u32string_view content) const {
  job.into.add({id, start, end, job.next_word()});
  if (!trim_offsets_) return;
  const auto [leading, trailing] = spaces_of(content);
  trim(job, job.into.size() - 1, leading, trailing);
}

// Moves the ends of a token inwards, by a character of the text for each of its spaces.
void WordPiece::trim(const Job& job, int64_t row, int64_t leading, int64_t trailing) const {
  Token& token = job.into[row];
  if (keep_first_space_ && leading == 1 && (row == 0 || token.start == 0)) leading = 0;
  for (; leading > 0 && token.start < token.end; --leading) token.start += is_high(job.text[token.start]) ? 2 : 1;
  for (; trailing > 0 && token.end > token.start; --trailing) token.end -= is_low(job.text[token.end - 1]) ? 2 : 1;
}

}  // namespace whittle
