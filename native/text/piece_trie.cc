#include "text/piece_trie.h"

#include <algorithm>
#include <bit>

#include "cpu/error.h"

namespace whittle {

// Places nodes so that the children of each fall into free slots.
class PieceTrie::Builder {
 public:
  using Entries = std::vector<std::pair<std::string_view, int32_t>>;

  Builder(std::vector<Slot>& slots, const Entries& entries) : slots_(slots), entries_(entries) {
    add_block();
    take(0);
    take(kRoot);
    // No node has base 0: slots without children keep it, and slot c of the first block has another label than c.
    used_[0] = true;
    if (!entries.empty()) pending_.push_back({kRoot, 0, entries.size(), 0});
    while (!pending_.empty()) {
      const Pending next = pending_.back();
      pending_.pop_back();
      place_children(next);
    }
  }

 private:
  static constexpr size_t kBlock = 256;
  static constexpr size_t kWord = 64;  // bits
  // Blocks are not looked at again once so many follow them.
  static constexpr size_t kOpenBlocks = 16;
  static constexpr size_t kMostSlots = size_t{1} << 24;

  void add_block() {
    if (slots_.size() + kBlock > kMostSlots)
      throw Error("UNSUPPORTED", "Expected a vocabulary of fewer characters in all: it does not fit into 2^24 nodes");
    slots_.resize(slots_.size() + kBlock);
    used_.resize(slots_.size());
    free_.resize(slots_.size() / kWord, ~uint64_t{0});
  }

  bool is_free(size_t slot) const { return free_[slot / kWord] >> slot % kWord & 1; }
  void take(size_t slot) { free_[slot / kWord] &= ~(uint64_t{1} << slot % kWord); }

  // The node of entries [first, last), which share `depth` bytes.
  struct Pending {
    Node node;
    size_t first, last, depth;
  };

  void place_children(const Pending& pending) {
    auto [node, first, last, depth] = pending;
    if (entries_[first].first.size() == depth) {
      slots_[node].id = entries_[first].second;
      if (++first == last) return;
    }
    auto& children = children_;
    children.clear();
    for (size_t i = first; i < last; ++i) {
      const auto label = static_cast<uint8_t>(entries_[i].first[depth]);
      if (children.empty() || children.back().first != label) children.emplace_back(label, i);
    }
    const uint32_t base = find_base(children);
    used_[base] = true;
    slots_[node].base_and_label |= base << 8;
    for (const auto& [label, entry] : children) {
      const uint32_t slot = base ^ label;
      take(slot);
      slots_[slot].base_and_label = label;
    }
    for (size_t i = children.size(); i-- > 0; last = children[i].second)
      pending_.push_back({base ^ children[i].first, children[i].second, last, depth + 1});
  }

  using Children = std::vector<std::pair<uint8_t, size_t>>;  // label, first entry

  uint32_t find_base(const Children& children) {
    const size_t blocks = slots_.size() / kBlock;
    for (size_t word = (blocks > kOpenBlocks ? blocks - kOpenBlocks : 0) * kBlock / kWord;; ++word) {
      if (word == free_.size()) add_block();
      for (uint64_t bits = free_[word]; bits != 0; bits &= bits - 1) {
        const size_t slot = word * kWord + static_cast<size_t>(std::countr_zero(bits));
        const auto base = static_cast<uint32_t>(slot ^ children[0].first);
        if (used_[base]) continue;
        if (std::all_of(children.begin(), children.end(), [&](const auto& one) { return is_free(base ^ one.first); }))
          return base;
      }
    }
  }

  std::vector<Slot>& slots_;
  const Entries& entries_;
  std::vector<uint8_t> used_;   // bases of nodes
  std::vector<uint64_t> free_;  // slots without a node, a bit each
  std::vector<Pending> pending_;
  Children children_;
};

PieceTrie::PieceTrie(std::vector<std::pair<std::string_view, int32_t>> entries) {
  std::stable_sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  // Of equal entries the last one stays.
  std::reverse(entries.begin(), entries.end());
  entries.erase(
      std::unique(entries.begin(), entries.end(), [](const auto& a, const auto& b) { return a.first == b.first; }),
      entries.end());
  std::reverse(entries.begin(), entries.end());
  Builder(slots_, entries);
  slots_.shrink_to_fit();
}

PieceTrie::Node PieceTrie::find(std::string_view prefix) const {
  Node node = kRoot;
  for (const char byte : prefix) {
    node = child(node, static_cast<uint8_t>(byte));
    if (node == kNone) break;
  }
  return node;
}

int32_t PieceTrie::id_of(std::string_view entry) const {
  const Node node = find(entry);
  return node == kNone || entry.empty() ? -1 : id(node);
}

}  // namespace whittle
