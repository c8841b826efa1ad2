// SPDX-License-Identifier: LGPL-2.1-or-later
#include "objecter/protocol/osd_map.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/crc32c.h"
#include "objecter/protocol/control.h"
#include "tests/objecter/protocol/exact_decoding.h"

namespace lunar::objecter {
namespace {

using testing::HasSubstr;
OsdMap some_map() {
  OsdMap map;
  map.fsid = *Uuid::parse("01234567-89ab-4def-8123-456789abcdef");
  map.epoch = 12;
  map.authority = 0;
  map.next_pool_id = 4;
  const auto address = [](const char* text) { return *msgr::Address::parse(text); };
  map.osds = {
      {0,
       *Uuid::parse("11111111-1111-4111-8111-111111111111"),
       {address("127.0.0.1:6800"), address("[::1]:6800")},
       true,
       0x700000009,
       2},
      {1, Uuid{}, {}, false},
      {5, *Uuid::parse("22222222-2222-4222-8222-222222222222"), {address("10.1.2.3:6801")}, true}};
  map.pools = {{1, "rbd", 64, 4u << 20, StoreKind::kFile, {{0, 0x10000}, {1, 0x8000}}},
               {3, "fast.pool-2", 7, 1u << 16, StoreKind::kMem, {{5, 0x10000}, {0, 0}}}};
  return map;
}

OsdMap map_with_caps() {
  OsdMap map = some_map();
  map.enforces_caps = true;
  map.entities = {{"client.backup", "allow r pool=rbd"}, {"client.gw1", "allow rw, allow x"}};
  return map;
}

OsdMap map_with_rados() {
  OsdMap map = some_map();
  map.pools[1].store = StoreKind::kRados;
  map.pools[1].rados_pool = "lunar";
  map.pools[1].rados_namespace = "fast";
  return map;
}

OsdMap map_with_both() {
  OsdMap map = map_with_rados();
  map.enforces_caps = true;
  return map;
}

OsdMap map_with_kinds() {
  OsdMap map = map_with_rados();
  map.osds[1].kind = StoreKind::kFile;
  map.osds[2].kind = StoreKind::kRados;
  map.osds[2].rados_client = "v2:10.1.2.3:0/4711";
  return map;
}

// With a correct checksum, so that the decoder looks at the rest.
Buffer resealed(Buffer bytes) {
  bytes.resize(bytes.size() - 4);
  const uint32_t crc = crc32c(0, bytes);
  ByteWriter(bytes).put(crc);
  return bytes;
}

TEST(OsdMapTest, SurvivesTheWire) {
  OsdMap not_enforced = map_with_caps();
  not_enforced.enforces_caps = false;
  OsdMap none = map_with_caps();
  none.entities.clear();
  for (const OsdMap& map : {some_map(), map_with_caps(), not_enforced, none, map_with_rados(),
                            map_with_both(), map_with_kinds()}) {
    ASSERT_TRUE(validate(map)) << validate(map).error().message;
    const auto read = decode_osd_map(encoded(map));
    ASSERT_TRUE(read) << read.error().message;
    EXPECT_EQ(*read, map);
  }
}

// What clients are sent has no entities: clients of before capabilities read it.

TEST(OsdMapTest, EncodingIsPinned) {
  const Buffer bytes = encoded(some_map());
  EXPECT_EQ(bytes.size(), 329u);
  EXPECT_EQ(crc32c(0, ConstBytes(bytes).first(bytes.size() - 4)), 710054884u);
}

TEST(OsdMapTest, AnyDamageIsNoticed) {
  const Buffer whole = encoded(map_with_caps());
  for (std::size_t at = 0; at < whole.size(); ++at) {
    Buffer bad = whole;
    bad[at] ^= std::byte{0x10};
    const auto read = decode_osd_map(bad);
    ASSERT_FALSE(read) << at;
    EXPECT_EQ(read.error().code, make_error_code(OsdErrc::kCorrupt)) << at;
  }
  for (std::size_t length = 0; length < whole.size(); ++length) {
    const Buffer part(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length));
    EXPECT_FALSE(decode_osd_map(part)) << length;
  }
}

TEST(OsdMapTest, DamageBehindAGoodChecksumIsRefusedOrValid) {
  const Buffer whole = encoded(map_with_caps());
  for (std::size_t at = 0; at + 4 < whole.size(); ++at) {
    for (int value : {0x01, 0x80, 0xff}) {
      Buffer bad = whole;
      bad[at] ^= static_cast<std::byte>(value);
      const auto read = decode_osd_map(resealed(bad));
      if (read) {
        EXPECT_TRUE(validate(*read)) << at;
      }
    }
  }
  for (std::size_t length = 8; length < whole.size(); ++length) {
    Buffer part(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(length));
    EXPECT_FALSE(decode_osd_map(resealed(part))) << length;
  }
}

TEST(OsdMapTest, AnotherFormatIsNamed) {
  Buffer bytes = encoded(some_map());
  bytes[4] = std::byte{9};
  const auto read = decode_osd_map(resealed(bytes));
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code, make_error_code(OsdErrc::kIncompatible));
  EXPECT_THAT(read.error().message, HasSubstr("version 9"));
  EXPECT_THAT(read.error().message, HasSubstr("version 6"));
}

// As a server of before the incarnations wrote it into its store.
TEST(OsdMapTest, TheFormatBeforeIsRead) {
  OsdMap map = some_map();
  map.osds.resize(1);
  map.osds[0].addresses.resize(1);
  map.osds[0].incarnation = 0;
  map.osds[0].lost_below = 0;
  map.pools.clear();
  Buffer bytes = encoded(map);
  constexpr std::ptrdiff_t kAfterAddresses = 46 + 4 + 16 + 1 + 1 + 19;
  bytes.erase(bytes.begin() + kAfterAddresses, bytes.begin() + kAfterAddresses + 16);
  bytes[4] = std::byte{1};
  const auto read = decode_osd_map(resealed(bytes));
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(*read, map);
}

// As many pools over as many OSDs as a message takes, to the byte: the name of the last pool has
// the length that is missing.
OsdMap largest_map() {
  OsdMap map = some_map();
  map.osds.clear();
  for (OsdId id = 0; id < 64; ++id) map.osds.push_back({id, Uuid{}, {}, false});
  map.pools.clear();
  while (encoded_bytes(map) < OsdMap::kMaxEncodedBytes) {
    PoolInfo pool;
    pool.id = map.next_pool_id++;
    pool.name = "pool-" + std::to_string(pool.id);
    for (OsdId id = 0; id < 64; ++id) pool.members.push_back({id, PoolInfo::kMaxWeight});
    map.pools.push_back(std::move(pool));
  }
  map.pools.pop_back();
  PoolInfo& last = map.pools.back();
  for (std::size_t lacks = OsdMap::kMaxEncodedBytes - encoded_bytes(map); lacks > 0;) {
    if (lacks < 60) {
      last.name += std::string(lacks, 'x');
      break;
    }
    PoolInfo more = last;
    more.id = map.next_pool_id++;
    more.name = "more-" + std::to_string(more.id);
    more.members.clear();
    for (OsdId id = 0; id < 64 && encoded_bytes(map) + 50 + 8 * more.members.size() + 8 <
                                      OsdMap::kMaxEncodedBytes;
         ++id)
      more.members.push_back({id, 1});
    map.pools.push_back(more);
    lacks = OsdMap::kMaxEncodedBytes - encoded_bytes(map);
  }
  return map;
}

TEST(OsdMapTest, ItsEncodedSizeIsKnown) {
  EXPECT_EQ(encoded(some_map()).size(), encoded_bytes(some_map()));
  EXPECT_EQ(encoded(map_with_caps()).size(), encoded_bytes(map_with_caps()));
  EXPECT_EQ(encoded(map_with_kinds()).size(), encoded_bytes(map_with_kinds()));
}

// Programs of the release before read what is left.
TEST(OsdMapTest, WithoutStoresItIsOfTheVersionBefore) {
  EXPECT_EQ(map_with_kinds().written_version(), 5);
  const OsdMap shown = without_stores(map_with_kinds());
  EXPECT_EQ(shown, map_with_rados());
  EXPECT_EQ(shown.written_version(), 4);
}

TEST(OsdMapTest, TooManyUnknownPoolsAreRefusedWithASentence) {
  OsdMap map = some_map();
  map.unknown_pools =
      PoolIdSet(std::vector<PoolIdRange>(OsdMap::kMaxUnknownRanges + 1, PoolIdRange{1, 2}));
  const auto valid = validate(map);
  ASSERT_FALSE(valid);
  EXPECT_EQ(valid.error().code, OsdErrc::kTooLarge);
  EXPECT_NE(valid.error().message.find("purge-unknown"), std::string::npos);
}

TEST(OsdMapTest, UnknownPoolsSurviveABackupAndTheWire) {
  OsdMap map = map_with_kinds();
  map.next_pool_id = 2000;
  map.unknown_pools = PoolIdSet({{500, 501}, {900, 2000}});
  EXPECT_EQ(encoded(map).size(), encoded_bytes(map));
  const auto read = decode_osd_map(encoded(map));
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(*read, map);
  const auto restored = osd_map_from_json(to_json(map));
  ASSERT_TRUE(restored) << restored.error().message;
  EXPECT_EQ(*restored, map);
}

TEST(OsdMapTest, StoresSurviveABackup) {
  const auto read = osd_map_from_json(to_json(map_with_kinds()));
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(*read, map_with_kinds());
}

TEST(OsdMapTest, ARadosClientIsThatOfOneServerWhichIsUpAndHasThatStore) {
  const auto is_valid = [](auto change) {
    OsdMap map = map_with_kinds();
    change(map);
    return validate(map).has_value();
  };
  EXPECT_TRUE(is_valid([](OsdMap&) {}));
  EXPECT_FALSE(is_valid([](OsdMap& map) { map.osds[2].up = false; }));
  EXPECT_FALSE(is_valid([](OsdMap& map) { map.osds[2].kind = StoreKind::kFile; }));
  EXPECT_FALSE(is_valid([](OsdMap& map) { map.osds[2].rados_client += ' '; }));
  EXPECT_FALSE(is_valid([](OsdMap& map) {
    map.osds[0].kind = StoreKind::kRados;
    map.osds[0].rados_client = map.osds[2].rados_client;
  }));
}

TEST(OsdMapTest, IsValidUpToTheSizeOfAMessage) {
  OsdMap map = largest_map();
  ASSERT_EQ(encoded_bytes(map), OsdMap::kMaxEncodedBytes);
  ASSERT_TRUE(validate(map)) << validate(map).error().message;
  const Buffer bytes = encoded(map);
  EXPECT_EQ(bytes.size(), OsdMap::kMaxEncodedBytes);
  EXPECT_EQ(*decode_osd_map(bytes), map);
  EXPECT_LT(to_json(map).size(), kAnswerBounds.bytes);
  EXPECT_EQ(*osd_map_from_json(to_json(map)), map);

  map.pools.back().name += "x";
  const auto valid = validate(map);
  ASSERT_FALSE(valid);
  EXPECT_EQ(valid.error().code, make_error_code(OsdErrc::kTooLarge));
  EXPECT_THAT(valid.error().message, HasSubstr("1048577 bytes"));
}

TEST(OsdMapTest, FindsByIdAndName) {
  const OsdMap map = some_map();
  EXPECT_EQ(map.find_osd(5)->addresses.size(), 1u);
  EXPECT_EQ(map.find_osd(2), nullptr);
  EXPECT_EQ(map.find_osd(-1), nullptr);
  EXPECT_EQ(map.find_pool(3)->name, "fast.pool-2");
  EXPECT_EQ(map.find_pool(2), nullptr);
  EXPECT_EQ(map.find_pool("rbd")->id, 1u);
  EXPECT_EQ(map.find_pool("nope"), nullptr);
}

struct BadMap {
  const char* name;
  const char* sentence;  // part of it
  void (*change)(OsdMap&);
};
class BadMapTest : public testing::TestWithParam<BadMap> {};

TEST_P(BadMapTest, IsExplained) {
  OsdMap map = some_map();
  GetParam().change(map);
  const auto valid = validate(map);
  ASSERT_FALSE(valid);
  EXPECT_EQ(valid.error().code, make_error_code(OsdErrc::kInvalid));
  EXPECT_THAT(valid.error().message, HasSubstr(GetParam().sentence));
  EXPECT_FALSE(decode_osd_map(encoded(map))) << "the decoder demands the same";
  EXPECT_FALSE(osd_map_from_json(to_json(map)));
}

const BadMap kBadMaps[] = {
    {"no_fsid", "no cluster id", [](OsdMap& m) { m.fsid = {}; }},
    {"epoch_0", "epoch is 0", [](OsdMap& m) { m.epoch = 0; }},
    {"no_authority", "authority osd.9", [](OsdMap& m) { m.authority = 9; }},
    {"osds_out_of_order", "osd.0 is out of order",
     [](OsdMap& m) { std::swap(m.osds[0], m.osds[1]); }},
    {"osd_twice", "osd.0 is out of order", [](OsdMap& m) { m.osds[1].id = 0; }},
    {"up_without_address", "osd.1 is up", [](OsdMap& m) { m.osds[1].up = true; }},
    {"address_without_port", "without a port",
     [](OsdMap& m) { m.osds[0].addresses[0].set_port(0); }},
    {"pools_out_of_order", "pool 1 is out of order",
     [](OsdMap& m) { std::swap(m.pools[0], m.pools[1]); }},
    {"unknown_pools_backwards", "unknown_pools",
     [](OsdMap& m) {
       m.unknown_pools = PoolIdSet({{3, 2}});
     }},
    {"unknown_pools_above_all", "unknown_pools",
     [](OsdMap& m) {
       m.unknown_pools = PoolIdSet({{m.next_pool_id - 1, m.next_pool_id + 1}});
     }},
    {"unknown_pool_that_is_known", "pool 1 is among unknown_pools",
     [](OsdMap& m) {
       m.unknown_pools = PoolIdSet({{1, 2}});
     }},
    {"pool_id_not_handed_out", "next_pool_id", [](OsdMap& m) { m.next_pool_id = 3; }},
    {"pool_name", "needs a name", [](OsdMap& m) { m.pools[0].name = "a/b"; }},
    {"pool_name_length", "needs a name", [](OsdMap& m) { m.pools[0].name.assign(65, 'a'); }},
    {"pool_name_twice", "two pools are named 'rbd'", [](OsdMap& m) { m.pools[1].name = "rbd"; }},
    {"no_pgs", "placement groups", [](OsdMap& m) { m.pools[0].pg_num = 0; }},
    {"too_many_pgs", "placement groups", [](OsdMap& m) { m.pools[0].pg_num = 65'537; }},
    {"object_size", "power of two", [](OsdMap& m) { m.pools[0].object_size = 5000; }},
    {"object_size_too_big", "power of two", [](OsdMap& m) { m.pools[0].object_size = 64u << 20; }},
    {"no_members", "between one OSD", [](OsdMap& m) { m.pools[0].members.clear(); }},
    {"unknown_member", "osd.7, which is not", [](OsdMap& m) { m.pools[0].members[0].osd = 7; }},
    {"member_twice", "an OSD twice", [](OsdMap& m) { m.pools[0].members[1].osd = 0; }},
    {"no_weight", "no weight", [](OsdMap& m) { m.pools[1].members[0].weight = 0; }},
    {"weight_too_big", "too much weight", [](OsdMap& m) { m.pools[1].members[0].weight = ~0u; }},
    {"store_kind", "unknown kind", [](OsdMap& m) { m.pools[0].store = static_cast<StoreKind>(9); }},
    {"no_place", "needs a RADOS pool", [](OsdMap& m) { m.pools[0].store = StoreKind::kRados; }},
    {"place_twice", "two pools are in namespace ns",
     [](OsdMap& m) {
       for (PoolInfo& pool : m.pools) {
         pool.store = StoreKind::kRados;
         pool.rados_pool = "lunar";
         pool.rados_namespace = "ns";
       }
     }},
    {"last_epoch", "above 2^62", [](OsdMap& m) { m.epoch = OsdMap::kMaxEpoch + 1; }},
    {"pool_ids_without_end", "above 2^20",
     [](OsdMap& m) { m.next_pool_id = OsdMap::kMaxPoolId + 1; }},
    {"entity_name", "graphic ASCII",
     [](OsdMap& m) {
       m.entities = {{"client. x", ""}};
     }},
    {"entity_twice", "client.a is out of order",
     [](OsdMap& m) {
       m.entities = {{"client.a", ""}, {"client.a", ""}};
     }},
    {"entity_caps", "client.a: capabilities",
     [](OsdMap& m) {
       m.entities = {{"client.a", "r"}};
     }},
    {"entity_caps_form", "normal form",
     [](OsdMap& m) {
       m.entities = {{"client.a", "allow  r"}};
     }},
};
INSTANTIATE_TEST_SUITE_P(All, BadMapTest, testing::ValuesIn(kBadMaps),
                         [](const auto& info) { return info.param.name; });

TEST(OsdMapJsonTest, ComesBackEqual) {
  const OsdMap map = some_map();
  const auto read = osd_map_from_json(to_json(map));
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(*read, map);
  EXPECT_EQ(*osd_map_from_json(to_json(map_with_caps())), map_with_caps());
  EXPECT_EQ(*osd_map_from_json(to_json(map_with_rados())), map_with_rados());
  EXPECT_EQ(*osd_map_from_json(to_json(map_with_both())), map_with_both());
  EXPECT_THAT(to_json(map), HasSubstr("\"127.0.0.1:6800\""));
}

TEST(OsdMapJsonTest, WhatIsWrongIsNamed) {
  const std::string good = to_json(some_map());
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string text = good;
    const auto at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    return osd_map_from_json(text.replace(at, from.size(), to));
  };
  EXPECT_THAT(with("\"epoch\": 12", "\"epoch\": \"12\"").error().message, HasSubstr("'epoch'"));
  EXPECT_THAT(with("\"epoch\": 12", "\"epoch\": -1").error().message, HasSubstr("'epoch'"));
  EXPECT_THAT(with("\"epoch\": 12", "\"epoch\": 1.5").error().message, HasSubstr("'epoch'"));
  EXPECT_THAT(with("\"pg_num\": 64", "\"pg_num\": 99999999999").error().message,
              HasSubstr("'pg_num'"));
  EXPECT_THAT(with("\"id\": 0", "\"id\": -3000000000").error().message, HasSubstr("'id'"));
  EXPECT_THAT(with("\"up\": true", "\"up\": 1").error().message, HasSubstr("'up'"));
  EXPECT_THAT(with("01234567-89ab", "0123456789ab").error().message, HasSubstr("'fsid'"));
  EXPECT_THAT(with("\"127.0.0.1:6800\"", "\"nowhere\"").error().message, HasSubstr("'addresses'"));
  EXPECT_THAT(with("\"127.0.0.1:6800\"", "17").error().message, HasSubstr("'addresses'"));
  EXPECT_THAT(with("\"store\": \"mem\"", "\"store\": \"tape\"").error().message,
              HasSubstr("'store'"));
  EXPECT_THAT(with("\"osds\"", "\"osd\"").error().message, HasSubstr("'osds'"));
  EXPECT_THAT(
      with("12,", std::string(400'000, '[') + std::string(400'000, ']') + ",").error().message,
      HasSubstr("is nested more than"));
  EXPECT_EQ(with("\"format\": 2", "\"format\": 7").error().code,
            make_error_code(OsdErrc::kIncompatible));
  for (const char* bad : {"", "[]", "{", "3", "{\"osds\": {}}", "null"}) {
    EXPECT_FALSE(osd_map_from_json(bad)) << bad;
  }
}

}  // namespace
}  // namespace lunar::objecter
