// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/map/map_commands.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "common/json.h"
#include "common/size_parse.h"
#include "objecter/protocol/placement.h"
#include "osd/map/auth_commands.h"
#include "osd/map/command_arguments.h"
#include "osd/map/unknown_pools.h"

namespace lunar::osd {
namespace {

using Json = CommandJson;
using objecter::OsdErrc;
using objecter::OsdId;
using objecter::OsdInfo;
using objecter::OsdMap;
using objecter::PoolId;
using objecter::PoolInfo;
using objecter::StoreKind;

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

CommandChange status(const OsdMap& map, const Json&) {
  const auto up =
      std::count_if(map.osds.begin(), map.osds.end(), [](const OsdInfo& osd) { return osd.up; });
  return answer(map, {{"fsid", map.fsid.to_string()},
                      {"epoch", map.epoch},
                      {"authority", fmt::format("osd.{}", map.authority)},
                      {"num_osds", map.osds.size()},
                      {"num_up_osds", up},
                      {"num_pools", map.pools.size()},
                      {"capabilities", map.enforces_caps ? "enforced" : "not enforced"},
                      {"unknown_pools", map.unknown_pools.to_text()}});
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

CommandChange map_dump(const OsdMap& map, const Json&) {
  return {{OsdErrc::kOk, map.epoch, objecter::to_json(map)}, std::nullopt};
}

Outcome<OsdId> osd_number(const Json& arguments) {
  const auto found = arguments.find("osd");
  const auto id = found == arguments.end() ? std::nullopt : number_of(*found);
  if (!id || *id > INT32_MAX)
    return failure(OsdErrc::kInvalid, "\"osd\" must be the number of an OSD, such as 0");
  return static_cast<OsdId>(*id);
}

Outcome<OsdId> osd_argument(const OsdMap& map, const Json& arguments) {
  auto id = osd_number(arguments);
  if (id && map.find_osd(*id) == nullptr)
    return failure(OsdErrc::kInvalid,
                   fmt::format("there is no osd.{} in the map; `osd ls` lists them", *id));
  return id;
}

OsdInfo& info_of(OsdMap& map, OsdId id) {
  return *std::find_if(map.osds.begin(), map.osds.end(),
                       [id](const OsdInfo& osd) { return osd.id == id; });
}

CommandChange osd_down(const OsdMap& map, const Json& arguments) {
  const auto id = osd_argument(map, arguments);
  if (!id) return refuse(OsdErrc::kInvalid, id.error().message);
  if (!map.find_osd(*id)->up) return answer(map, {{"osd", *id}, {"status", "down"}});
  OsdMap next = map;
  mark_down(info_of(next, *id));
  return change(std::move(next), {{"osd", *id}, {"status", "down"}});
}

std::optional<uint32_t> weight_of(const Json& value) {
  double weight = 0;
  if (value.is_number()) {
    weight = value.get<double>();
  } else if (value.is_string()) {
    const std::string text = value.get<std::string>();
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), weight);
    if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  } else {
    return std::nullopt;
  }
  if (!(weight * 65536 >= 1) || weight * 65536 > PoolInfo::kMaxWeight) return std::nullopt;
  return static_cast<uint32_t>(weight * 65536);
}

std::string not_a_weight(const char* argument, const Json& value) {
  return fmt::format("\"{}\": {} is not a number above 0 and up to {}", argument,
                     printable_json(value), PoolInfo::kMaxWeight >> 16);
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

// Takes its weight in each pool in RADOS: the PGs go to the other members, and nothing is moved.
CommandChange osd_out(const OsdMap& map, const Json& arguments) {
  const auto id = osd_argument(map, arguments);
  if (!id) return refuse(OsdErrc::kInvalid, id.error().message);
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

// Of one weight in all pools in RADOS that it is out of.
CommandChange osd_in(const OsdMap& map, const Json& arguments) {
  const auto id = osd_argument(map, arguments);
  if (!id) return refuse(OsdErrc::kInvalid, id.error().message);
  const auto given = arguments.find("weight");
  const auto weight = given == arguments.end() ? PoolInfo::Member().weight : weight_of(*given);
  if (!weight) return refuse(OsdErrc::kInvalid, not_a_weight("weight", *given));
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
  if (!id) return refuse(OsdErrc::kInvalid, id.error().message);
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

CommandChange pool_ls(const OsdMap& map, const Json&) {
  Json names = Json::array();
  for (const PoolInfo& pool : map.pools) names.push_back(pool.name);
  return answer(map, names);
}

CommandChange no_such_pool(const std::string& name) {
  return refuse(OsdErrc::kNoSuchPool,
                fmt::format("there is no pool '{}'; `pool ls` lists them", printable_text(name)));
}

CommandChange pool_get(const OsdMap& map, const Json& arguments) {
  const PoolInfo* pool = map.find_pool(std::string_view(text_of(arguments, "pool")));
  if (pool == nullptr) return no_such_pool(text_of(arguments, "pool"));
  return answer(map, describe(*pool));
}

// Where an object is, or would be: placement knows names, not what exists.
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

// "osds" and "weights": arrays, or words separated by commas or spaces.
std::vector<Json> list_of(const Json& arguments, const char* name) {
  const auto found = arguments.find(name);
  if (found == arguments.end()) return {};
  if (found->is_array()) return {found->begin(), found->end()};
  if (!found->is_string()) return {*found};
  std::vector<Json> words;
  std::string word;
  for (const char c : found->get<std::string>() + ",") {
    if (c != ',' && c != ' ')
      word += c;
    else if (!word.empty())
      words.emplace_back(std::exchange(word, {}));
  }
  return words;
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
    const auto weight = weight_of(weights[i]);
    if (!weight) return failure(OsdErrc::kInvalid, not_a_weight("weights", weights[i]));
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

CommandChange pool_create(const OsdMap& present, const Json& arguments) {
  // A server that has not come may know of pools that were made after the backup.
  OsdMap map = present;
  if (awaits_servers(map)) know_of_pool_ids(map, map.next_pool_id + kRestorePoolGap);
  auto pool = pool_of(map, arguments);
  if (!pool) return refuse(static_cast<OsdErrc>(pool.error().code.value()), pool.error().message);
  if (map.find_pool(std::string_view(pool->name)) != nullptr)
    return refuse(OsdErrc::kExists, fmt::format("pool '{}' exists already", pool->name));
  OsdMap next = map;
  ++next.next_pool_id;
  const Json shown = describe(*pool);
  next.pools.push_back(std::move(*pool));
  if (const auto valid = objecter::validate(next); !valid)
    return refuse(static_cast<OsdErrc>(valid.error().code.value()), valid.error().message);
  return change(std::move(next), shown);
}

// Of the ids that were shown: others may have become unknown meanwhile.
CommandChange pool_purge_unknown(const OsdMap& map, const Json& arguments) {
  if (map.unknown_pools.is_empty()) return answer(map, {{"status", "the map knows all pools"}});
  for (const OsdInfo& osd : map.osds)
    if (!osd.store.is_nil() && osd.incarnation == 0)
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

// Another store by the id of one that is lost: the next map in which it is meant.
void replace_store(OsdMap& map, OsdInfo& osd, const Uuid& store) {
  osd.store = store;
  mark_down(osd);
  osd.incarnation = 0;
  osd.lost_below = map.next_pool_id;
}

std::string pools_on(const OsdMap& map, OsdId id) {
  std::string names;
  for (const PoolInfo& pool : map.pools)
    for (const PoolInfo::Member& member : pool.members)
      if (member.osd == id) names += (names.empty() ? "" : ", ") + pool.name;
  return names.empty() ? "no pool" : names;
}

// A server that was added after the backup from which the map was restored.
CommandChange osd_replace_unknown(const OsdMap& map, OsdId id, const Uuid& store, bool is_sure) {
  for (const OsdInfo& osd : map.osds)
    if (osd.store == store)
      return refuse(OsdErrc::kExists,
                    fmt::format("store {} is osd.{} in the map", store.to_string(), osd.id));
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
  next.osds.push_back({id, store, {}, false});
  std::sort(next.osds.begin(), next.osds.end(),
            [](const OsdInfo& a, const OsdInfo& b) { return a.id < b.id; });
  return change(std::move(next), {{"osd", id}, {"store", store.to_string()}, {"status", "added"}});
}

CommandChange osd_replace(const OsdMap& map, const Json& arguments) {
  const auto id = osd_number(arguments);
  if (!id) return refuse(OsdErrc::kInvalid, id.error().message);
  const auto store = Uuid::parse(text_of(arguments, "store"));
  if (!store || store->is_nil())
    return refuse(OsdErrc::kInvalid,
                  "\"store\" must be the UUID of the store that is to be meant; lunar-osd --mkfs "
                  "says it, and the server when it is refused");
  if (map.find_osd(*id) == nullptr)
    return osd_replace_unknown(map, *id, *store, is_set(arguments, "yes_i_really_mean_it"));
  const OsdInfo& known = *map.find_osd(*id);
  if (*id == map.authority)
    return refuse(OsdErrc::kInvalid,
                  fmt::format("osd.{} is the map authority: a new store of it gets its place by "
                              "restoring a backup of the map there, with lunar map restore",
                              *id));
  if (known.up) return refuse(OsdErrc::kBusy, fmt::format("osd.{} is up; stop it first", *id));
  for (const OsdInfo& osd : map.osds)
    if (osd.id != *id && osd.store == *store)
      return refuse(OsdErrc::kExists,
                    fmt::format("store {} is osd.{} in the map", store->to_string(), osd.id));
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
  // Of other starts an authority that was put back does not know enough.
  const bool is_behind = is_put_back(map, restored);
  for (OsdInfo& osd : restored.osds) {
    const OsdInfo* now = map.find_osd(osd.id);
    if (now == nullptr || now->store.is_nil()) {
      // Nobody is up because a backup says so, and which start was the last one it cannot know.
      // Nor by what that can be fenced, so that PGs in RADOS wait for the next one (placement.h).
      mark_down(osd);
      osd.incarnation = 0;
      osd.kind.reset();
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
    const objecter::PoolId lost_below =
        is_other ? restored.next_pool_id : std::max(osd.lost_below, now->lost_below);
    if (is_other)
      replaced.push_back({{"osd", osd.id},
                          {"lost_store", osd.store.to_string()},
                          {"store", now->store.to_string()}});
    osd = *now;
    osd.lost_below = lost_below;
    if (is_behind && osd.id != map.authority) {
      mark_down(osd);
      osd.incarnation = 0;
      osd.kind.reset();
    }
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

CommandChange map_restore(const OsdMap& map, const Json& arguments) {
  const auto found = arguments.find("map");
  if (found == arguments.end())
    return refuse(OsdErrc::kInvalid, "\"map\" must hold what `map backup` wrote");
  auto restored =
      objecter::osd_map_from_json(found->is_string() ? found->get<std::string>() : found->dump());
  if (!restored)
    return refuse(static_cast<OsdErrc>(restored.error().code.value()), restored.error().message);
  if (restored->fsid != map.fsid)
    return refuse(OsdErrc::kInvalid,
                  fmt::format("that is the map of cluster {}; this is cluster {}",
                              restored->fsid.to_string(), map.fsid.to_string()));
  if (restored->authority != map.authority)
    return refuse(OsdErrc::kInvalid,
                  fmt::format("that map's authority is osd.{}, and this is osd.{}",
                              restored->authority, map.authority));
  for (const PoolInfo& pool : map.pools) {
    const PoolInfo* then = restored->find_pool(pool.id);
    if (then != nullptr && !is_same_pool(pool, *then))
      return refuse(OsdErrc::kInvalid,
                    fmt::format("pool {} is '{}' now and '{}' in that map, so their objects would "
                                "mix; restore into a map without pools of its own, as lunar-osd "
                                "--mkfs --mkmap makes it",
                                pool.id, pool.name, then->name));
  }
  if (const auto possible = check_counters(*restored, map); !possible)
    return refuse(OsdErrc::kInvalid, possible.error().message);
  const auto lost = lost_osds(arguments);
  if (!lost) return refuse(OsdErrc::kInvalid, lost.error().message);
  const OsdMap* const history = history_of(map, *restored);
  if (const auto there = check_removed_pools(*restored, history, arguments); !there)
    return refuse(static_cast<OsdErrc>(there.error().code.value()), there.error().message);
  Json replaced = Json::array();
  // A pool id is never used twice.
  restored->next_pool_id = std::min(
      std::max(restored->next_pool_id, map.next_pool_id) + kRestorePoolGap, OsdMap::kMaxPoolId);
  mark_unknown_pools(*restored, history);
  // What was taken from an entity since is not given back, and no cluster is without capabilities
  // again. Only one that was made anew has none of its own to keep.
  const bool is_later = !is_put_back(map, *restored);
  if (is_later) keep_weights(*restored, map);
  if ((is_later && !map.entities.empty()) || !restored->has_caps())
    restored->entities = map.entities;
  restored->enforces_caps = restored->enforces_caps || map.enforces_caps;
  if (const auto known = bring_up_to_date(*restored, map, *lost, replaced); !known)
    return refuse(static_cast<OsdErrc>(known.error().code.value()), known.error().message);
  restored->epoch = std::max(restored->epoch, map.epoch) + kRestoreGap;
  std::string dropped;
  for (const PoolInfo& pool : map.pools)
    if (restored->find_pool(pool.id) == nullptr)
      dropped += (dropped.empty() ? "" : ", ") + pool.name;
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

struct MapCommand {
  std::string_view prefix;
  CommandChange (*run)(const OsdMap&, const Json&);
  MapCommandKind kind;
};
constexpr MapCommand kCommands[] = {
    {"status", &status, MapCommandKind::kShows},
    {"osd ls", &osd_ls, MapCommandKind::kShows},
    {"osd tree", &osd_tree, MapCommandKind::kShows},
    {"osd map", &osd_map, MapCommandKind::kShows},
    {"osd dump", &map_dump, MapCommandKind::kReads},
    {"osd down", &osd_down, MapCommandKind::kChanges},
    {"osd out", &osd_out, MapCommandKind::kChanges},
    {"osd in", &osd_in, MapCommandKind::kChanges},
    {"osd rm", &osd_rm, MapCommandKind::kChanges},
    {"osd replace", &osd_replace, MapCommandKind::kChanges},
    {"pool ls", &pool_ls, MapCommandKind::kShows},
    {"pool get", &pool_get, MapCommandKind::kShows},
    {"pool create", &pool_create, MapCommandKind::kChanges},
    {"pool rm", &pool_rm, MapCommandKind::kChanges},
    {"pool purge-unknown", &pool_purge_unknown, MapCommandKind::kChanges},
    {"map dump", &map_dump, MapCommandKind::kReads},
    {"map backup", &map_dump, MapCommandKind::kBacksUp},
    {"map restore", &map_restore, MapCommandKind::kChanges},
    {"auth ls", &auth_ls, MapCommandKind::kReads},
    {"auth get", &auth_get, MapCommandKind::kReads},
    {"auth caps", &auth_caps, MapCommandKind::kChanges},
    {"auth rm", &auth_rm, MapCommandKind::kChanges},
    {"auth enforce", &auth_enforce, MapCommandKind::kChanges},
};

const MapCommand* find_command(std::string_view prefix) {
  for (const MapCommand& command : kCommands)
    if (command.prefix == prefix) return &command;
  return nullptr;
}

}  // namespace

std::optional<PoolInfo> rados_pool_asked_for(const OsdMap& map, std::string_view text) {
  if (command_prefix(text) != "pool create") return std::nullopt;
  const auto arguments = parse_json_or_null<Json>(text, objecter::kAnswerBounds);
  const auto pool = pool_of(map, arguments);
  if (!pool || pool->store != StoreKind::kRados) return std::nullopt;
  return *pool;
}

bool may_be_old(std::string_view text) {
  const auto json = parse_json<Json>(text, objecter::kAnswerBounds);
  return json && json->is_object() && is_set(*json, "may_be_old");
}

std::string command_prefix(std::string_view text) {
  const auto json = parse_json<Json>(text, objecter::kAnswerBounds);
  return json && json->is_object() ? text_of(*json, "prefix") : std::string();
}

std::string_view map_command_help() {
  return "status, osd ls|tree|dump|map|down|out|in|rm|replace, pool "
         "ls|get|create|rm|purge-unknown, "
         "map dump|backup|restore, auth ls|get|caps|rm|enforce";
}

MapCommandKind kind_of_map_command(std::string_view prefix) {
  const MapCommand* command = find_command(prefix);
  return command == nullptr ? MapCommandKind::kChanges : command->kind;
}

CommandChange run_map_command(const OsdMap& map, std::string_view text) {
  const auto parsed = parse_json<Json>(text, objecter::kAnswerBounds);
  if (!parsed) return refuse(OsdErrc::kInvalid, "the command " + parsed.error().message);
  const Json& json = *parsed;
  if (!json.is_object() || text_of(json, "prefix").empty())
    return refuse(OsdErrc::kInvalid, "a command is a JSON object with a \"prefix\"");
  const std::string prefix = text_of(json, "prefix");
  const MapCommand* command = find_command(prefix);
  if (command == nullptr)
    return refuse(OsdErrc::kInvalid, fmt::format("unknown command '{}'; known are {}",
                                                 printable_text(prefix), map_command_help()));
  return command->run(map, json);
}

void mark_down(OsdInfo& osd) {
  osd.up = false;
  osd.rados_client.clear();
}

OsdMap make_first_map(const Uuid& fsid, objecter::OsdId authority, const Uuid& store) {
  OsdMap map;
  map.fsid = fsid;
  map.epoch = 1;
  map.authority = authority;
  map.enforces_caps = true;
  map.osds.push_back({authority, store, {}, false});
  return map;
}

}  // namespace lunar::osd
