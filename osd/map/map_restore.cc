// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/map/map_restore.h"

#include <fmt/core.h>

#include <algorithm>

#include "osd/map/osd_commands.h"
#include "osd/map/unknown_pools.h"

namespace lunar::osd {

using Json = CommandJson;
using objecter::OsdErrc;
using objecter::OsdId;
using objecter::OsdInfo;
using objecter::OsdMap;
using objecter::PoolId;
using objecter::PoolInfo;
using objecter::StoreKind;

namespace {

// The ids of "osd_lost".
Outcome<std::vector<OsdId>> lost_osds(const Json& arguments) {
  std::vector<OsdId> ids;
  for (const Json& value : list_of(arguments, "osd_lost")) {
    const auto id = number_of(value);
    if (!id || *id > INT32_MAX)
      return failure(OsdErrc::kInvalid, "\"osd_lost\" must be ids of OSDs, such as 0");
    ids.push_back(static_cast<OsdId>(*id));
  }
  return ids;
}

// The backup is later than the map: the authority was made anew, or its store was put back to an
// older state.
bool is_put_back(const OsdMap& map, const OsdMap& backup) { return backup.epoch > map.epoch; }

// Nobody is up because a backup says so, or a map that is older. Which start was the last one they
// do not know, nor by what that can be fenced: PGs in RADOS wait for the next one (placement.h).
void forget_starts(OsdInfo& osd) {
  mark_down(osd);
  osd.incarnation = 0;
  osd.kind.reset();
}

// What is known now of the servers of a restored map goes into it. Appends to `replaced` those
// whose store is another now. The error is a sentence: a store would be replaced unasked.
Outcome<void> bring_up_to_date(OsdMap& restored, const OsdMap& map, const std::vector<OsdId>& lost,
                               Json& replaced) {
  for (const OsdId id : lost) {
    const OsdInfo* then = restored.find_osd(id);
    const OsdInfo* now = map.find_osd(id);
    if (then == nullptr || now == nullptr || then->store == now->store)
      return failure(OsdErrc::kInvalid,
                     fmt::format("osd.{} is not on another store now than in that map: leave out "
                                 "--osd-lost {}",
                                 id, id));
  }
  const bool is_behind = is_put_back(map, restored);
  for (OsdInfo& osd : restored.osds) {
    const OsdInfo* now = map.find_osd(osd.id);
    if (now == nullptr || now->store.is_nil()) {
      forget_starts(osd);
      continue;
    }
    const bool is_other = !osd.store.is_nil() && osd.store != now->store;
    if (is_other && std::find(lost.begin(), lost.end(), osd.id) == lost.end())
      return failure(OsdErrc::kNotPermitted,
                     fmt::format("osd.{} is store {} in that map, and store {} now: restoring it "
                                 "replaces the store, and the objects that were on the old one "
                                 "are lost (it has objects of {}). If the old store is lost for "
                                 "good, repeat with --osd-lost {}; else bring it back first",
                                 osd.id, osd.store.to_string(), now->store.to_string(),
                                 pools_on(restored, osd.id), osd.id));
    const PoolId lost_below =
        is_other ? restored.next_pool_id : std::max(osd.lost_below, now->lost_below);
    if (is_other)
      replaced.push_back({{"osd", osd.id},
                          {"lost_store", osd.store.to_string()},
                          {"store", now->store.to_string()}});
    osd = *now;
    osd.lost_below = lost_below;
    if (is_behind && osd.id != map.authority) forget_starts(osd);
  }
  return {};
}

// The map, if it knows what became of the pools of a backup. One that was made anew after the loss
// of the authority's disk, or is behind the backup, does not: what was removed there was another
// pool.
const OsdMap* history_of(const OsdMap& map, const OsdMap& backup) {
  if (is_put_back(map, backup)) return nullptr;
  const bool is_on_its_store =
      backup.find_osd(map.authority)->store == map.find_osd(map.authority)->store;
  return is_on_its_store || map.epoch > kRestoreGap ? &map : nullptr;
}

// Who is out of a pool stays out.
void keep_weights(OsdMap& restored, const OsdMap& map) {
  for (PoolInfo& pool : restored.pools)
    if (const PoolInfo* now = map.find_pool(pool.id);
        now != nullptr && pool.store == StoreKind::kRados)
      pool.members = now->members;
}

// A file that somebody has made up could use up what is never given out twice.
Outcome<void> check_counters(const OsdMap& restored, const OsdMap& map) {
  if (restored.epoch > std::max(map.epoch, OsdMap::kMaxEpoch / 2))
    return failure(OsdErrc::kInvalid,
                   fmt::format("that map has epoch {}, which no cluster comes to", restored.epoch));
  if (restored.next_pool_id > std::max(map.next_pool_id, OsdMap::kMaxPoolId / 2))
    return failure(OsdErrc::kInvalid, fmt::format("that map has given out {} pool ids, which no "
                                                  "cluster comes to",
                                                  restored.next_pool_id));
  return {};
}

// Given out, and neither there nor unknown.
bool is_removed(const OsdMap& map, PoolId id) {
  return id < map.next_pool_id && map.find_pool(id) == nullptr && !map.unknown_pools.has(id);
}

// Whatever the backup does not list, but what `history` (null: nobody) knows to be removed. A
// backup may be of any age, so that it does not count what it thinks removed.
objecter::PoolIdSet unlisted_pools(const OsdMap& restored, const OsdMap* history) {
  objecter::PoolIdSet unknown;
  for (PoolId id = 1; id < restored.next_pool_id; ++id)
    if (restored.find_pool(id) == nullptr && (history == nullptr || !is_removed(*history, id)))
      unknown.append({id, id + 1});
  return unknown;
}

// Pools of the backup that were removed since: their objects were being deleted.
Outcome<void> check_removed_pools(const OsdMap& restored, const OsdMap* history,
                                  const Json& arguments) {
  const std::vector<Json> named = list_of(arguments, "pool_removed");
  for (const PoolInfo& pool : restored.pools) {
    if (history == nullptr || !is_removed(*history, pool.id) ||
        std::find(named.begin(), named.end(), Json(pool.name)) != named.end())
      continue;
    return failure(OsdErrc::kNotPermitted,
                   fmt::format("pool {} was removed after that backup, so that its objects may be "
                               "gone, all or some, and what is gone reads as zeroes; if what is "
                               "left of it is to be brought back, repeat with --pool-removed {}",
                               pool.name, pool.name));
  }
  return {};
}

// A backup that may be restored into this map.
Outcome<OsdMap> read_backup(const OsdMap& map, const Json& arguments) {
  const auto found = arguments.find("map");
  if (found == arguments.end())
    return failure(OsdErrc::kInvalid, "\"map\" must hold what `map backup` wrote");
  auto backup =
      objecter::osd_map_from_json(found->is_string() ? found->get<std::string>() : found->dump());
  if (!backup) return backup;
  if (backup->fsid != map.fsid)
    return failure(OsdErrc::kInvalid,
                   fmt::format("that is the map of cluster {}; this is cluster {}",
                               backup->fsid.to_string(), map.fsid.to_string()));
  if (backup->authority != map.authority)
    return failure(OsdErrc::kInvalid, fmt::format("that map's authority is osd.{}, and this is "
                                                  "osd.{}",
                                                  backup->authority, map.authority));
  for (const PoolInfo& pool : map.pools) {
    const PoolInfo* then = backup->find_pool(pool.id);
    if (then != nullptr && !is_same_pool(pool, *then))
      return failure(OsdErrc::kInvalid,
                     fmt::format("pool {} is '{}' now and '{}' in that map, so their objects would "
                                 "mix; restore into a map without pools of its own, as lunar-osd "
                                 "--mkfs --mkmap makes it",
                                 pool.id, pool.name, then->name));
  }
  if (const auto possible = check_counters(*backup, map); !possible)
    return failure(possible.error());
  return backup;
}

// The names of pools that the restored map drops, for a sentence.
std::string dropped_pools(const OsdMap& restored, const OsdMap& map) {
  std::string names;
  for (const PoolInfo& pool : map.pools)
    if (restored.find_pool(pool.id) == nullptr) names += (names.empty() ? "" : ", ") + pool.name;
  return names;
}

}  // namespace

CommandChange map_restore(const OsdMap& map, const Json& arguments) {
  auto restored = read_backup(map, arguments);
  if (!restored) return refuse(restored.error());
  const auto lost = lost_osds(arguments);
  if (!lost) return refuse(lost.error());
  const bool is_older = !is_put_back(map, *restored);
  const OsdMap* const history = history_of(map, *restored);
  if (const auto there = check_removed_pools(*restored, history, arguments); !there)
    return refuse(there.error());
  // A pool id is never used twice.
  restored->next_pool_id = std::min(
      std::max(restored->next_pool_id, map.next_pool_id) + kRestorePoolGap, OsdMap::kMaxPoolId);
  restored->unknown_pools = unlisted_pools(*restored, history);
  if (is_older) keep_weights(*restored, map);
  // What was taken from an entity since is not given back, and no cluster is without capabilities
  // again. Only one that was made anew has none of its own to keep.
  if ((is_older && !map.entities.empty()) || !restored->has_caps())
    restored->entities = map.entities;
  restored->enforces_caps = restored->enforces_caps || map.enforces_caps;
  Json replaced = Json::array();
  if (const auto known = bring_up_to_date(*restored, map, *lost, replaced); !known)
    return refuse(known.error());
  restored->epoch = std::max(restored->epoch, map.epoch) + kRestoreGap;
  const std::string dropped = dropped_pools(*restored, map);
  if (!is_set(arguments, "yes_i_really_mean_it"))
    return refuse(OsdErrc::kNotPermitted,
                  fmt::format("restoring a map brings back its pools, and the ones made since can "
                              "no more be used{}: their objects are kept until `lunar pool "
                              "purge-unknown`; if that is meant, repeat with "
                              "--yes-i-really-mean-it",
                              dropped.empty() ? "" : " (" + dropped + ")"));
  const Json shown = {{"status", "restored"},
                      {"replaced", replaced},
                      {"dropped_pools", dropped},
                      {"unknown_pools", restored->unknown_pools.to_text()}};
  return change(std::move(*restored), shown);
}

}  // namespace lunar::osd
