// SPDX-License-Identifier: LGPL-2.1-or-later
#include "objecter/ops/unconfirmed_changes.h"

#include <algorithm>

namespace lunar::objecter {

void UnconfirmedChanges::set_map(OsdMapRef map) {
  map_ = std::move(map);
  std::erase_if(servers_, [this](const auto& entry) {
    return !may_be_executing(entry.first, entry.second.incarnation);
  });
}

// No map has a server down, or started anew, whose client is not fenced.
bool UnconfirmedChanges::may_be_executing(OsdId osd, uint64_t incarnation) const {
  const OsdInfo* const info = map_->find_osd(osd);
  if (info == nullptr || !info->up) return false;
  return info->incarnation == 0 || incarnation == 0 || info->incarnation == incarnation;
}

void UnconfirmedChanges::add(const Op& op) {
  if (!op.changes || !op.may_be_executed() || map_ == nullptr) return;
  const PoolInfo* const pool = map_->find_pool(op.object_op.object.pool);
  if (pool == nullptr || pool->store != StoreKind::kRados) return;
  if (!may_be_executing(op.osd, op.sent_to)) return;
  OfServer& server = servers_[op.osd];
  if (server.incarnation != op.sent_to) server = {op.sent_to, {}, false};
  if (server.changes.size() < kMaxOfServer)
    server.changes[op.tid] = {op.object_op.object, op.encoded};
  else
    server.are_too_many = true;
}

void UnconfirmedChanges::on_word(OsdId osd, Tid tid, uint32_t attempt) {
  const auto server = servers_.find(osd);
  if (server == servers_.end()) return;
  const auto change = server->second.changes.find(tid);
  if (change == server->second.changes.end() || change->second.attempt > attempt) return;
  server->second.changes.erase(change);
  if (server->second.changes.empty() && !server->second.are_too_many) servers_.erase(server);
}

std::vector<Tid> UnconfirmedChanges::tids_of(OsdId osd) const {
  std::vector<Tid> tids;
  const auto server = servers_.find(osd);
  if (server == servers_.end()) return tids;
  for (const auto& [tid, change] : server->second.changes) tids.push_back(tid);
  return tids;
}

bool UnconfirmedChanges::may_undo(const ObjectId& object, OsdId by) const {
  return std::any_of(servers_.begin(), servers_.end(), [&](const auto& entry) {
    const auto& [osd, server] = entry;
    if (osd == by) return false;
    return server.are_too_many ||
           std::any_of(server.changes.begin(), server.changes.end(),
                       [&](const auto& change) { return change.second.object == object; });
  });
}

}  // namespace lunar::objecter
