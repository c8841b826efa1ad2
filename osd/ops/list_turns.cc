// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/ops/list_turns.h"

#include <algorithm>
#include <utility>

#include "common/check.h"

namespace lunar::osd {
namespace {

// Empty for an op of nobody, as tests have it.
const std::string& entity_of(const ClientOp& op) {
  static const std::string nobody;
  return op.client == nullptr ? nobody : op.client->entity;
}

}  // namespace

bool ListTurns::has_room(const ClientOp& op) const {
  if (waiting_ >= limits_.max_waiting) return false;
  const auto own = entities_.find(entity_of(op));
  return own == entities_.end() || own->second.waiting.size() < limits_.max_waiting_of_entity;
}

void ListTurns::add(ClientOpRef op) {
  const std::string& name = entity_of(*op);
  ListingEntity& entity = entities_[name];
  if (entity.waiting.empty()) turns_.push_back(name);
  entity.waiting.push_back(std::move(op));
  ++waiting_;
}

ClientOpRef ListTurns::take_next() {
  if (executing_ >= limits_.max_executing) return nullptr;
  const auto turn = std::find_if(turns_.begin(), turns_.end(), [this](const std::string& name) {
    return !entities_.at(name).is_executing;
  });
  if (turn == turns_.end()) return nullptr;
  const std::string name = std::move(*turn);
  turns_.erase(turn);
  ListingEntity& entity = entities_.at(name);
  ClientOpRef op = std::move(entity.waiting.front());
  entity.waiting.pop_front();
  if (!entity.waiting.empty()) turns_.push_back(name);
  entity.is_executing = true;
  --waiting_;
  ++executing_;
  return op;
}

void ListTurns::on_ended(const ClientOp& op) {
  const auto at = entities_.find(entity_of(op));
  LUNAR_CHECK(at != entities_.end() && at->second.is_executing, "a LIST ended twice");
  at->second.is_executing = false;
  --executing_;
  forget_if_idle(at);
}

bool ListTurns::take_out(const ClientOpRef& op) {
  const auto at = entities_.find(entity_of(*op));
  if (at == entities_.end() || std::erase(at->second.waiting, op) == 0) return false;
  --waiting_;
  if (at->second.waiting.empty()) std::erase(turns_, at->first);
  forget_if_idle(at);
  return true;
}

std::deque<ClientOpRef> ListTurns::take_all() {
  std::deque<ClientOpRef> taken;
  for (const std::string& name : std::exchange(turns_, {})) {
    const auto at = entities_.find(name);
    for (ClientOpRef& op : std::exchange(at->second.waiting, {})) taken.push_back(std::move(op));
    forget_if_idle(at);
  }
  waiting_ = 0;
  return taken;
}

void ListTurns::forget_if_idle(Entities::iterator at) {
  if (at->second.waiting.empty() && !at->second.is_executing) entities_.erase(at);
}

}  // namespace lunar::osd
