// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "common/result.h"
#include "gateway/open_options.h"

namespace lunar::bstore_plugin {

// What bsopts say: "conf=FILE;id=ID;cluster=NAME;pool=POOL;lock=LOCK;OPTION=VALUE;…", all of it
// optional.
struct BsOptions {
  std::string conf;
  std::string id = "admin";
  std::string cluster = "lunar";
  std::string pool;  // for paths without one
  gateway::OpenLock lock = gateway::OpenLock::kExclusive;
  std::map<std::string, std::string> overrides;

  // An Error for an item without '=', or one that holds a key (tgtd logs bsopts).
  static Outcome<BsOptions> parse(std::string_view text);
  // LUNs that agree on this share a cluster: its name, the id and the file that is really read, by
  // whatever way it was found. Two clients of one entity and instance would fence each other.
  std::string cluster_key() const;
};

}  // namespace lunar::bstore_plugin
