// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/bytes.h"
#include "common/result.h"
#include "common/uuid.h"
#include "msgr/address.h"
#include "objecter/protocol/pool_ids.h"
#include "objecter/protocol/types.h"

namespace lunar::objecter {

// What keeps the objects of a pool on its servers. On the wire as a number: never renumber.
enum class StoreKind : uint8_t { kFile = 1, kMem = 2, kRados = 3 };

// "file", "mem", "rados".
std::string_view to_string(StoreKind kind) noexcept;

// One OSD of the cluster, as the map authority knows it. A value.
struct OsdInfo {
  static constexpr std::size_t kMaxAddresses = 8;
  static constexpr std::size_t kMaxRadosClientBytes = 512;
  OsdId id = 0;                          // not negative
  Uuid store;                            // identity of its store; zero until it has booted once
  std::vector<msgr::Address> addresses;  // any of them will do; with ports; not empty if it is up
  bool up = false;                       // it has a session with the authority, or had one just now
  uint64_t incarnation = 0;  // of the newest start of that store; 0: any of its starts may come
  // An earlier store of this OSD is lost: in pools with an id below this one an object that it does
  // not have is not empty but lost. 0: there was no earlier store.
  PoolId lost_below = 0;
  std::optional<StoreKind> kind = {};  // of its store; none: its release has not said it
  // By what Ceph knows this start of it, and others can fence it; not empty only if it is up and of
  // kRados. No two OSDs share one.
  std::string rados_client = {};
  friend bool operator==(const OsdInfo&, const OsdInfo&) = default;
};

// A set of objects. Its OSDs are fixed for its life, and so are weights of local stores: those of
// pools in RADOS change, and so do their PGs with `up` (placement.h). A value.
struct PoolInfo {
  static constexpr uint32_t kMaxPgs = 65'536;
  static constexpr uint32_t kMaxWeight = 1u << 24;
  static constexpr uint64_t kMinObjectSize = 4096;  // bytes, both
  static constexpr uint64_t kMaxObjectSize = 32u << 20;
  PoolId id = 0;                    // not 0 in a map
  std::string name;                 // as an object's name; no two pools share one
  uint32_t pg_num = 64;             // 1 … kMaxPgs; fixed as well
  uint64_t object_size = 4u << 20;  // default for images; a power of two, bytes
  StoreKind store = StoreKind::kFile;
  // An OSD that may hold objects of the pool.
  struct Member {
    OsdId osd = 0;              // is in the map
    uint32_t weight = 0x10000;  // its share, 16.16 fixed point, at most kMaxWeight; 0: no object
    friend bool operator==(const Member&, const Member&) = default;
  };
  std::vector<Member> members;  // no OSD twice; at least one has a weight
  // Of a pool in RADOS, and empty for any other: Ceph's pool, and the namespace in it, which no
  // other pool has. As names of objects.
  std::string rados_pool = {};
  std::string rados_namespace = {};
  friend bool operator==(const PoolInfo&, const PoolInfo&) = default;
};

// What an entity may do (capabilities.h). Keys are not here: they are in keyrings. A value.
struct EntityInfo {
  std::string entity;  // client.ID, as peer_name.h has it
  std::string caps;    // as to_string() of what was read from it; empty: nothing
  friend bool operator==(const EntityInfo&, const EntityInfo&) = default;
};

// Which servers and pools there are, at one epoch, and who may do what. Changed by the authority
// alone, into a copy with the next epoch; immutable once published, and shared as OsdMapRef.
struct OsdMap {
  // Of the encoded form; older ones are read, too. A map without unknown pools is written as 5, one
  // that says nothing of stores as 4, one without pools in RADOS as 3, and one without entities,
  // too, as 2.
  static constexpr uint16_t kVersion = 6;
  static constexpr std::size_t kMaxOsds = 4096;
  static constexpr std::size_t kMaxPools = 4096;
  static constexpr std::size_t kMaxEntities = 4096;
  static constexpr std::size_t kMaxUnknownRanges = 2 * kMaxPools;
  // So that there is always a next one. Servers look at every id that a pool has had.
  static constexpr Epoch kMaxEpoch = Epoch{1} << 62;
  static constexpr PoolId kMaxPoolId = 1u << 20;
  // Of its encoded form: a map is the front of one frame, which every peer has to take.
  static constexpr std::size_t kMaxEncodedBytes = 1u << 20;
  Uuid fsid;                    // of the cluster
  Epoch epoch = 0;              // from 1; grows by 1
  OsdId authority = 0;          // is among the osds
  std::vector<OsdInfo> osds;    // sorted by id
  std::vector<PoolInfo> pools;  // sorted by id
  PoolId next_pool_id = 1;      // above every id that was ever given to a pool
  // Ids that pools may have of which this map does not know, since it comes from a backup. Servers
  // keep the objects of those, and purge all others that are below next_pool_id and not in `pools`.
  // Not in what clients are shown.
  PoolIdSet unknown_pools;
  // Whoever is not in `entities` may do nothing. False in clusters that were made before there were
  // capabilities, until somebody says so, and in what clients are shown.
  bool enforces_caps = false;
  std::vector<EntityInfo> entities;  // sorted by name

  // Null if there is none. What is found lives as long as the map.
  const OsdInfo* find_osd(OsdId id) const noexcept;
  const PoolInfo* find_pool(PoolId id) const noexcept;
  const PoolInfo* find_pool(std::string_view name) const noexcept;
  const EntityInfo* find_entity(std::string_view name) const noexcept;
  bool has_caps() const noexcept { return enforces_caps || !entities.empty(); }
  bool has_rados_pools() const noexcept;
  bool is_in_rados(PoolId pool) const noexcept;  // false if there is none
  bool has_kinds() const noexcept;               // of the stores of its OSDs, one at least
  // The oldest version of the encoded form that can say all of it.
  uint16_t written_version() const noexcept;
  friend bool operator==(const OsdMap&, const OsdMap&) = default;
};
using OsdMapRef = std::shared_ptr<const OsdMap>;

// Whether it may be OsdInfo::rados_client: 1 … kMaxRadosClientBytes of graphic ASCII.
bool is_rados_client(std::string_view text) noexcept;
// The map without what only peers that follow moves are sent: kinds of stores, RADOS clients.
OsdMap without_stores(OsdMap map);
// The map as clients see it: only servers and administrators need to know whom they could fence.
OsdMap without_rados_clients(OsdMap map);
OsdMap without_unknown_pools(OsdMap map);

// What encode() appends for the map.
std::size_t encoded_bytes(const OsdMap& map) noexcept;
// Appends the map, with a crc32c of its own at the end: front of kMap, and the record of a server.
void encode(const OsdMap& map, std::vector<std::byte>& out);
// Accepts what encode() makes of a map that validate() allows, and nothing else. Errors, each with
// a sentence: kCorrupt (damaged, or no map at all), kIncompatible (another version), and those of
// validate().
Outcome<OsdMap> decode_osd_map(ConstBytes bytes);
// Checks ids, names, sizes and references, as they are said above. What decode_osd_map() and the
// authority both demand, its encoded size included. Errors: kInvalid, with a sentence that names
// the OSD or pool, and kTooLarge, with one that says what makes room.
Outcome<void> validate(const OsdMap& map);
// As `lunar map dump --format json` shows it: all of the map, for people, scripts and backups.
std::string to_json(const OsdMap& map);
// A pool as it is in there, in one line.
std::string to_json(const PoolInfo& pool);
// Reads what to_json() wrote, for `lunar map restore`. Errors, with a sentence: kInvalid, and
// kIncompatible for another version.
Outcome<OsdMap> osd_map_from_json(std::string_view json);

}  // namespace lunar::objecter
