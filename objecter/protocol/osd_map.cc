// SPDX-License-Identifier: LGPL-2.1-or-later
#include "objecter/protocol/osd_map.h"

#include <algorithm>
#include <bit>

#include "common/crc32c.h"
#include "common/peer_name.h"
#include "objecter/protocol/capabilities.h"
#include "objecter/protocol/codec/fields.h"

namespace lunar::objecter {
namespace {

constexpr uint32_t kMagic = 0x50414d4c;  // "LMAP"
constexpr std::size_t kMaxPoolName = 64;

// Bytes of the encoded form, without what is counted apart.
constexpr std::size_t kMapBytes = 4 + 2 + 16 + 8 + 4 + 8 + 4 + 4 + 4;
constexpr std::size_t kOsdBytes = 4 + 16 + 1 + 1 + 8 + 8;  // and its addresses
constexpr std::size_t kOsdStoreBytes = 1 + 4;              // of version 5; and its text
constexpr std::size_t kAddressBytes = 1 + 16 + 2;
constexpr std::size_t kPoolBytes = 8 + 4 + 4 + 8 + 1 + 4;  // and its name and members
constexpr std::size_t kMemberBytes = 4 + 4;
constexpr std::size_t kPlaceBytes = 4 + 4;   // in RADOS: and its texts
constexpr std::size_t kEntityBytes = 4 + 4;  // and its texts
constexpr std::size_t kRangeBytes = 8 + 8;   // of unknown pools: version 6

void put_osd(ByteWriter& w, const OsdInfo& osd, uint16_t version) {
  w.put(osd.id);
  w.put_bytes(osd.store.bytes);
  w.put(osd.up);
  put_addresses(w, osd.addresses);
  w.put(osd.incarnation);
  w.put(osd.lost_below);
  if (version < 5) return;
  put_store_kind(w, osd.kind);
  w.put_string(osd.rados_client);
}

OsdInfo get_osd(ByteReader& r, uint16_t version) {
  OsdInfo osd;
  osd.id = r.get<OsdId>();
  osd.store = get_uuid(r);
  osd.up = get_flag(r);
  osd.addresses = get_addresses(r);
  if (version == 1) return osd;  // before stores had incarnations
  osd.incarnation = r.get<uint64_t>();
  osd.lost_below = r.get<PoolId>();
  if (version < 5) return osd;
  osd.kind = get_store_kind(r);
  osd.rados_client = r.get_string(OsdInfo::kMaxRadosClientBytes);
  return osd;
}

void put_pool(ByteWriter& w, const PoolInfo& pool) {
  w.put(pool.id);
  w.put_string(pool.name);
  w.put(pool.pg_num);
  w.put(pool.object_size);
  w.put(pool.store);
  w.put(static_cast<uint32_t>(pool.members.size()));
  for (const PoolInfo::Member& member : pool.members) {
    w.put(member.osd);
    w.put(member.weight);
  }
  if (pool.store != StoreKind::kRados) return;
  w.put_string(pool.rados_pool);
  w.put_string(pool.rados_namespace);
}

PoolInfo get_pool(ByteReader& r, uint16_t version) {
  PoolInfo pool;
  pool.id = r.get<PoolId>();
  pool.name = r.get_string(kMaxPoolName);
  pool.pg_num = r.get<uint32_t>();
  pool.object_size = r.get<uint64_t>();
  pool.store = r.get<StoreKind>();
  const auto count = r.get<uint32_t>();
  if (!r.can_hold(count, 8)) return pool;
  pool.members.reserve(count);
  for (uint32_t i = 0; i < count; ++i) {
    const auto osd = r.get<OsdId>();
    const auto weight = r.get<uint32_t>();
    pool.members.push_back({osd, weight});
  }
  if (version < 4 || pool.store != StoreKind::kRados) return pool;
  pool.rados_pool = r.get_string(kMaxPoolName);
  pool.rados_namespace = r.get_string(kMaxPoolName);
  return pool;
}

bool get_entities(ByteReader& r, OsdMap& map) {
  map.enforces_caps = get_flag(r);
  const auto count = r.get<uint32_t>();
  if (count > OsdMap::kMaxEntities || !r.can_hold(count, kEntityBytes)) return false;
  map.entities.reserve(count);
  for (uint32_t i = 0; i < count && r.ok(); ++i) {
    EntityInfo entity;
    entity.entity = r.get_string(kMaxEntityBytes);
    entity.caps = r.get_string(Capabilities::kMaxTextBytes);
    map.entities.push_back(std::move(entity));
  }
  return true;
}

bool get_unknown_pools(ByteReader& r, OsdMap& map) {
  const auto count = r.get<uint32_t>();
  if (count > OsdMap::kMaxUnknownRanges || !r.can_hold(count, kRangeBytes)) return false;
  std::vector<PoolIdRange> ranges(count);
  for (PoolIdRange& range : ranges) {
    range.from = r.get<PoolId>();
    range.until = r.get<PoolId>();
  }
  map.unknown_pools = PoolIdSet(std::move(ranges));
  return true;
}

bool get_map(ByteReader& r, uint16_t version, OsdMap& map) {
  map.fsid = get_uuid(r);
  map.epoch = r.get<Epoch>();
  map.authority = r.get<OsdId>();
  map.next_pool_id = r.get<PoolId>();
  const auto osds = r.get<uint32_t>();
  if (osds > OsdMap::kMaxOsds || !r.can_hold(osds, 22)) return false;
  map.osds.reserve(osds);
  for (uint32_t i = 0; i < osds && r.ok(); ++i) map.osds.push_back(get_osd(r, version));
  const auto pools = r.get<uint32_t>();
  if (pools > OsdMap::kMaxPools || !r.can_hold(pools, 29)) return false;
  map.pools.reserve(pools);
  for (uint32_t i = 0; i < pools && r.ok(); ++i) map.pools.push_back(get_pool(r, version));
  if (version > 2 && !get_entities(r, map)) return false;
  if (version > 5 && !get_unknown_pools(r, map)) return false;
  return r.is_finished() && (version < 3 || map.written_version() == version);
}

auto not_valid(std::string what) {
  return failure(OsdErrc::kInvalid, "the cluster map is not valid: " + std::move(what));
}

// To keep one server from writing must not keep another one from it.
Outcome<void> validate_rados_clients(const OsdMap& map) {
  std::vector<std::string_view> clients;
  for (const OsdInfo& osd : map.osds) {
    if (osd.rados_client.empty()) continue;
    if (!is_rados_client(osd.rados_client) || osd.kind != StoreKind::kRados || !osd.up)
      return not_valid(
          "osd." + std::to_string(osd.id) +
          " has a RADOS client that is no name, or is down, or not on a store of rados");
    clients.push_back(osd.rados_client);
  }
  std::sort(clients.begin(), clients.end());
  const auto twice = std::adjacent_find(clients.begin(), clients.end());
  if (twice == clients.end()) return {};
  return not_valid("two OSDs have the RADOS client " + std::string(*twice));
}

Outcome<void> validate_osds(const OsdMap& map) {
  if (map.osds.size() > OsdMap::kMaxOsds) return not_valid("too many OSDs");
  OsdId before = -1;
  for (const OsdInfo& osd : map.osds) {
    const std::string who = "osd." + std::to_string(osd.id);
    if (osd.id <= before) return not_valid(who + " is out of order, twice there or negative");
    before = osd.id;
    if (osd.addresses.size() > OsdInfo::kMaxAddresses)
      return not_valid(who + " has too many addresses");
    if (osd.up && osd.addresses.empty()) return not_valid(who + " is up without an address");
    if (osd.lost_below > map.next_pool_id)
      return not_valid(who + " has lost objects of pools that never were");
    for (const msgr::Address& address : osd.addresses) {
      if (address.is_unset() || address.port() == 0) {
        return not_valid(who + " has an address without a port");
      }
    }
  }
  if (const auto clients = validate_rados_clients(map); !clients) return clients;
  if (map.find_osd(map.authority) == nullptr) {
    return not_valid("its authority osd." + std::to_string(map.authority) + " is not in it");
  }
  return {};
}

Outcome<void> validate_members(const OsdMap& map, const PoolInfo& pool, const std::string& who) {
  if (pool.members.empty() || pool.members.size() > map.osds.size()) {
    return not_valid(who + " needs between one OSD and as many as there are");
  }
  std::vector<OsdId> ids;
  uint64_t weights = 0;
  for (const PoolInfo::Member& member : pool.members) {
    const std::string which = "osd." + std::to_string(member.osd);
    if (map.find_osd(member.osd) == nullptr) {
      return not_valid(who + " names " + which + ", which is not in the map");
    }
    if (member.weight > PoolInfo::kMaxWeight)
      return not_valid(who + " gives " + which + " too much weight");
    ids.push_back(member.osd);
    weights += member.weight;
  }
  std::sort(ids.begin(), ids.end());
  if (std::adjacent_find(ids.begin(), ids.end()) != ids.end()) {
    return not_valid(who + " names an OSD twice");
  }
  if (weights == 0) return not_valid(who + " has no weight on any OSD");
  return {};
}

// Two pools with one place would take each other's objects for theirs.
Outcome<void> validate_rados_pools(const OsdMap& map) {
  std::vector<std::pair<std::string_view, std::string_view>> places;
  for (const PoolInfo& pool : map.pools) {
    const bool is_in_rados = pool.store == StoreKind::kRados;
    for (const std::string& name : {pool.rados_pool, pool.rados_namespace}) {
      const bool is_name = is_valid_object_name(name) && name.size() <= kMaxPoolName;
      if (is_in_rados ? is_name : name.empty()) continue;
      return not_valid("pool '" + pool.name +
                       (is_in_rados ? "' needs a RADOS pool and a namespace, of up to 64 letters, "
                                      "digits, '.', '_' and '-'"
                                    : "' names a RADOS pool, and is not in RADOS"));
    }
    if (is_in_rados) places.emplace_back(pool.rados_pool, pool.rados_namespace);
  }
  std::sort(places.begin(), places.end());
  const auto twice = std::adjacent_find(places.begin(), places.end());
  if (twice == places.end()) return {};
  return not_valid("two pools are in namespace " + std::string(twice->second) + " of RADOS pool " +
                   std::string(twice->first));
}

Outcome<void> validate_pools(const OsdMap& map) {
  if (map.pools.size() > OsdMap::kMaxPools) return not_valid("too many pools");
  std::vector<std::string_view> names;
  PoolId before = 0;
  for (const PoolInfo& pool : map.pools) {
    const std::string who = "pool " + std::to_string(pool.id);
    if (pool.id <= before) return not_valid(who + " is out of order or twice there");
    if (pool.id >= map.next_pool_id) return not_valid(who + " is not below next_pool_id");
    before = pool.id;
    if (!is_valid_object_name(pool.name) || pool.name.size() > kMaxPoolName) {
      return not_valid(who + " needs a name of up to 64 letters, digits, '.', '_' and '-'");
    }
    names.push_back(pool.name);
    if (pool.pg_num == 0 || pool.pg_num > PoolInfo::kMaxPgs) {
      return not_valid(who + " needs between 1 and 65536 placement groups");
    }
    if (!std::has_single_bit(pool.object_size) || pool.object_size < PoolInfo::kMinObjectSize ||
        pool.object_size > PoolInfo::kMaxObjectSize) {
      return not_valid(who + " needs an object size that is a power of two from 4 KiB to 32 MiB");
    }
    if (pool.store < StoreKind::kFile || pool.store > StoreKind::kRados) {
      return not_valid(who + " has an unknown kind of store");
    }
    if (auto members = validate_members(map, pool, who); !members) return members;
  }
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(names.begin(), names.end());
  if (twice != names.end()) return not_valid("two pools are named '" + std::string(*twice) + "'");
  return {};
}

Outcome<void> validate_unknown_pools(const OsdMap& map) {
  const PoolIdSet& unknown = map.unknown_pools;
  if (unknown.ranges().size() > OsdMap::kMaxUnknownRanges)
    return failure(OsdErrc::kTooLarge,
                   "the cluster map would have too many ranges of unknown pools: give them up "
                   "with lunar pool purge-unknown");
  if (!unknown.is_well_formed() || unknown.end() > map.next_pool_id)
    return not_valid("unknown_pools are no ranges below next_pool_id, in order");
  for (const PoolInfo& pool : map.pools)
    if (unknown.has(pool.id))
      return not_valid("pool " + std::to_string(pool.id) + " is among unknown_pools");
  return {};
}

Outcome<void> validate_entities(const OsdMap& map) {
  if (map.entities.size() > OsdMap::kMaxEntities) return not_valid("too many entities");
  std::string_view before;
  for (const EntityInfo& entity : map.entities) {
    if (!is_entity_text(entity.entity)) return not_valid("an entity has no name of graphic ASCII");
    if (entity.entity <= before)
      return not_valid("entity " + entity.entity + " is out of order or twice there");
    before = entity.entity;
    const auto capabilities = parse_capabilities(entity.caps);
    if (!capabilities) return not_valid(entity.entity + ": " + capabilities.error().message);
    if (to_string(*capabilities) != entity.caps)
      return not_valid(entity.entity + " has capabilities that are not in their normal form");
  }
  return {};
}

}  // namespace

std::string_view to_string(StoreKind kind) noexcept {
  switch (kind) {
    case StoreKind::kMem:
      return "mem";
    case StoreKind::kRados:
      return "rados";
    default:
      return "file";
  }
}

bool is_rados_client(std::string_view text) noexcept {
  return !text.empty() && text.size() <= OsdInfo::kMaxRadosClientBytes &&
         std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < 0x7f; });
}

OsdMap without_stores(OsdMap map) {
  for (OsdInfo& osd : map.osds) osd.kind.reset();
  return without_rados_clients(std::move(map));
}

OsdMap without_rados_clients(OsdMap map) {
  for (OsdInfo& osd : map.osds) osd.rados_client.clear();
  return map;
}

OsdMap without_unknown_pools(OsdMap map) {
  map.unknown_pools = {};
  return map;
}

const OsdInfo* OsdMap::find_osd(OsdId id) const noexcept {
  const auto at = std::lower_bound(osds.begin(), osds.end(), id,
                                   [](const OsdInfo& osd, OsdId key) { return osd.id < key; });
  return at != osds.end() && at->id == id ? &*at : nullptr;
}

const PoolInfo* OsdMap::find_pool(PoolId id) const noexcept {
  const auto at = std::lower_bound(pools.begin(), pools.end(), id,
                                   [](const PoolInfo& pool, PoolId key) { return pool.id < key; });
  return at != pools.end() && at->id == id ? &*at : nullptr;
}

const PoolInfo* OsdMap::find_pool(std::string_view name) const noexcept {
  const auto at = std::find_if(pools.begin(), pools.end(),
                               [name](const PoolInfo& pool) { return pool.name == name; });
  return at != pools.end() ? &*at : nullptr;
}

const EntityInfo* OsdMap::find_entity(std::string_view name) const noexcept {
  const auto at = std::lower_bound(
      entities.begin(), entities.end(), name,
      [](const EntityInfo& entity, std::string_view key) { return entity.entity < key; });
  return at != entities.end() && at->entity == name ? &*at : nullptr;
}

bool OsdMap::has_rados_pools() const noexcept {
  return std::any_of(pools.begin(), pools.end(),
                     [](const PoolInfo& pool) { return pool.store == StoreKind::kRados; });
}

bool OsdMap::is_in_rados(PoolId pool) const noexcept {
  const PoolInfo* const info = find_pool(pool);
  return info != nullptr && info->store == StoreKind::kRados;
}

bool OsdMap::has_kinds() const noexcept {
  return std::any_of(osds.begin(), osds.end(),
                     [](const OsdInfo& osd) { return osd.kind.has_value(); });
}

uint16_t OsdMap::written_version() const noexcept {
  if (!unknown_pools.is_empty()) return kVersion;
  return has_kinds() ? 5 : has_rados_pools() ? 4 : has_caps() ? 3 : 2;
}

Outcome<void> validate(const OsdMap& map) {
  if (map.fsid.is_nil()) return not_valid("it has no cluster id");
  if (map.epoch == 0) return not_valid("its epoch is 0");
  if (map.epoch > OsdMap::kMaxEpoch) return not_valid("its epoch is above 2^62");
  if (map.next_pool_id == 0) return not_valid("next_pool_id is 0");
  if (map.next_pool_id > OsdMap::kMaxPoolId) return not_valid("next_pool_id is above 2^20");
  if (auto osds = validate_osds(map); !osds) return osds;
  if (auto pools = validate_pools(map); !pools) return pools;
  if (auto unknown = validate_unknown_pools(map); !unknown) return unknown;
  if (auto places = validate_rados_pools(map); !places) return places;
  if (auto entities = validate_entities(map); !entities) return entities;
  const std::size_t bytes = encoded_bytes(map);
  if (bytes <= OsdMap::kMaxEncodedBytes) return {};
  return failure(OsdErrc::kTooLarge,
                 "the cluster map would have " + std::to_string(bytes) + " bytes, and at most " +
                     std::to_string(OsdMap::kMaxEncodedBytes) +
                     " fit into a message: remove a pool, or make pools over fewer OSDs (each OSD "
                     "of a pool takes 8 bytes), or remove entities that are not in use");
}

std::size_t encoded_bytes(const OsdMap& map) noexcept {
  std::size_t bytes = kMapBytes;
  for (const OsdInfo& osd : map.osds) bytes += kOsdBytes + osd.addresses.size() * kAddressBytes;
  for (const PoolInfo& pool : map.pools)
    bytes += kPoolBytes + pool.name.size() + pool.members.size() * kMemberBytes +
             (pool.store == StoreKind::kRados
                  ? kPlaceBytes + pool.rados_pool.size() + pool.rados_namespace.size()
                  : 0);
  const uint16_t version = map.written_version();
  if (version > 4)
    for (const OsdInfo& osd : map.osds) bytes += kOsdStoreBytes + osd.rados_client.size();
  if (version > 5) bytes += 4 + map.unknown_pools.ranges().size() * kRangeBytes;
  if (version < 3) return bytes;
  bytes += 1 + 4;
  for (const EntityInfo& entity : map.entities)
    bytes += kEntityBytes + entity.entity.size() + entity.caps.size();
  return bytes;
}

void encode(const OsdMap& map, std::vector<std::byte>& out) {
  const std::size_t start = out.size();
  ByteWriter w(out);
  w.put(kMagic);
  // What older clients are sent is what they can read.
  const uint16_t version = map.written_version();
  w.put(version);
  w.put_bytes(map.fsid.bytes);
  w.put(map.epoch);
  w.put(map.authority);
  w.put(map.next_pool_id);
  w.put(static_cast<uint32_t>(map.osds.size()));
  for (const OsdInfo& osd : map.osds) put_osd(w, osd, version);
  w.put(static_cast<uint32_t>(map.pools.size()));
  for (const PoolInfo& pool : map.pools) put_pool(w, pool);
  if (version > 2) {
    w.put(map.enforces_caps);
    w.put(static_cast<uint32_t>(map.entities.size()));
    for (const EntityInfo& entity : map.entities) {
      w.put_string(entity.entity);
      w.put_string(entity.caps);
    }
  }
  if (version > 5) {
    w.put(static_cast<uint32_t>(map.unknown_pools.ranges().size()));
    for (const PoolIdRange& range : map.unknown_pools.ranges()) {
      w.put(range.from);
      w.put(range.until);
    }
  }
  w.put(crc32c(0, ConstBytes(out).subspan(start)));
}

Outcome<OsdMap> decode_osd_map(ConstBytes bytes) {
  constexpr std::size_t kCrcBytes = 4;
  ByteReader r(bytes);
  if (r.get<uint32_t>() != kMagic || bytes.size() < 6 + kCrcBytes) {
    return failure(OsdErrc::kCorrupt, "these bytes are not a cluster map");
  }
  const ConstBytes body = bytes.first(bytes.size() - kCrcBytes);
  if (ByteReader(bytes.last(kCrcBytes)).get<uint32_t>() != crc32c(0, body)) {
    return failure(OsdErrc::kCorrupt, "the cluster map is damaged: its checksum does not match");
  }
  r = ByteReader(body);
  r.get<uint32_t>();
  const auto version = r.get<uint16_t>();
  if (version == 0 || version > OsdMap::kVersion) {
    return failure(OsdErrc::kIncompatible,
                   "the cluster map has format version " + std::to_string(version) +
                       ", this program knows version " + std::to_string(OsdMap::kVersion) +
                       ": use programs of the same release on all hosts");
  }
  OsdMap map;
  if (!get_map(r, version, map)) {
    return failure(OsdErrc::kCorrupt, "the cluster map is damaged: its fields do not add up");
  }
  if (auto valid = validate(map); !valid) {
    return failure(OsdErrc::kCorrupt, std::move(valid.error().message));
  }
  return map;
}

}  // namespace lunar::objecter
