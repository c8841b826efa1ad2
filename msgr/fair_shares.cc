// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/fair_shares.h"

namespace lunar::msgr {

FairShares::ShareRef FairShares::open(std::string_view entity) {
  auto at = entities_.find(entity);
  std::shared_ptr<EntityShare> share = at == entities_.end() ? nullptr : at->second.lock();
  if (share == nullptr) {
    // Whoever is gone is forgotten when somebody comes.
    std::erase_if(entities_, [](const auto& each) { return each.second.expired(); });
    share = std::make_shared<EntityShare>();
    entities_.insert_or_assign(std::string(entity), share);
  }
  return std::make_shared<Share>(std::move(share));
}

bool FairShares::allows(const Share& holder, uint64_t amount) const noexcept {
  if (limits_.total == 0) return true;
  if (holder.held_ + amount <= limits_.always) return true;
  if (holder.held_ >= limits_.connection) return false;
  const uint64_t by_entity = holder.entity_->held;
  if (by_entity == 0 && held_ < limits_.total) return true;
  const uint64_t total = held_ + amount;
  if (total > limits_.total || by_entity + amount > limits_.total - total) return false;
  return holder.held_ < limits_.total - held_ - by_entity;
}

FairShares::Held FairShares::hold(ShareRef holder, uint64_t amount) {
  held_ += amount;
  holder->held_ += amount;
  holder->entity_->held += amount;
  return Held(shared_from_this(), std::move(holder), amount);
}

void FairShares::Held::resize(uint64_t amount) noexcept {
  if (shares_ == nullptr) return;
  for (uint64_t* const held : {&shares_->held_, &holder_->held_, &holder_->entity_->held})
    *held = *held - amount_ + amount;
  amount_ = amount;
}

void FairShares::Held::give_back() noexcept {
  if (shares_ == nullptr) return;
  resize(0);
  shares_.reset();
  holder_.reset();
}

}  // namespace lunar::msgr
