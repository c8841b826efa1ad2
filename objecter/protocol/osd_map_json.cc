// SPDX-License-Identifier: LGPL-2.1-or-later
// The map as people and `lunar map restore` see it. Parsing never throws: each value's type is
// tested before it is read.
#include <algorithm>
#include <array>
#include <limits>
#include <nlohmann/json.hpp>

#include "common/json.h"
#include "objecter/protocol/control.h"
#include "objecter/protocol/osd_map.h"

namespace lunar::objecter {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::array<std::pair<StoreKind, std::string_view>, 3> kStoreNames = {
    {{StoreKind::kFile, "file"}, {StoreKind::kMem, "mem"}, {StoreKind::kRados, "rados"}}};

// Reads members of objects; the first that is missing or of another type is remembered by name.
class Fields {
 public:
  template <typename T>
  T number(const Json& object, const char* name) {
    const Json* value = find(object, name);
    if (value == nullptr || !value->is_number_integer()) return bad<T>(name);
    if (value->is_number_unsigned()) {
      const auto number = value->get<uint64_t>();
      if (number > static_cast<uint64_t>(std::numeric_limits<T>::max())) return bad<T>(name);
      return static_cast<T>(number);
    }
    const auto number = value->get<int64_t>();
    if (std::is_unsigned_v<T> || number < static_cast<int64_t>(std::numeric_limits<T>::min())) {
      return bad<T>(name);
    }
    return static_cast<T>(number);
  }
  std::string text(const Json& object, const char* name) {
    const Json* value = find(object, name);
    if (value == nullptr || !value->is_string()) return bad<std::string>(name);
    return *value->get_ptr<const std::string*>();
  }
  bool flag(const Json& object, const char* name) {
    const Json* value = find(object, name);
    if (value == nullptr || !value->is_boolean()) return bad<bool>(name);
    return value->get<bool>();
  }
  Uuid uuid(const Json& object, const char* name) {
    const auto uuid = Uuid::parse(text(object, name));
    return uuid ? *uuid : bad<Uuid>(name);
  }
  const Json& array(const Json& object, const char* name) {
    static const Json& none = *new Json(Json::array());
    const Json* value = find(object, name);
    if (value != nullptr && value->is_array()) return *value;
    bad<int>(name);
    return none;
  }
  template <typename T>
  T bad(const char* name) {
    if (first_bad_.empty()) first_bad_ = name;
    return T{};
  }
  const std::string& first_bad() const noexcept { return first_bad_; }

 private:
  static const Json* find(const Json& object, const char* name) {
    if (!object.is_object()) return nullptr;
    const auto at = object.find(name);
    return at == object.end() ? nullptr : &*at;
  }
  std::string first_bad_;
};

OsdInfo read_osd(Fields& fields, const Json& json, uint16_t format) {
  OsdInfo osd;
  osd.id = fields.number<OsdId>(json, "id");
  osd.store = fields.uuid(json, "store");
  osd.up = fields.flag(json, "up");
  if (format > 1) {
    osd.incarnation = fields.number<uint64_t>(json, "incarnation");
    osd.lost_below = fields.number<PoolId>(json, "lost_below");
  }
  if (format > 4) {
    const std::string name = fields.text(json, "kind");
    const auto* kind = std::find_if(kStoreNames.begin(), kStoreNames.end(),
                                    [&](const auto& pair) { return pair.second == name; });
    if (kind != kStoreNames.end())
      osd.kind = kind->first;
    else if (!name.empty())
      fields.bad<int>("kind");
    osd.rados_client = fields.text(json, "rados_client");
  }
  for (const Json& item : fields.array(json, "addresses")) {
    const auto* text = item.get_ptr<const std::string*>();
    auto address = text != nullptr ? msgr::Address::parse(*text)
                                   : Outcome<msgr::Address>(failure(OsdErrc::kInvalid, {}));
    osd.addresses.push_back(address ? *address : fields.bad<msgr::Address>("addresses"));
  }
  return osd;
}

PoolInfo read_pool(Fields& fields, const Json& json) {
  PoolInfo pool;
  pool.id = fields.number<PoolId>(json, "id");
  pool.name = fields.text(json, "name");
  pool.pg_num = fields.number<uint32_t>(json, "pg_num");
  pool.object_size = fields.number<uint64_t>(json, "object_size");
  const std::string store = fields.text(json, "store");
  const auto* kind = std::find_if(kStoreNames.begin(), kStoreNames.end(),
                                  [&](const auto& pair) { return pair.second == store; });
  pool.store = kind != kStoreNames.end() ? kind->first : fields.bad<StoreKind>("store");
  for (const Json& item : fields.array(json, "members")) {
    pool.members.push_back(
        {fields.number<OsdId>(item, "osd"), fields.number<uint32_t>(item, "weight")});
  }
  if (pool.store != StoreKind::kRados) return pool;
  pool.rados_pool = fields.text(json, "rados_pool");
  pool.rados_namespace = fields.text(json, "rados_namespace");
  return pool;
}

Json json_of(const PoolInfo& pool) {
  Json members = Json::array();
  for (const PoolInfo::Member& member : pool.members)
    members.push_back({{"osd", member.osd}, {"weight", member.weight}});
  const auto* kind = std::find_if(kStoreNames.begin(), kStoreNames.end(),
                                  [&](const auto& pair) { return pair.first == pool.store; });
  Json json = {{"id", pool.id},
               {"name", pool.name},
               {"pg_num", pool.pg_num},
               {"object_size", pool.object_size},
               {"store", kind != kStoreNames.end() ? kind->second : "unknown"},
               {"members", std::move(members)}};
  if (pool.store != StoreKind::kRados) return json;
  json["rados_pool"] = pool.rados_pool;
  json["rados_namespace"] = pool.rados_namespace;
  return json;
}

}  // namespace

std::string to_json(const PoolInfo& pool) { return json_of(pool).dump(); }

std::string to_json(const OsdMap& map) {
  Json osds = Json::array();
  for (const OsdInfo& osd : map.osds) {
    Json addresses = Json::array();
    for (const msgr::Address& address : osd.addresses) addresses.push_back(address.to_string());
    osds.push_back({{"id", osd.id},
                    {"store", osd.store.to_string()},
                    {"up", osd.up},
                    {"incarnation", osd.incarnation},
                    {"lost_below", osd.lost_below},
                    {"addresses", std::move(addresses)}});
    if (map.written_version() < 5) continue;
    osds.back()["kind"] = osd.kind ? to_string(*osd.kind) : "";
    osds.back()["rados_client"] = osd.rados_client;
  }
  Json pools = Json::array();
  for (const PoolInfo& pool : map.pools) pools.push_back(json_of(pool));
  Json json = {{"format", map.written_version()},
               {"fsid", map.fsid.to_string()},
               {"epoch", map.epoch},
               {"authority", map.authority},
               {"next_pool_id", map.next_pool_id},
               {"osds", std::move(osds)},
               {"pools", std::move(pools)}};
  if (map.written_version() > 2) {
    Json entities = Json::array();
    for (const EntityInfo& entity : map.entities)
      entities.push_back({{"entity", entity.entity}, {"caps", entity.caps}});
    json["enforces_caps"] = map.enforces_caps;
    json["entities"] = std::move(entities);
  }
  if (!map.unknown_pools.is_empty()) {
    Json& ranges = json["unknown_pools"] = Json::array();
    for (const PoolIdRange& range : map.unknown_pools.ranges())
      ranges.push_back({{"from", range.from}, {"until", range.until}});
  }
  return json_text(json);
}

Outcome<OsdMap> osd_map_from_json(std::string_view text) {
  const auto parsed = parse_json<Json>(text, kAnswerBounds);
  if (!parsed) return failure(OsdErrc::kInvalid, "the cluster map " + parsed.error().message);
  const Json& json = *parsed;
  if (!json.is_object()) return failure(OsdErrc::kInvalid, "this is not a cluster map in JSON");
  Fields fields;
  const auto format = fields.number<uint16_t>(json, "format");
  if (fields.first_bad().empty() && (format == 0 || format > OsdMap::kVersion)) {
    return failure(OsdErrc::kIncompatible, "this cluster map has format " + std::to_string(format) +
                                               ", this program knows " +
                                               std::to_string(OsdMap::kVersion));
  }
  OsdMap map;
  map.fsid = fields.uuid(json, "fsid");
  map.epoch = fields.number<Epoch>(json, "epoch");
  map.authority = fields.number<OsdId>(json, "authority");
  map.next_pool_id = fields.number<PoolId>(json, "next_pool_id");
  for (const Json& osd : fields.array(json, "osds"))
    map.osds.push_back(read_osd(fields, osd, format));
  for (const Json& pool : fields.array(json, "pools")) map.pools.push_back(read_pool(fields, pool));
  if (fields.first_bad().empty() && format > 2) {
    map.enforces_caps = fields.flag(json, "enforces_caps");
    for (const Json& entity : fields.array(json, "entities"))
      map.entities.push_back({fields.text(entity, "entity"), fields.text(entity, "caps")});
  }
  if (json.contains("unknown_pools")) {
    std::vector<PoolIdRange> ranges;
    for (const Json& range : fields.array(json, "unknown_pools"))
      ranges.push_back(
          {fields.number<PoolId>(range, "from"), fields.number<PoolId>(range, "until")});
    map.unknown_pools = PoolIdSet(std::move(ranges));
  }
  if (!fields.first_bad().empty()) {
    return failure(OsdErrc::kInvalid,
                   "the cluster map lacks a good value for '" + fields.first_bad() + "'");
  }
  if (auto valid = validate(map); !valid) return failure(std::move(valid.error()));
  return map;
}

}  // namespace lunar::objecter
