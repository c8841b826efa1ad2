// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/access/access_control.h"

#include <algorithm>
#include <memory>
#include <utility>

namespace lunar::osd {

using objecter::OsdMap;
using objecter::OsdMapRef;

namespace {

constexpr std::string_view kServerPrefix = "osd.";

}  // namespace

const Permissions& AccessControl::permissions_of(const msgr::PeerIdentity& peer,
                                                 const OsdMapRef& map) {
  if (options_.auth_required && !peer.is_authenticated) return nothing_;
  return permissions_of(peer.entity, map);
}

const Permissions& AccessControl::permissions_of(const std::string& entity, const OsdMapRef& map) {
  if (!options_.auth_required) return everything_;
  if (map != map_) {
    known_.clear();
    map_ = map;
  }
  const auto known = known_.find(entity);
  if (known != known_.end()) return known->second;
  return known_.emplace(entity, decide(entity)).first->second;
}

Permissions AccessControl::decide(const std::string& entity) const {
  const auto& admins = options_.admins;
  if (std::find(admins.begin(), admins.end(), entity) != admins.end()) return everything_;
  if (entity.starts_with(kServerPrefix)) return Permissions(Permissions::Role::kServer);
  if (map_ == nullptr) return nothing_;
  if (!map_->enforces_caps) return Permissions(Permissions::Role::kClient);
  const objecter::EntityInfo* info = map_->find_entity(entity);
  if (info == nullptr) return nothing_;
  const auto capabilities = objecter::parse_capabilities(info->caps);
  return capabilities ? Permissions(*capabilities, *map_) : nothing_;
}

OsdMapRef visible_map(const OsdMapRef& map, const Permissions& permissions) {
  if (permissions.sees_whole_map()) return map;
  OsdMap shown = objecter::without_rados_clients(*map);
  std::erase_if(shown.pools, [&](const objecter::PoolInfo& pool) {
    return !permissions.allows_seeing(pool.id);
  });
  shown.enforces_caps = false;
  shown.entities.clear();
  return std::make_shared<const OsdMap>(std::move(shown));
}

}  // namespace lunar::osd
