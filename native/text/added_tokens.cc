#include "text/added_tokens.h"

#include <algorithm>

#include "text/character_table.h"

namespace whittle {

AddedTokenFinder::AddedTokenFinder(std::vector<AddedToken> tokens) : tokens_(std::move(tokens)) {
  std::erase_if(tokens_, [](const AddedToken& token) { return token.content.empty(); });
  std::stable_sort(tokens_.begin(), tokens_.end(), [](const AddedToken& a, const AddedToken& b) {
    if (a.content[0] != b.content[0]) return a.content[0] < b.content[0];
    return a.content.size() > b.content.size();
  });
}

std::vector<char32_t> AddedTokenFinder::first_characters() const {
  std::vector<char32_t> result;
  for (const AddedToken& token : tokens_)
    if (result.empty() || result.back() != token.content[0]) result.push_back(token.content[0]);
  return result;
}

const AddedToken* AddedTokenFinder::match(std::u32string_view text, size_t at) const {
  const auto first = std::lower_bound(tokens_.begin(), tokens_.end(), text[at],
                                      [](const AddedToken& token, char32_t c) { return token.content[0] < c; });
  for (auto token = first; token != tokens_.end() && token->content[0] == text[at]; ++token)
    if (text.substr(at, token->content.size()) == token->content) return &*token;
  return nullptr;
}

void AddedTokenFinder::find(std::u32string_view text, std::vector<Section>& sections) const {
  sections.clear();
  size_t done = 0;
  for (size_t at = 0; at < text.size();) {
    const AddedToken* token = match(text, at);
    if (!token) {
      ++at;
      continue;
    }
    size_t start = at, end = at + token->content.size();
    at = end;
    if (token->single_word &&
        ((start > 0 && is_word_character(text[start - 1])) || (end < text.size() && is_word_character(text[end]))))
      continue;
    if (token->lstrip) {
      while (start > done && is_white_space(text[start - 1])) --start;
      start =
          std::min(std::max(start, done), end);  // an earlier token may have taken the space that this one begins with
    }
    if (token->rstrip)
      while (end < text.size() && is_white_space(text[end])) ++end;
    if (done < start) sections.push_back({-1, done, start});
    sections.push_back({token->id, start, end});
    done = end;
  }
  if (!sections.empty() && done < text.size()) sections.push_back({-1, done, text.size()});
}

}  // namespace whittle
