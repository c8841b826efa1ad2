// SPDX-License-Identifier: LGPL-2.1-or-later
#include <fmt/core.h>

#include <algorithm>

#include "osd/map/map_commands.h"

namespace lunar::osd {
namespace {

using objecter::OsdErrc;
using objecter::OsdInfo;
using objecter::OsdMap;

BootChange refuse(OsdErrc error, std::string sentence) {
  return {{error, 0, std::move(sentence)}, std::nullopt};
}

}  // namespace

BootChange boot_osd(const OsdMap& map, const objecter::OsdBoot& boot) {
  if (boot.fsid != map.fsid)
    return refuse(
        OsdErrc::kNotPermitted,
        fmt::format("osd.{} belongs to cluster {}, and this is cluster {}; check mon_host, "
                    "or make the store anew with lunar-osd --mkfs --fsid {}",
                    boot.osd, boot.fsid.to_string(), map.fsid.to_string(), map.fsid.to_string()));
  if (boot.epoch > map.epoch)
    return refuse(
        OsdErrc::kIncompatible,
        fmt::format("osd.{} has map epoch {}, the authority only {}: the authority's store "
                    "was put back to an older state; restore a newer map backup there "
                    "with lunar map restore",
                    boot.osd, boot.epoch, map.epoch));
  for (const OsdInfo& osd : map.osds)
    if (osd.id != boot.osd && osd.store == boot.store)
      return refuse(OsdErrc::kExists,
                    fmt::format("store {} is osd.{} in the map and cannot also be osd.{}",
                                boot.store.to_string(), osd.id, boot.osd));
  const OsdInfo* const known = map.find_osd(boot.osd);
  if (known != nullptr && !known->store.is_nil() && known->store != boot.store)
    return refuse(
        OsdErrc::kExists,
        fmt::format("osd.{} is store {} in the map, and this is another store ({}); give "
                    "the new one an id of its own, or remove the old one with lunar osd "
                    "rm {} if no pool needs it",
                    boot.osd, known->store.to_string(), boot.store.to_string(), boot.osd));
  OsdInfo now{boot.osd, boot.store, boot.addresses, true};
  if (known != nullptr && *known == now) return {{OsdErrc::kOk, map.epoch, {}}, std::nullopt};
  OsdMap next = map;
  const auto at =
      std::lower_bound(next.osds.begin(), next.osds.end(), boot.osd,
                       [](const OsdInfo& osd, objecter::OsdId id) { return osd.id < id; });
  if (known != nullptr)
    *at = std::move(now);
  else
    next.osds.insert(at, std::move(now));
  return {{OsdErrc::kOk, 0, {}}, std::move(next)};
}

OsdMap make_first_map(const Uuid& fsid, objecter::OsdId authority, const Uuid& store) {
  OsdMap map;
  map.fsid = fsid;
  map.epoch = 1;
  map.authority = authority;
  map.osds.push_back({authority, store, {}, false});
  return map;
}

}  // namespace lunar::osd
