// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <atomic>
#include <utility>
#include <vector>

#include "common/inline_function.h"

namespace lunar::msgr {

// Functions on their way to another thread: a lock-free stack that its reader takes whole and turns
// round. push() and empty() on any thread; the rest is for the one reader. Order per poster is
// kept.
class PostQueue {
 public:
  PostQueue() = default;
  PostQueue(const PostQueue&) = delete;
  PostQueue& operator=(const PostQueue&) = delete;
  ~PostQueue() {
    std::vector<InlineFunction<void()>> dropped;
    take_all(dropped);
  }

  // Sequentially consistent, as empty() is: EventCenter's sleep protocol relies on it.
  void push(InlineFunction<void()> fn) {
    Node* node = new Node{std::move(fn), head_.load(std::memory_order_relaxed)};
    while (!head_.compare_exchange_weak(node->next, node, std::memory_order_seq_cst,
                                        std::memory_order_relaxed)) {
    }
  }
  bool empty() const noexcept { return head_.load(std::memory_order_seq_cst) == nullptr; }

  // Appends everything to `out`, oldest first.
  void take_all(std::vector<InlineFunction<void()>>& out) {
    Node* node = head_.exchange(nullptr, std::memory_order_acquire);
    Node* oldest = nullptr;
    while (node != nullptr) {
      Node* next = std::exchange(node->next, oldest);
      oldest = std::exchange(node, next);
    }
    while (oldest != nullptr) {
      out.push_back(std::move(oldest->fn));
      delete std::exchange(oldest, oldest->next);
    }
  }

 private:
  struct Node {
    InlineFunction<void()> fn;
    Node* next;
  };
  std::atomic<Node*> head_{nullptr};
};

}  // namespace lunar::msgr
