// Which threads of the blocks at work could run, and which of them does next.
#pragma once

#include <bit>
#include <cstdint>
#include <deque>
#include <random>
#include <utility>
#include <vector>

namespace whittle::cuda::shim {

// In which order threads run that could: as they came, the lowest or the highest always first, so that whole warps are
// as far ahead of others as barriers let them, or any.
enum class Order : unsigned { fair, lowest, highest, random };
constexpr unsigned kOrders = 4;

// The threads that could run.
class Ready {
 public:
  void clear(Order order, unsigned seed, int threads) {
    order_ = order;
    random_.seed(seed);
    queue_.clear();
    polling_.clear();
    waiting_.assign(static_cast<size_t>(threads + 63) / 64, 0);
  }
  void add(int thread) {
    if (order_ == Order::fair || order_ == Order::random)
      queue_.push_back(thread);
    else
      waiting_[static_cast<size_t>(thread) / 64] |= uint64_t{1} << thread % 64;
  }
  // One that can only look whether others got anywhere.
  void add_polling(int thread) {
    if (order_ == Order::random)
      queue_.push_back(thread);
    else
      polling_.push_back(thread);
  }
  // -1 if there is none.
  int take() {
    if (order_ == Order::random && !queue_.empty()) std::swap(queue_.front(), queue_[random_() % queue_.size()]);
    if (!queue_.empty()) return take_front(queue_);
    for (size_t i = 0; i < waiting_.size(); ++i) {
      uint64_t& word = waiting_[order_ == Order::lowest ? i : waiting_.size() - 1 - i];
      if (word == 0) continue;
      const int bit = order_ == Order::lowest ? std::countr_zero(word) : 63 - std::countl_zero(word);
      word &= ~(uint64_t{1} << bit);
      return static_cast<int>(&word - waiting_.data()) * 64 + bit;
    }
    return polling_.empty() ? -1 : take_front(polling_);
  }

 private:
  static int take_front(std::deque<int>& queue) {
    const int thread = queue.front();
    queue.pop_front();
    return thread;
  }

  Order order_ = Order::fair;
  std::minstd_rand random_;
  std::deque<int> queue_, polling_;
  std::vector<uint64_t> waiting_;
};

}  // namespace whittle::cuda::shim
