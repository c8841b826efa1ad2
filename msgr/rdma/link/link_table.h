// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "common/result.h"
#include "msgr/rdma/queue/wr_id.h"

namespace lunar::msgr::rdma {

class RdmaLink;

// The links of a worker, by slot and by the number of their QP: a completion names the one, what an
// SRQ received the other. A slot is used again under another generation, so that a late completion
// finds no link rather than the wrong one.
// Loop-bound. Borrows the links.
class LinkTable {
 public:
  // no_buffer_space if every slot is taken.
  Result<LinkSlot> add(RdmaLink& link, uint32_t qp_num);
  // REQUIRES: add() returned this slot for this QP.
  void remove(LinkSlot slot, uint32_t qp_num);

  // Null if the slot is free, or has another generation by now.
  RdmaLink* find(LinkSlot slot) const noexcept;
  RdmaLink* find_by_qp(uint32_t qp_num) const noexcept;
  bool is_empty() const noexcept { return num_links_ == 0; }

  // Calls fn with each link. fn may add and remove links, its own included.
  template <typename F>
  void for_each(F fn) {
    for (std::size_t i = 0; i < entries_.size(); ++i) {
      if (RdmaLink* const link = entries_[i].link) fn(*link);
    }
  }

 private:
  struct Entry {
    RdmaLink* link = nullptr;  // null: the slot is in free_slots_
    uint32_t generation = 0;   // of the link, or of the last one there was
  };

  std::vector<Entry> entries_;                    // by LinkSlot::index
  std::vector<uint32_t> free_slots_;              // indices into entries_
  std::unordered_map<uint32_t, LinkSlot> by_qp_;  // one for each link
  std::size_t num_links_ = 0;                     // entries_ that have one
};

}  // namespace lunar::msgr::rdma
