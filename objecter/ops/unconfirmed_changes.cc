// SPDX-License-Identifier: LGPL-2.1-or-later
#include "objecter/ops/unconfirmed_changes.h"

#include <algorithm>
#include <utility>

#include "objecter/protocol/placement.h"

namespace lunar::objecter {

void UnconfirmedChanges::set_map(OsdMapRef map) {
  map_ = std::move(map);
  std::erase_if(servers_, [this](const auto& entry) {
    return !may_be_executing(*map_, entry.first, entry.second.incarnation);
  });
}

void UnconfirmedChanges::add(const Op& op) {
  if (!op.changes || !op.may_be_executed() || map_ == nullptr) return;
  if (!map_->is_in_rados(op.object_op.object.pool)) return;
  if (!may_be_executing(*map_, op.osd, op.sent_to)) return;
  OfServer& server = servers_[op.osd];
  if (server.incarnation != op.sent_to) server = {op.sent_to, {}, {}};
  server.changes[op.tid] = {op.object_op.object, op.encoded};
  ++server.objects[op.object_op.object];
}

void UnconfirmedChanges::on_word(OsdId osd, Tid tid, uint32_t attempt) {
  const auto server = servers_.find(osd);
  if (server == servers_.end()) return;
  const auto change = server->second.changes.find(tid);
  if (change == server->second.changes.end() || change->second.attempt > attempt) return;
  const auto object = server->second.objects.find(change->second.object);
  if (--object->second == 0) server->second.objects.erase(object);
  server->second.changes.erase(change);
  if (server->second.changes.empty()) servers_.erase(server);
  if (on_confirmed_) on_confirmed_();
}

std::vector<Tid> UnconfirmedChanges::tids_of(OsdId osd) const {
  std::vector<Tid> tids;
  const auto server = servers_.find(osd);
  if (server == servers_.end()) return tids;
  for (const auto& [tid, change] : server->second.changes) tids.push_back(tid);
  return tids;
}

void UnconfirmedChanges::forget(OsdId osd) {
  if (servers_.erase(osd) != 0 && on_confirmed_) on_confirmed_();
}

bool UnconfirmedChanges::must_wait(const ObjectId& object, OsdId osd) const {
  return std::any_of(servers_.begin(), servers_.end(), [&](const auto& entry) {
    const auto& [id, server] = entry;
    return id == osd ? server.changes.size() >= kMaxOfServer : server.objects.contains(object);
  });
}

}  // namespace lunar::objecter
