// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/map/pool_commands.h"

#include <fmt/core.h>

#include <algorithm>

#include "common/json.h"
#include "common/size_parse.h"
#include "objecter/protocol/placement.h"
#include "osd/map/map_commands.h"
#include "osd/map/map_restore.h"
#include "osd/map/unknown_pools.h"

namespace lunar::osd {

using Json = CommandJson;
using objecter::OsdErrc;
using objecter::OsdId;
using objecter::OsdInfo;
using objecter::OsdMap;
using objecter::PoolInfo;
using objecter::StoreKind;

namespace {

Json describe(const PoolInfo& pool) {
  Json members = Json::array();
  for (const PoolInfo::Member& member : pool.members)
    members.push_back({{"osd", member.osd}, {"weight", member.weight / 65536.0}});
  Json shown = {{"pool", pool.name},
                {"id", pool.id},
                {"pg_num", pool.pg_num},
                {"object_size", pool.object_size},
                {"store", to_string(pool.store)},
                {"osds", members}};
  if (pool.store != StoreKind::kRados) return shown;
  shown["rados_pool"] = pool.rados_pool;
  shown["rados_namespace"] = pool.rados_namespace;
  return shown;
}

CommandChange no_such_pool(const std::string& name) {
  return refuse(OsdErrc::kNoSuchPool,
                fmt::format("there is no pool '{}'; `pool ls` lists them", printable_text(name)));
}

Outcome<std::vector<PoolInfo::Member>> members_of(const OsdMap& map, const Json& arguments) {
  std::vector<PoolInfo::Member> members;
  for (const Json& value : list_of(arguments, "osds")) {
    const auto id = number_of(value);
    if (!id || *id > INT32_MAX || map.find_osd(static_cast<OsdId>(*id)) == nullptr)
      return failure(OsdErrc::kInvalid,
                     fmt::format("\"osds\": {} is not an OSD of the map; `osd ls` "
                                 "lists them",
                                 printable_json(value)));
    members.push_back({static_cast<OsdId>(*id)});
  }
  if (members.empty())
    for (const OsdInfo& osd : map.osds) members.push_back({osd.id});
  const std::vector<Json> weights = list_of(arguments, "weights");
  if (!weights.empty() && weights.size() != members.size())
    return failure(OsdErrc::kInvalid,
                   fmt::format("{} weights for {} OSDs; give one for each or none", weights.size(),
                               members.size()));
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const auto weight = weight_argument("weights", weights[i]);
    if (!weight) return failure(weight.error());
    members[i].weight = *weight;
  }
  std::sort(members.begin(), members.end(),
            [](const auto& a, const auto& b) { return a.osd < b.osd; });
  return members;
}

// Where a pool's objects are kept; its name is set.
Outcome<void> read_store(const Json& arguments, PoolInfo& pool) {
  const std::string store = text_of(arguments, "store");
  pool.rados_pool = text_of(arguments, "rados_pool");
  pool.rados_namespace = text_of(arguments, "rados_namespace");
  if (store == "rados") {
    pool.store = StoreKind::kRados;
    if (pool.rados_namespace.empty()) pool.rados_namespace = pool.name;
    if (!pool.rados_pool.empty()) return {};
    return failure(OsdErrc::kInvalid,
                   "\"rados_pool\" must be the pool of Ceph that keeps the objects");
  }
  if (!pool.rados_pool.empty() || !pool.rados_namespace.empty())
    return failure(OsdErrc::kInvalid,
                   "\"rados_pool\" and \"rados_namespace\" go with \"store\": \"rados\"");
  if (store == "mem")
    pool.store = StoreKind::kMem;
  else if (!store.empty() && store != "file")
    return failure(OsdErrc::kInvalid, "\"store\" must be file, mem or rados");
  return {};
}

// Objects in RADOS are for servers with that store, and all others for the other servers.
bool can_keep(const OsdInfo& osd, const PoolInfo& pool) {
  return !osd.kind || (*osd.kind == StoreKind::kRados) == (pool.store == StoreKind::kRados);
}

Outcome<void> check_members(const OsdMap& map, const PoolInfo& pool) {
  for (const PoolInfo::Member& member : pool.members) {
    const OsdInfo& osd = *map.find_osd(member.osd);
    if (osd.incarnation == 0)
      return failure(OsdErrc::kBusy,
                     fmt::format("osd.{} has not been up since the map was restored or its store "
                                 "replaced, and may have objects of a pool with the id that this "
                                 "one would get: start it first, or leave it out with --osds",
                                 osd.id));
    if (can_keep(osd, pool)) continue;
    return failure(
        OsdErrc::kInvalid,
        fmt::format("osd.{} has osd_objectstore = {} and cannot keep objects of a pool with "
                    "store {}: name the servers that can with --osds",
                    osd.id, to_string(*osd.kind), to_string(pool.store)));
  }
  return {};
}

// A server that has not come since a restore may know of pools that were made after the backup:
// their ids are left out.
OsdMap before_new_pool(OsdMap map) {
  if (awaits_servers(map)) know_of_pool_ids(map, map.next_pool_id + kRestorePoolGap);
  return map;
}

Outcome<PoolInfo> pool_of(const OsdMap& map, const Json& arguments) {
  PoolInfo pool;
  pool.id = map.next_pool_id;
  pool.name = text_of(arguments, "pool");
  if (const auto found = arguments.find("pg_num"); found != arguments.end()) {
    const auto number = number_of(*found);
    if (!number || *number == 0 || *number > PoolInfo::kMaxPgs)
      return failure(OsdErrc::kInvalid,
                     fmt::format("\"pg_num\" must be a number from 1 to {}", PoolInfo::kMaxPgs));
    pool.pg_num = static_cast<uint32_t>(*number);
  }
  if (const auto found = arguments.find("object_size"); found != arguments.end()) {
    const auto size =
        found->is_string() ? parse_size(found->get<std::string>()) : number_of(*found);
    if (!size)
      return failure(OsdErrc::kInvalid, "\"object_size\" must be a size in bytes, such as 4M");
    pool.object_size = *size;
  }
  if (const auto store = read_store(arguments, pool); !store) return failure(store.error());
  auto members = members_of(map, arguments);
  if (!members) return failure(members.error());
  pool.members = std::move(*members);
  if (const auto fits = check_members(map, pool); !fits) return failure(fits.error());
  return pool;
}

}  // namespace

CommandChange pool_ls(const OsdMap& map, const Json&) {
  Json names = Json::array();
  for (const PoolInfo& pool : map.pools) names.push_back(pool.name);
  return answer(map, names);
}

CommandChange pool_get(const OsdMap& map, const Json& arguments) {
  const PoolInfo* pool = map.find_pool(std::string_view(text_of(arguments, "pool")));
  if (pool == nullptr) return no_such_pool(text_of(arguments, "pool"));
  return answer(map, describe(*pool));
}

CommandChange osd_map(const OsdMap& map, const Json& arguments) {
  const PoolInfo* pool = map.find_pool(std::string_view(text_of(arguments, "pool")));
  if (pool == nullptr) return no_such_pool(text_of(arguments, "pool"));
  const std::string object = text_of(arguments, "object");
  if (!objecter::is_valid_object_name(object))
    return refuse(
        OsdErrc::kInvalid,
        "\"object\" must be an object's name, such as 00c0ffee00c0ffee.header with the id "
        "that `lunar info` shows");
  const objecter::PgId pg = objecter::pg_of_object(*pool, object);
  const OsdInfo* osd = map.find_osd(objecter::osd_of_pg(map, *pool, pg));
  return answer(map, {{"epoch", map.epoch},
                      {"pool", pool->name},
                      {"pool_id", pool->id},
                      {"objname", object},
                      {"pgid", fmt::format("{}.{:x}", pg.pool, pg.seed)},
                      {"osd", osd == nullptr ? -1 : osd->id},
                      {"status", osd != nullptr && osd->up ? "up" : "down"}});
}

CommandChange pool_create(const OsdMap& present, const Json& arguments) {
  const OsdMap map = before_new_pool(present);
  auto pool = pool_of(map, arguments);
  if (!pool) return refuse(pool.error());
  if (map.find_pool(std::string_view(pool->name)) != nullptr)
    return refuse(OsdErrc::kExists, fmt::format("pool '{}' exists already", pool->name));
  OsdMap next = map;
  ++next.next_pool_id;
  const Json shown = describe(*pool);
  next.pools.push_back(std::move(*pool));
  if (const auto valid = objecter::validate(next); !valid) return refuse(valid.error());
  return change(std::move(next), shown);
}

CommandChange pool_rm(const OsdMap& map, const Json& arguments) {
  const std::string name = text_of(arguments, "pool");
  const PoolInfo* pool = map.find_pool(std::string_view(name));
  if (pool == nullptr) return no_such_pool(name);
  if (!is_set(arguments, "yes_i_really_really_mean_it"))
    return refuse(OsdErrc::kNotPermitted,
                  fmt::format("removing pool '{}' destroys every image in it for good; if that is "
                              "meant, repeat with --yes-i-really-really-mean-it",
                              name));
  OsdMap next = map;
  std::erase_if(next.pools, [&](const PoolInfo& other) { return other.id == pool->id; });
  return change(std::move(next), {{"pool", name}, {"id", pool->id}, {"status", "removed"}});
}

CommandChange pool_purge_unknown(const OsdMap& map, const Json& arguments) {
  if (map.unknown_pools.is_empty()) return answer(map, {{"status", "the map knows all pools"}});
  for (const OsdInfo& osd : map.osds)
    if (is_awaited(osd))
      return refuse(OsdErrc::kBusy,
                    fmt::format("osd.{} has not been up since the map was restored or its store "
                                "replaced, and may know a pool that is unknown: start it first, "
                                "or remove it from the map",
                                osd.id));
  const std::string ids = map.unknown_pools.to_text();
  if (text_of(arguments, "ids") != ids || !is_set(arguments, "yes_i_really_really_mean_it"))
    return refuse(OsdErrc::kNotPermitted,
                  fmt::format("pools with ids of {} may have been made after the backup from which "
                              "the map was restored: if there was none, or all that is in them may "
                              "go, say purge-unknown {} --yes-i-really-really-mean-it",
                              ids, ids));
  OsdMap next = map;
  next.unknown_pools = {};
  return change(std::move(next), {{"status", "to be purged"}, {"ids", ids}});
}

std::optional<PoolInfo> rados_pool_asked_for(const OsdMap& map, std::string_view text) {
  if (command_prefix(text) != "pool create") return std::nullopt;
  const auto arguments = parse_json_or_null<Json>(text, objecter::kAnswerBounds);
  const auto pool = pool_of(before_new_pool(map), arguments);
  if (!pool || pool->store != StoreKind::kRados) return std::nullopt;
  return *pool;
}

}  // namespace lunar::osd
