// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/map/map_boot.h"

#include <fmt/core.h>

#include <algorithm>

#include "osd/map/map_restore.h"
#include "osd/map/unknown_pools.h"

namespace lunar::osd {
namespace {

using objecter::OsdErrc;
using objecter::OsdInfo;
using objecter::OsdMap;

// Pool ids that a boot may know above the map's: those of some restores of an old backup. More are
// made up.
constexpr objecter::PoolId kMaxPoolIdsAhead = 64 * kRestorePoolGap;

BootChange refuse_boot(OsdErrc error, std::string sentence) {
  return {{error, 0, std::move(sentence)}, std::nullopt};
}

// Whether the start that the map knows is this one, or one that this store remembers.
bool is_next_start(const OsdInfo& known, const objecter::OsdBoot& boot) {
  if (known.incarnation == 0 || known.incarnation == boot.incarnation) return true;
  return boot.incarnation > known.incarnation &&
         std::find(boot.previous.begin(), boot.previous.end(), known.incarnation) !=
             boot.previous.end();
}

}  // namespace

BootChange boot_osd(const OsdMap& map, const objecter::OsdBoot& boot) {
  if (boot.fsid != map.fsid)
    return refuse_boot(
        OsdErrc::kNotPermitted,
        fmt::format("osd.{} belongs to cluster {}, and this is cluster {}; check mon_host, "
                    "or make the store anew with lunar-osd --mkfs --fsid {}",
                    boot.osd, boot.fsid.to_string(), map.fsid.to_string(), map.fsid.to_string()));
  if (boot.epoch > map.epoch)
    return refuse_boot(
        OsdErrc::kIncompatible,
        fmt::format("osd.{} has map epoch {}, the authority only {}: the authority's store "
                    "was put back to an older state, or a backup is restored that is older: "
                    "restore the newest one there, once more if need be, "
                    "with lunar map restore",
                    boot.osd, boot.epoch, map.epoch));
  for (const OsdInfo& osd : map.osds)
    if (osd.id != boot.osd && osd.store == boot.store)
      return refuse_boot(OsdErrc::kExists,
                         fmt::format("store {} is osd.{} in the map and cannot also be osd.{}",
                                     boot.store.to_string(), osd.id, boot.osd));
  for (const OsdInfo& osd : map.osds)
    if (osd.id != boot.osd && !boot.rados_client.empty() && osd.rados_client == boot.rados_client)
      return refuse_boot(OsdErrc::kExists,
                         fmt::format("the RADOS client {} is that of osd.{} and cannot also be "
                                     "that of osd.{}",
                                     boot.rados_client, osd.id, boot.osd));
  const OsdInfo* const known = map.find_osd(boot.osd);
  if (known != nullptr && !known->store.is_nil() && known->store != boot.store)
    return refuse_boot(
        OsdErrc::kExists,
        fmt::format(
            "osd.{} is store {} in the map, and this is another store ({}); start the "
            "server on the one that the map names, or give this one an id of its own. If "
            "the old one is lost for good, with all objects on it, say lunar osd replace {} "
            "{} --yes-i-really-mean-it",
            boot.osd, known->store.to_string(), boot.store.to_string(), boot.osd,
            boot.store.to_string()));
  if (known != nullptr && known->store == boot.store && !is_next_start(*known, boot))
    return refuse_boot(
        OsdErrc::kExists,
        fmt::format("this start of osd.{} does not follow the one that the map knows: it is on "
                    "a copy of store {}, or that was put back to an older state, and lacks "
                    "what was written since; start the server on the original. If that is "
                    "lost for good, say lunar osd replace {} {} --yes-i-really-mean-it",
                    boot.osd, boot.store.to_string(), boot.osd, boot.store.to_string()));
  if (known != nullptr && !known->up && known->incarnation == boot.incarnation &&
      boot.kind == objecter::StoreKind::kRados)
    return refuse_boot(OsdErrc::kFenced,
                       fmt::format("this start of osd.{} was held dead, and its RADOS client is "
                                   "fenced: only another start of it may serve",
                                   boot.osd));
  if (known != nullptr && known->up && known->incarnation == boot.incarnation &&
      !known->rados_client.empty() && known->rados_client != boot.rados_client)
    return refuse_boot(OsdErrc::kExists,
                       fmt::format("this start of osd.{} has the RADOS client {} in the map, and "
                                   "that must be fenced before it has another",
                                   boot.osd, known->rados_client));
  // What a server knows counts once after a restore: its key could use up all ids bit by bit.
  const bool may_know_more = known == nullptr ? awaits_servers(map) || !map.unknown_pools.is_empty()
                                              : known->incarnation == 0;
  const bool knows_more_pools = boot.next_pool_id > map.next_pool_id;
  if (knows_more_pools &&
      (!may_know_more || boot.next_pool_id - map.next_pool_id > kMaxPoolIdsAhead))
    return refuse_boot(
        OsdErrc::kIncompatible,
        fmt::format("osd.{} knows pools with ids up to {}, and the authority only up to {}: the "
                    "backup that was restored is too old, restore a newer one there with lunar map "
                    "restore. If there is none, lunar osd replace {} {} takes the server as it is",
                    boot.osd, boot.next_pool_id - 1, map.next_pool_id - 1, boot.osd,
                    boot.store.to_string()));
  OsdInfo now{boot.osd, boot.store, boot.addresses, true, boot.incarnation};
  now.kind = boot.kind;
  now.rados_client = boot.rados_client;
  if (known != nullptr) now.lost_below = known->lost_below;
  if (known != nullptr && *known == now && !knows_more_pools)
    return {{OsdErrc::kOk, map.epoch, {}}, std::nullopt};
  OsdMap next = map;
  if (knows_more_pools) know_of_pool_ids(next, boot.next_pool_id);
  const auto at =
      std::lower_bound(next.osds.begin(), next.osds.end(), boot.osd,
                       [](const OsdInfo& osd, objecter::OsdId id) { return osd.id < id; });
  if (known != nullptr)
    *at = std::move(now);
  else
    next.osds.insert(at, std::move(now));
  return {{OsdErrc::kOk, 0, {}}, std::move(next)};
}

}  // namespace lunar::osd
