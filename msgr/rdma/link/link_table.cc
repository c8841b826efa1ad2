// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/rdma/link/link_table.h"

namespace lunar::msgr::rdma {

Result<LinkSlot> LinkTable::add(RdmaLink& link, uint32_t qp_num) {
  if (free_slots_.empty()) {
    if (entries_.size() > LinkSlot::kMaxIndex) {
      return failure(std::make_error_code(std::errc::no_buffer_space));
    }
    free_slots_.push_back(static_cast<uint32_t>(entries_.size()));
    entries_.emplace_back();
  }
  const uint32_t index = free_slots_.back();
  free_slots_.pop_back();
  Entry& entry = entries_[index];
  entry.link = &link;
  entry.generation = (entry.generation + 1) % LinkSlot::kGenerations;
  const LinkSlot slot{index, entry.generation};
  by_qp_[qp_num] = slot;
  ++num_links_;
  return slot;
}

void LinkTable::remove(LinkSlot slot, uint32_t qp_num) {
  entries_[slot.index].link = nullptr;
  free_slots_.push_back(slot.index);
  by_qp_.erase(qp_num);
  --num_links_;
}

RdmaLink* LinkTable::find(LinkSlot slot) const noexcept {
  if (slot.index >= entries_.size() || entries_[slot.index].generation != slot.generation) {
    return nullptr;
  }
  return entries_[slot.index].link;
}

RdmaLink* LinkTable::find_by_qp(uint32_t qp_num) const noexcept {
  const auto found = by_qp_.find(qp_num);
  return found == by_qp_.end() ? nullptr : find(found->second);
}

}  // namespace lunar::msgr::rdma
