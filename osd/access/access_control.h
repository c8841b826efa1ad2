// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <map>
#include <string>
#include <vector>

#include "msgr/connection.h"
#include "objecter/protocol/osd_map.h"
#include "osd/access/permissions.h"

namespace lunar::osd {

// Decides what a peer may do here: the one place where an identity becomes permissions.
// Loop-bound.
class AccessControl {
 public:
  struct Options {
    bool auth_required = true;  // without authentication names are only claims, and all is allowed
    std::vector<std::string> admins;  // entities that may do everything, whatever the map says
  };
  explicit AccessControl(Options options);

  // Under this map; never null. Without a map there are only admins and servers.
  PermissionsRef permissions_of(const msgr::PeerIdentity& peer, const objecter::OsdMapRef& map);
  // Of a peer of which only the name is left; it was authenticated if that is required.
  PermissionsRef permissions_of(const std::string& entity, const objecter::OsdMapRef& map);

 private:
  PermissionsRef decide(const std::string& entity) const;

  const Options options_;
  const PermissionsRef everything_;
  const PermissionsRef nothing_;
  objecter::OsdMapRef map_;  // that known_ was made from
  std::map<std::string, PermissionsRef> known_;
};

// The map as somebody with these permissions sees it: without pools that are none of its business,
// and without what others may do. The map itself if it sees everything.
objecter::OsdMapRef visible_map(const objecter::OsdMapRef& map, const Permissions& permissions);

}  // namespace lunar::osd
