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
#include "objecter/protocol/types.h"

namespace lunar::objecter {

struct OsdInfo {
  static constexpr std::size_t kMaxAddresses = 8;
  OsdId id = 0;
  Uuid store;                            // identity of its store; zero until it has booted once
  std::vector<msgr::Address> addresses;  // any of them will do
  bool up = false;
  friend bool operator==(const OsdInfo&, const OsdInfo&) = default;
};

enum class StoreKind : uint8_t { kFile = 1, kMem = 2, kRados = 3 };

// A set of objects. Its OSD list and weights are fixed for its life: `up` never changes placement.
struct PoolInfo {
  static constexpr uint32_t kMaxPgs = 65'536;
  static constexpr uint32_t kMaxWeight = 1u << 24;
  static constexpr uint64_t kMinObjectSize = 4096;
  static constexpr uint64_t kMaxObjectSize = 32u << 20;
  PoolId id = 0;
  std::string name;
  uint32_t pg_num = 64;
  uint64_t object_size = 4u << 20;  // default for images; a power of two, bytes
  StoreKind store = StoreKind::kFile;
  struct Member {
    OsdId osd = 0;
    uint32_t weight = 0x10000;  // 16.16 fixed point
    friend bool operator==(const Member&, const Member&) = default;
  };
  std::vector<Member> members;
  friend bool operator==(const PoolInfo&, const PoolInfo&) = default;
};

// Which servers and pools there are, at one epoch. Immutable once published.
struct OsdMap {
  static constexpr uint16_t kVersion = 1;
  static constexpr std::size_t kMaxOsds = 4096;
  static constexpr std::size_t kMaxPools = 4096;
  Uuid fsid;  // of the cluster
  Epoch epoch = 0;
  OsdId authority = 0;
  std::vector<OsdInfo> osds;    // sorted by id
  std::vector<PoolInfo> pools;  // sorted by id
  PoolId next_pool_id = 1;

  const OsdInfo* find_osd(OsdId id) const noexcept;
  const PoolInfo* find_pool(PoolId id) const noexcept;
  const PoolInfo* find_pool(std::string_view name) const noexcept;
  friend bool operator==(const OsdMap&, const OsdMap&) = default;
};
using OsdMapRef = std::shared_ptr<const OsdMap>;

void encode(const OsdMap& map, std::vector<std::byte>& out);  // with a crc32c of its own at the end
// A sentence for a damaged map (kCorrupt) or one of another version (kIncompatible).
Outcome<OsdMap> decode_osd_map(ConstBytes bytes);
// Checks ids, names, sizes and references; what decode_osd_map() and the authority both demand.
Outcome<void> validate(const OsdMap& map);
std::string to_json(const OsdMap& map);  // as `lunar map dump --format json` shows it
Outcome<OsdMap> osd_map_from_json(std::string_view json);  // of to_json(); for `lunar map restore`

}  // namespace lunar::objecter
