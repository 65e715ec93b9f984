// The tokenizer's short cuts (a table of code points, a trie, no normalized copy of the text) against the long way
// round.
#include <map>
#include <string>

#include "test/test.h"
#include "text/text_encoder.h"

using namespace whittle;
using namespace whittle::test;

namespace {

// Pieces that random texts are made of: all kinds of characters, and what the rules treat apart.
const std::u16string kPieces[] = {
    u"a",      u"b",          u"ab",         u"ABA",        u" ",      u"  ",     u"\t",         u".",
    u"#",      u"##",         u"\u00e9",     u"e\u0301",    u"\u0130", u"\u00df", u"\u4e2d",     u"\u6587",
    u"\uf900", u"\u200b",     u"\u0000",     u"\u0001",     u"\u0085", u"\u00a0", u"\u302e",     u"\u0301\u302e",
    u"\u0344", u"\u226e",     u"<x>",        u"[M]",        u"[m]",    u" [M] ",  u"\U0001f600", u"\xd83d",
    u"\xde00", u"\U0001d15e", u"\U0001d165", u"\U00020000", u"\ud55c", u"\uff21", u"\u212b",     u"\u0958",
    u"\u00ad", u"\ufeff",     u"\ufffd",     u"\u3099",     u"\u01c4"};

const std::u16string kVocabulary[] = {
    u"[UNK]",  u"a",        u"b",   u"ab",       u"##a",       u"##b",    u"##ab",         u"aba",
    u"##aba",  u".",        u"#",   u"e",        u"##e",       u"\u4e2d", u"\u1112\u1161", u"##\u11ab",
    u"i",      u"##\u0307", u"=",   u"<",        u"x",         u">",      u"\U0001d157",   u"##\U0001d165",
    u"\u302e", u"##\u302e", u"##i", u"##\u0915", u"\U0001f600"};

std::u16string random_text(std::mt19937_64& random) {
  std::u16string text;
  for (uint64_t i = random() % 30; i > 0; --i) text += kPieces[random() % std::size(kPieces)];
  return text;
}

WordPieceSpec spec_of(const NormalizerRules& rules) {
  WordPieceSpec spec{rules, {}, "[UNK]", "##", 8, {}};
  int32_t id = 0;
  for (const std::u16string& piece : kVocabulary) spec.vocabulary.emplace_back(piece, id++);
  return spec;
}

using Row = std::tuple<int32_t, int32_t, int32_t, int32_t>;

std::vector<Row> rows_of(const TokenBuffer& tokens) {
  std::vector<Row> rows;
  for (int64_t i = 0; i < tokens.size(); ++i)
    rows.emplace_back(tokens[i].id, tokens[i].start, tokens[i].end, tokens[i].word);
  return rows;
}

std::string utf8(std::u32string_view text) {
  std::string bytes;
  for (const char32_t c : text) append_utf8(c, bytes);
  return bytes;
}

// Code points; lone surrogates are U+FFFD.
std::vector<Placed> decode(const std::u16string& text) {
  std::vector<Placed> result;
  for (size_t i = 0; i < text.size();) {
    const auto start = static_cast<int32_t>(i);
    char32_t c = text[i++];
    const bool is_pair = c >= 0xd800 && c < 0xdc00 && i < text.size() && (text[i] & 0xfc00) == 0xdc00;
    if (is_pair)
      c = 0x10000 + ((c - 0xd800) << 10) + (text[i++] - 0xdc00u);
    else if (c >= 0xd800 && c < 0xe000)
      c = 0xfffd;
    result.push_back({c, start, static_cast<int32_t>(i)});
  }
  return result;
}

// Normalizes the whole text, cuts it, and spells each word by trying every length.
std::vector<Row> long_way(const std::u16string& text, const WordPieceSpec& spec) {
  std::map<std::string, int32_t> ids;
  for (const auto& [piece, id] : spec.vocabulary) {
    std::u32string letters;
    for (const Placed& one : decode(std::u16string(piece))) letters.push_back(one.c);
    ids[utf8(letters)] = id;
  }
  const std::vector<Placed> letters = normalize(spec.rules, decode(text));
  std::vector<Row> rows;
  int32_t word = 0;
  for (size_t at = 0, end = 0; at < letters.size(); at = std::max(end, at + 1)) {
    if (is_white_space(letters[at].c)) continue;
    end = at + 1;
    if (!is_punctuation(letters[at].c))
      while (end < letters.size() && !is_white_space(letters[end].c) && !is_punctuation(letters[end].c)) ++end;
    std::vector<Row> pieces;
    for (size_t start = at; start < end && end - at <= static_cast<size_t>(spec.longest_word);) {
      size_t stop = end;
      for (; stop > start; --stop) {
        std::u32string piece;
        for (size_t i = start; i < stop; ++i) piece.push_back(letters[i].c);
        const auto found = ids.find((start > at ? "##" : "") + utf8(piece));
        if (found == ids.end()) continue;
        pieces.emplace_back(found->second, letters[start].start, letters[stop - 1].end, word);
        break;
      }
      if (stop == start) {
        pieces.clear();
        break;
      }
      start = stop;
    }
    if (pieces.empty()) pieces.emplace_back(0, letters[at].start, letters[end - 1].end, word);
    rows.insert(rows.end(), pieces.begin(), pieces.end());
    ++word;
  }
  return rows;
}

}  // namespace

TEST(text, every_text_has_the_tokens_of_the_long_way) {
  auto random = generator(71);
  for (int rules = 0; rules < 16; ++rules) {
    const WordPieceSpec spec = spec_of({(rules & 1) != 0, (rules & 2) != 0, (rules & 4) != 0, (rules & 8) != 0});
    const WordPiece pieces(spec);
    WordScratch scratch;
    TokenBuffer tokens;
    for (int round = 0; round < 3000; ++round) {
      const std::u16string text = random_text(random);
      std::u16string copy = text;
      tokens.clear();
      pieces.tokenize(copy.data(), static_cast<int64_t>(copy.size()), INT64_MAX, -1, scratch, tokens);
      CHECK(rows_of(tokens) == long_way(text, spec));
    }
  }
}

TEST(text, a_character_alone_becomes_what_the_long_way_makes_of_it) {
  for (const NormalizerRules& rules :
       {NormalizerRules{true, true, true, true}, NormalizerRules{false, false, true, false},
        NormalizerRules{true, true, false, true}}) {
    WordPieceSpec spec = spec_of(rules);
    const WordPiece pieces(spec);
    WordScratch scratch;
    TokenBuffer tokens;
    for (char32_t c = 0; c < 0x110000; ++c) {
      std::u16string text = u"a";
      if (c < 0x10000) {
        text.push_back(static_cast<char16_t>(c));
      } else {
        text.push_back(static_cast<char16_t>(0xd800 + ((c - 0x10000) >> 10)));
        text.push_back(static_cast<char16_t>(0xdc00 + ((c - 0x10000) & 0x3ff)));
      }
      text.push_back(u'b');
      tokens.clear();
      std::u16string copy = text;
      pieces.tokenize(copy.data(), static_cast<int64_t>(copy.size()), INT64_MAX, -1, scratch, tokens);
      // Letters are many and alike: every 16th of the higher planes goes the long way.
      if (c < 0x3000 || c % 16 == 0) CHECK(rows_of(tokens) == long_way(text, spec));
    }
  }
}

TEST(text, the_longest_entry_is_found_among_entries_of_any_bytes) {
  auto random = generator(72);
  for (int round = 0; round < 60; ++round) {
    std::map<std::string, int32_t> ids;
    for (uint64_t i = random() % 2000; i > 0; --i) {
      std::string entry;
      for (uint64_t length = 1 + random() % 6; length > 0; --length)
        entry.push_back(static_cast<char>(1 + random() % (round % 2 ? 4 : 255)));
      ids[entry] = static_cast<int32_t>(random() % 100000);
    }
    const PieceTrie trie({ids.begin(), ids.end()});
    for (const auto& [entry, id] : ids) {
      CHECK_EQUAL(trie.id_of(entry), id);
      for (int byte = 1; byte < 256; ++byte) {
        const std::string longer = entry + static_cast<char>(byte);
        const auto found = ids.find(longer);
        CHECK_EQUAL(trie.id_of(longer), found == ids.end() ? -1 : found->second);
      }
    }
  }
}

TEST(text, batches_do_not_depend_on_threads) {
  auto random = generator(73);
  WordPieceSpec spec = spec_of({true, true, true, true});
  spec.added = {{100, U"[M]", false, true, false, false}, {101, U"X>", false, false, false, true}};
  const TextEncoder encoder(spec, {{50, 0}, {TemplateItem::kFirstText, 0}, {51, 0}},
                            {{50, 0}, {TemplateItem::kFirstText, 0}, {51, 0}, {TemplateItem::kSecondText, 1}, {51, 1}});
  std::u16string all;
  TextBatch batch;
  for (int i = 0; i < 6000; ++i) {
    const auto form = static_cast<int32_t>(random() % 6);
    batch.forms.push_back(form);
    for (int64_t n = TextBatch::strings(form); n > 0; --n) {
      const std::u16string text = random_text(random);
      all += text;
      batch.lengths.push_back(static_cast<int32_t>(text.size()));
    }
  }
  const auto encode = [&](int threads) {
    batch.text = std::make_unique<char16_t[]>(all.size());
    std::copy(all.begin(), all.end(), batch.text.get());
    return encoder.encode(batch, {24, true, true, threads, {}});
  };
  const EncodedTexts one = encode(1);
  CHECK_EQUAL(one.offsets.size(), batch.forms.size() + 1);
  CHECK_EQUAL(one.words.size(), one.ids.size());
  CHECK_EQUAL(one.places.size(), 2 * one.ids.size());
  for (const int threads : {2, 3, 16}) {
    const EncodedTexts many = encode(threads);
    CHECK(many.ids == one.ids && many.types == one.types && many.words == one.words && many.places == one.places &&
          many.offsets == one.offsets && many.truncated == one.truncated);
  }
  bool any_truncated = false;
  for (size_t i = 0; i < batch.forms.size(); ++i) {
    CHECK(one.offsets[i + 1] - one.offsets[i] <= 24);
    any_truncated |= one.truncated[i] != 0;
  }
  CHECK(any_truncated);
}

TEST(text, of_two_texts_the_longer_one_is_cut_first) {
  for (int64_t first = 0; first < 12; ++first)
    for (int64_t second = 0; second < 12; ++second)
      for (int64_t room = 1; room < 30; ++room) {
        const auto [a, b] = truncate_pair(first, second, room);
        CHECK(a <= first && b <= second);
        CHECK_EQUAL(a + b, std::min(first + second, room));
        if (a < first && b < second) CHECK(std::abs(a - b) <= 1);
        if (a < first && b == second) CHECK(a >= b - 1);
      }
}
