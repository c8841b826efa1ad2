// SPDX-License-Identifier: LGPL-2.1-or-later
#include "objecter/map/authority_search.h"

#include <algorithm>
#include <utility>

namespace lunar::objecter {

AuthoritySearch::AuthoritySearch(msgr::EventCenter& center, ServerTable& servers,
                                 std::vector<msgr::Address> bootstrap, std::optional<OsdId> named,
                                 Ask ask)
    : bootstrap_(std::move(bootstrap)),
      named_(named),
      ask_(std::move(ask)),
      hunt_(center, servers, *this, {kStagger, kRotate, kMaxAsked}) {}

OsdId AuthoritySearch::authority_by(const OsdMap& map) const {
  if (is_proven_) return map_->authority;
  return named_.value_or(map.authority);
}

void AuthoritySearch::follow(OsdMapRef map, bool is_proven) {
  map_ = std::move(map);
  is_proven_ |= is_proven;
  if (hearsay_ != nullptr && hearsay_->epoch <= map_->epoch) hearsay_.reset();
  if (!std::exchange(is_on_, true)) hunt_.start();
}

bool AuthoritySearch::is_authority(const ServerConnection& server, const OsdMap& map) const {
  return server.hello() && server.may_be(authority_by(map));
}

bool AuthoritySearch::may_be_ours(const OsdMap& map) const {
  return is_proven_ || !named_ || *named_ == map.authority;
}

void AuthoritySearch::on_lost(const ServerConnection& server) {
  if (found().get() == &server) hunt_.doubt_source();
}

std::vector<msgr::Address> AuthoritySearch::candidates() const {
  std::vector<msgr::Address> all;
  const auto add = [&all](const std::vector<msgr::Address>& addresses) {
    for (const msgr::Address& address : addresses)
      if (std::find(all.begin(), all.end(), address) == all.end()) all.push_back(address);
  };
  for (const OsdMapRef& map : {map_, hearsay_}) {
    const OsdInfo* authority = map == nullptr ? nullptr : map->find_osd(authority_by(*map_));
    if (authority != nullptr) add(authority->addresses);
  }
  add(bootstrap_);
  return all;
}

}  // namespace lunar::objecter
