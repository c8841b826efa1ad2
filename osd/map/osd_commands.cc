// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/map/osd_commands.h"

#include <fmt/core.h>

#include <algorithm>

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

Json describe(const OsdInfo& osd) {
  Json addresses = Json::array();
  for (const msgr::Address& address : osd.addresses) addresses.push_back(address.to_string());
  Json shown = {{"id", osd.id},
                {"name", fmt::format("osd.{}", osd.id)},
                {"status", osd.up ? "up" : "down"},
                {"store", osd.store.to_string()},
                {"addresses", addresses}};
  if (osd.kind) shown["objectstore"] = to_string(*osd.kind);
  if (!osd.rados_client.empty()) shown["rados_client"] = osd.rados_client;
  return shown;
}

OsdInfo& info_of(OsdMap& map, OsdId id) {
  return *std::find_if(map.osds.begin(), map.osds.end(),
                       [id](const OsdInfo& osd) { return osd.id == id; });
}

// The member's place in a pool in RADOS; null if there is none.
PoolInfo::Member* member_in_rados(PoolInfo& pool, OsdId osd) {
  if (pool.store != StoreKind::kRados) return nullptr;
  const auto at = std::find_if(pool.members.begin(), pool.members.end(),
                               [osd](const auto& member) { return member.osd == osd; });
  return at == pool.members.end() ? nullptr : &*at;
}

// Whether another member than this one can have its PGs.
bool has_heir(const OsdMap& map, const PoolInfo& pool, OsdId osd) {
  return std::any_of(pool.members.begin(), pool.members.end(), [&](const auto& member) {
    return member.osd != osd && member.weight != 0 && map.find_osd(member.osd)->up;
  });
}

CommandChange refuse_without_rados(OsdId osd) {
  return refuse(OsdErrc::kInvalid,
                fmt::format("osd.{} has no PG of a pool in RADOS; objects of other pools are on "
                            "its disks, and stay there",
                            osd));
}

// Another store by the id of one that is lost: the next map in which it is meant.
void replace_store(OsdMap& map, OsdInfo& osd, const Uuid& store) {
  osd.store = store;
  mark_down(osd);
  osd.incarnation = 0;
  osd.lost_below = map.next_pool_id;
}

// A server that was added after the backup from which the map was restored.
CommandChange add_unknown_osd(const OsdMap& map, OsdId id, const Uuid& store, bool is_sure) {
  if (map.unknown_pools.is_empty())
    return refuse(OsdErrc::kInvalid,
                  fmt::format("there is no osd.{} in the map; `osd ls` lists them, and after the "
                              "loss of the map a backup has to be restored first",
                              id));
  if (!is_sure)
    return refuse(
        OsdErrc::kNotPermitted,
        fmt::format("there is no osd.{} in the map; if it was added after the backup from "
                    "which the map was restored, repeat with --yes-i-really-mean-it",
                    id));
  OsdMap next = map;
  const auto at = std::find_if(next.osds.begin(), next.osds.end(),
                               [id](const OsdInfo& osd) { return osd.id > id; });
  next.osds.insert(at, {id, store, {}, false});
  return change(std::move(next), {{"osd", id}, {"store", store.to_string()}, {"status", "added"}});
}

}  // namespace

std::string pools_on(const OsdMap& map, OsdId id) {
  std::string names;
  for (const PoolInfo& pool : map.pools)
    for (const PoolInfo::Member& member : pool.members)
      if (member.osd == id) names += (names.empty() ? "" : ", ") + pool.name;
  return names.empty() ? "no pool" : names;
}

CommandChange osd_ls(const OsdMap& map, const Json&) {
  Json ids = Json::array();
  for (const OsdInfo& osd : map.osds) ids.push_back(osd.id);
  return answer(map, ids);
}

CommandChange osd_tree(const OsdMap& map, const Json&) {
  Json nodes = Json::array();
  for (const OsdInfo& osd : map.osds) {
    Json node = describe(osd);
    Json pools = Json::array();
    for (const PoolInfo& pool : map.pools)
      for (const PoolInfo::Member& member : pool.members)
        if (member.osd == osd.id)
          pools.push_back({{"pool", pool.name}, {"weight", member.weight / 65536.0}});
    node["pools"] = pools;
    nodes.push_back(node);
  }
  return answer(map, {{"epoch", map.epoch}, {"nodes", nodes}});
}

CommandChange osd_down(const OsdMap& map, const Json& arguments) {
  const auto id = osd_argument(map, arguments);
  if (!id) return refuse(id.error());
  if (!map.find_osd(*id)->up) return answer(map, {{"osd", *id}, {"status", "down"}});
  OsdMap next = map;
  mark_down(info_of(next, *id));
  return change(std::move(next), {{"osd", *id}, {"status", "down"}});
}

CommandChange osd_out(const OsdMap& map, const Json& arguments) {
  const auto id = osd_argument(map, arguments);
  if (!id) return refuse(id.error());
  const OsdInfo& info = *map.find_osd(*id);
  if (!info.up && !info.kind && !is_set(arguments, "yes_i_really_mean_it"))
    return refuse(OsdErrc::kNotPermitted,
                  fmt::format("osd.{} has not been up since the map was restored, so that nobody "
                              "could fence it: if its process runs, it may write yet what it had "
                              "begun. Make sure that it has ended, and repeat with "
                              "--yes-i-really-mean-it",
                              *id));
  OsdMap next = map;
  Json weights = Json::array();
  bool is_member = false;
  for (PoolInfo& pool : next.pools) {
    PoolInfo::Member* const member = member_in_rados(pool, *id);
    if (member == nullptr) continue;
    is_member = true;
    if (member->weight == 0) continue;
    if (!has_heir(map, pool, *id))
      return refuse(OsdErrc::kBusy,
                    fmt::format("no other server of pool {} is in and up, so its objects would be "
                                "out of reach; start one, or let one in with `osd in`",
                                pool.name));
    weights.push_back({{"pool", pool.name}, {"weight", member->weight / 65536.0}});
    member->weight = 0;
  }
  if (!is_member) return refuse_without_rados(*id);
  const Json shown = {{"osd", *id}, {"status", "out"}, {"had", weights}};
  return weights.empty() ? answer(map, shown) : change(std::move(next), shown);
}

CommandChange osd_in(const OsdMap& map, const Json& arguments) {
  const auto id = osd_argument(map, arguments);
  if (!id) return refuse(id.error());
  const auto given = arguments.find("weight");
  const auto weight = given == arguments.end() ? Outcome<uint32_t>(PoolInfo::Member().weight)
                                               : weight_argument("weight", *given);
  if (!weight) return refuse(weight.error());
  OsdMap next = map;
  bool is_member = false;
  for (PoolInfo& pool : next.pools) {
    PoolInfo::Member* const member = member_in_rados(pool, *id);
    if (member == nullptr) continue;
    is_member = true;
    if (member->weight == 0) member->weight = *weight;
  }
  if (!is_member) return refuse_without_rados(*id);
  const Json shown = {{"osd", *id}, {"status", "in"}};
  return next == map ? answer(map, shown) : change(std::move(next), shown);
}

CommandChange osd_rm(const OsdMap& map, const Json& arguments) {
  const auto id = osd_argument(map, arguments);
  if (!id) return refuse(id.error());
  if (map.find_osd(*id)->up)
    return refuse(OsdErrc::kBusy, fmt::format("osd.{} is up; stop it first", *id));
  if (*id == map.authority)
    return refuse(OsdErrc::kInvalid,
                  fmt::format("osd.{} is the map authority and cannot be removed", *id));
  for (const PoolInfo& pool : map.pools)
    for (const PoolInfo::Member& member : pool.members)
      if (member.osd == *id)
        return refuse(OsdErrc::kBusy, fmt::format("osd.{} holds objects of pool {}, whose OSDs are "
                                                  "fixed for its life; move its images to another "
                                                  "pool and remove that pool first",
                                                  *id, pool.name));
  OsdMap next = map;
  std::erase_if(next.osds, [&](const OsdInfo& osd) { return osd.id == *id; });
  return change(std::move(next), {{"osd", *id}, {"status", "removed"}});
}

CommandChange osd_replace(const OsdMap& map, const Json& arguments) {
  const auto id = osd_number(arguments);
  if (!id) return refuse(id.error());
  const auto store = Uuid::parse(text_of(arguments, "store"));
  if (!store || store->is_nil())
    return refuse(OsdErrc::kInvalid,
                  "\"store\" must be the UUID of the store that is to be meant; lunar-osd --mkfs "
                  "says it, and the server when it is refused");
  for (const OsdInfo& osd : map.osds)
    if (osd.id != *id && osd.store == *store)
      return refuse(OsdErrc::kExists,
                    fmt::format("store {} is osd.{} in the map", store->to_string(), osd.id));
  if (map.find_osd(*id) == nullptr)
    return add_unknown_osd(map, *id, *store, is_set(arguments, "yes_i_really_mean_it"));
  const OsdInfo& known = *map.find_osd(*id);
  if (*id == map.authority)
    return refuse(OsdErrc::kInvalid,
                  fmt::format("osd.{} is the map authority: a new store of it gets its place by "
                              "restoring a backup of the map there, with lunar map restore",
                              *id));
  if (known.up) return refuse(OsdErrc::kBusy, fmt::format("osd.{} is up; stop it first", *id));
  const bool is_same = known.store == *store;
  if (!is_set(arguments, "yes_i_really_mean_it"))
    return refuse(
        OsdErrc::kNotPermitted,
        is_same ? fmt::format("taking any start of store {} for osd.{} gives up what was written "
                              "after that copy of it was made; if that is meant, repeat with "
                              "--yes-i-really-mean-it",
                              store->to_string(), *id)
                : fmt::format("replacing store {} of osd.{} gives up every object on it, for good "
                              "(it has objects of {}); if that is meant, repeat with "
                              "--yes-i-really-mean-it",
                              known.store.to_string(), *id, pools_on(map, *id)));
  OsdMap next = map;
  OsdInfo& osd = info_of(next, *id);
  const PoolId lost_below = osd.lost_below;
  replace_store(next, osd, *store);
  if (is_same) osd.lost_below = lost_below;
  return change(std::move(next), {{"osd", *id},
                                  {"store", store->to_string()},
                                  {"lost_store", known.store.to_string()},
                                  {"status", "replaced"}});
}

}  // namespace lunar::osd
