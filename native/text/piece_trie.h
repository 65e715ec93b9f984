// The vocabulary as a double-array trie over UTF-8 bytes (Aoe 1989), for the longest entry at a place of a word.
#pragma once

#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace whittle {

// A word byte that stands for U+0000, which as a byte 0 would look like an empty slot; 0xFF is in no UTF-8 text.
inline constexpr uint8_t kNulByte = 0xff;

class PieceTrie {
 public:
  using Node = uint32_t;
  static constexpr Node kNone = 0;

  PieceTrie() = default;
  // Entries are UTF-8 with kNulByte for U+0000 and not empty. Of equal ones the last counts.
  // Throws Error UNSUPPORTED for a vocabulary of more than 2^24 nodes.
  explicit PieceTrie(std::vector<std::pair<std::string_view, int32_t>> entries);

  Node root() const { return kRoot; }
  // The node that `byte` leads to, or kNone.
  Node child(Node node, uint8_t byte) const {
    const Node next = slots_[node].base() ^ byte;
    return slots_[next].label() == byte ? next : kNone;
  }
  // Id of the entry that ends at this node, or -1.
  int32_t id(Node node) const { return slots_[node].id; }
  // The node of a prefix of entries, or kNone if none has it.
  Node find(std::string_view prefix) const;
  // Id of an entry, or -1.
  int32_t id_of(std::string_view entry) const;

 private:
  // A node's children are at base ^ label. Bases are unique, so that a slot with the right label is the right child.
  struct Slot {
    uint32_t base_and_label = 0;
    int32_t id = -1;
    uint32_t base() const { return base_and_label >> 8; }
    uint8_t label() const { return static_cast<uint8_t>(base_and_label); }
  };
  static constexpr Node kRoot = 1;
  class Builder;
  std::vector<Slot> slots_;
};

}  // namespace whittle
