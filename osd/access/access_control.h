// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <map>
#include <string>
#include <vector>

#include "msgr/connection.h"
#include "objecter/protocol/osd_map.h"
#include "osd/access/permissions.h"

namespace lunar::osd {

// Decides what a peer may do here: the one place where an identity becomes permissions. Those of a
// map are kept until it is asked about another one.
// Loop-bound. The server owns it; shares the map that it was asked about last.
class AccessControl {
 public:
  struct Options {
    bool auth_required = true;  // without authentication names are only claims, and all is allowed
    std::vector<std::string> admins;  // entities that may do everything, whatever the map says
  };
  explicit AccessControl(Options options) : options_(std::move(options)) {}

  // Under this map; null: there is none yet, and only admins and servers may do anything. Valid
  // until the next call with another map.
  const Permissions& permissions_of(const msgr::PeerIdentity& peer, const objecter::OsdMapRef& map);
  // Of a peer of which only the name is left; it was authenticated if that is required.
  const Permissions& permissions_of(const std::string& entity, const objecter::OsdMapRef& map);

 private:
  Permissions decide(const std::string& entity) const;

  const Options options_;
  const Permissions everything_{Permissions::Role::kAdmin};
  const Permissions nothing_;
  objecter::OsdMapRef map_;  // that known_ was made from
  std::map<std::string, Permissions> known_;
};

// The map as somebody with these permissions sees it: without pools that are none of its business,
// and without what others may do. The map itself if it sees everything.
objecter::OsdMapRef visible_map(const objecter::OsdMapRef& map, const Permissions& permissions);

}  // namespace lunar::osd
