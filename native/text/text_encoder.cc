#include "text/text_encoder.h"

#include <algorithm>
#include <string>

#include "cpu/error.h"
#include "cpu/thread_pool.h"

namespace whittle {

namespace {

// UTF-16 code units that are worth a thread.
constexpr int64_t kUnitsAThread = 1 << 14;

int64_t specials(const std::vector<TemplateItem>& items) {
  return std::count_if(items.begin(), items.end(), [](const TemplateItem& item) { return item.id >= 0; });
}

template <typename T>
void append(std::vector<T>& to, const std::vector<T>& from) {
  to.insert(to.end(), from.begin(), from.end());
}

}  // namespace

std::pair<int64_t, int64_t> truncate_pair(int64_t first, int64_t second, int64_t room) {
  if (first + second <= room) return {first, second};
  const int64_t shorter = std::min(first, second);
  std::pair<int64_t, int64_t> kept = {shorter, std::max(shorter, room - shorter)};
  if (shorter > room || kept.first + kept.second > room) kept = {room / 2, room - room / 2};
  if (first > second) std::swap(kept.first, kept.second);
  return kept;
}

// Inputs [first, last), whose strings begin with number `string` at code unit `unit`.
struct TextEncoder::Range {
  int64_t first, last, string, unit;
};

struct TextEncoder::Scratch {
  WordScratch word;
  TokenBuffer first, second;

  void clear() {
    first.clear();
    second.clear();
  }
};

int64_t TextEncoder::room_of(int32_t form, int64_t max_length) const {
  const int64_t special = specials(form == TextBatch::kPair ? pair_ : single_);
  if (max_length > special) return max_length - special;
  throw Error("BAD_OPTION", "maxLength: expected at least " + std::to_string(special + 1) +
                                ", room for the special tokens and one more, but found " + std::to_string(max_length));
}

EncodedTexts TextEncoder::encode(TextBatch& batch, const EncodeOptions& options) const {
  const auto inputs = static_cast<int64_t>(batch.forms.size());
  int64_t units = 0;
  for (const int32_t length : batch.lengths) units += length;
  const int64_t parts = std::clamp<int64_t>(units / kUnitsAThread, 1, options.threads);

  // Ranges of about equally many code units.
  std::vector<Range> ranges;
  Range range{0, 0, 0, 0};
  int64_t string = 0, unit = 0;
  for (int64_t i = 0; i < inputs; ++i) {
    for (int64_t n = TextBatch::strings(batch.forms[static_cast<size_t>(i)]); n > 0; --n)
      unit += batch.lengths[static_cast<size_t>(string++)];
    if (i + 1 < inputs && unit < units * static_cast<int64_t>(ranges.size() + 1) / parts) continue;
    range.last = i + 1;
    ranges.push_back(range);
    range = {i + 1, i + 1, string, unit};
  }
  EncodedTexts result;
  result.offsets.push_back(0);
  if (ranges.size() <= 1) {
    for (const Range& one : ranges) encode_range(batch, one, options, result);
    return result;
  }
  std::vector<EncodedTexts> found(ranges.size());
  ThreadPool::instance().run(static_cast<int64_t>(ranges.size()), options.threads, [&](int64_t i) {
    encode_range(batch, ranges[static_cast<size_t>(i)], options, found[static_cast<size_t>(i)]);
  });
  for (EncodedTexts& part : found) {
    const auto before = static_cast<int32_t>(result.ids.size());
    for (const int32_t offset : part.offsets) result.offsets.push_back(before + offset);
    append(result.ids, part.ids);
    append(result.types, part.types);
    append(result.words, part.words);
    append(result.places, part.places);
    append(result.truncated, part.truncated);
    part = {};
  }
  return result;
}

void TextEncoder::encode_range(TextBatch& batch, const Range& range, const EncodeOptions& options,
                               EncodedTexts& out) const {
  Scratch scratch;
  const int32_t* length = batch.lengths.data() + range.string;
  char16_t* text = batch.text.get() + range.unit;
  const auto add = [&](int64_t room, int32_t word, TokenBuffer& into) {
    if (into.size() <= room) pieces_.tokenize(text, *length, room, word, scratch.word, into);
    text += *length++;
  };
  for (int64_t i = range.first; i < range.last; ++i) {
    if (options.aborted && options.aborted()) throw Error("ABORTED", "Stopped by the caller's signal");
    const int32_t form = batch.forms[static_cast<size_t>(i)];
    const int64_t room = room_of(form, options.max_length);
    scratch.clear();
    if (form == TextBatch::kText) {
      add(room, -1, scratch.first);
    } else if (form == TextBatch::kPair) {
      // Which of the two is cut depends on their whole lengths.
      add(INT64_MAX, -1, scratch.first);
      add(INT64_MAX, -1, scratch.second);
    } else {
      for (int32_t word = 0; word < form - TextBatch::kWords; ++word) add(room, word, scratch.first);
    }
    assemble(form, scratch, room, options, out);
  }
}

void TextEncoder::assemble(int32_t form, const Scratch& scratch, int64_t room, const EncodeOptions& options,
                           EncodedTexts& out) const {
  const std::vector<TemplateItem>& items = form == TextBatch::kPair ? pair_ : single_;
  const auto [first, second] = truncate_pair(scratch.first.size(), scratch.second.size(), room);
  size_t row = out.ids.size();
  const size_t end = row + static_cast<size_t>(specials(items) + first + second);
  if (end > INT32_MAX) throw Error("BAD_DATA", "Expected fewer than 2^31 tokens in one call but found more");
  out.ids.resize(end);
  out.types.resize(end);
  if (options.words) out.words.resize(end);
  if (options.places) out.places.resize(2 * end);
  const auto put = [&](const Token& token, int32_t type) {
    out.ids[row] = token.id;
    out.types[row] = type;
    if (options.words) out.words[row] = token.word;
    if (options.places) {
      out.places[2 * row] = token.start;
      out.places[2 * row + 1] = token.end;
    }
    ++row;
  };
  for (const TemplateItem& item : items) {
    if (item.id >= 0) {
      put({item.id, 0, 0, -1}, item.type);
      continue;
    }
    const bool is_first = item.id == TemplateItem::kFirstText;
    const TokenBuffer& tokens = is_first ? scratch.first : scratch.second;
    for (int64_t i = 0; i < (is_first ? first : second); ++i) put(tokens[i], item.type);
  }
  out.offsets.push_back(static_cast<int32_t>(row));
  out.truncated.push_back(first + second < scratch.first.size() + scratch.second.size());
}

}  // namespace whittle
