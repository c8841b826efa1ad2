// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/access/permissions.h"

#include <gtest/gtest.h>

#include "osd/access/access_control.h"

namespace lunar::osd {
namespace {

using objecter::OpCode;
using objecter::OsdMap;

constexpr objecter::PoolId kRbd = 1;
constexpr objecter::PoolId kBackup = 2;
constexpr objecter::ImageId kDisk1 = 0x00c0ffee00c0ffee;
constexpr char kHeader[] = "00c0ffee00c0ffee.header";
constexpr char kData[] = "00c0ffee00c0ffee.0000000000000005";
constexpr char kName[] = "lunar_id.disk1";

constexpr OpCode kReads[] = {OpCode::kRead,       OpCode::kSparseRead,  OpCode::kStat,
                             OpCode::kMapExtents, OpCode::kGetXattr,    OpCode::kAssertVersion,
                             OpCode::kCmpExt,     OpCode::kWatch,       OpCode::kUnwatch,
                             OpCode::kNotifyAck,  OpCode::kListWatchers};
constexpr OpCode kWrites[] = {OpCode::kWrite,    OpCode::kWriteFull, OpCode::kWriteSame,
                              OpCode::kZero,     OpCode::kTruncate,  OpCode::kDelete,
                              OpCode::kSetXattr, OpCode::kOrWrite,   OpCode::kNotify};

OsdMap make_map() {
  OsdMap map;
  map.enforces_caps = true;
  for (const auto& [id, name] : {std::pair(kRbd, "rbd"), std::pair(kBackup, "backup")}) {
    objecter::PoolInfo& pool = map.pools.emplace_back();
    pool.id = id;
    pool.name = name;
  }
  return map;
}

Permissions permissions(std::string_view text) {
  const auto capabilities = objecter::parse_capabilities(text);
  EXPECT_TRUE(capabilities) << capabilities.error().message;
  return Permissions(*capabilities, make_map());
}

bool allows(const Permissions& permissions, OpCode code, const std::string& object,
            objecter::PoolId pool = kRbd, objecter::ImageId image = 0) {
  objecter::OsdOpHeader op;
  op.pg.pool = pool;
  op.object = object;
  op.image = image;
  op.steps.emplace_back().code = code;
  const bool is_metadata = object.ends_with(".header") || object.starts_with("lunar_");
  if (is_metadata) op.flags |= objecter::kOpMetadata;
  return permissions.allows(op);
}

TEST(PermissionsTest, NothingIsAllowedThatNoGrantAllows) {
  const Permissions none = permissions("");
  for (const OpCode code : kReads) EXPECT_FALSE(allows(none, code, kData));
  for (const OpCode code : kWrites) EXPECT_FALSE(allows(none, code, kData));
  EXPECT_FALSE(allows(none, OpCode::kFlush, ""));
  EXPECT_FALSE(allows(none, OpCode::kList, ""));
  EXPECT_FALSE(none.is_admin() || none.may_show() || none.may_fence() || none.sees_whole_map());
  EXPECT_FALSE(none.allows_seeing(kRbd));
}

TEST(PermissionsTest, ALetterIsForItsOps) {
  const Permissions reader = permissions("allow r pool=rbd");
  const Permissions writer = permissions("allow w pool=rbd");
  for (const OpCode code : kReads) {
    EXPECT_TRUE(allows(reader, code, kData)) << static_cast<int>(code);
    EXPECT_FALSE(allows(writer, code, kData)) << static_cast<int>(code);
  }
  for (const OpCode code : kWrites) {
    EXPECT_FALSE(allows(reader, code, kData)) << static_cast<int>(code);
    EXPECT_TRUE(allows(writer, code, kData)) << static_cast<int>(code);
  }
  EXPECT_TRUE(allows(reader, OpCode::kList, ""));
  EXPECT_FALSE(allows(reader, OpCode::kFlush, ""));
  EXPECT_TRUE(allows(writer, OpCode::kFlush, ""));
}

TEST(PermissionsTest, NamesOfImagesAreChangedWithXAlone) {
  const Permissions gateway = permissions("profile gateway pool=rbd");
  const Permissions rbd = permissions("profile rbd pool=rbd");
  for (const char* object : {kName, "lunar_directory"}) {
    EXPECT_TRUE(allows(gateway, OpCode::kRead, object));
    EXPECT_FALSE(allows(gateway, OpCode::kWriteFull, object));
    EXPECT_FALSE(allows(gateway, OpCode::kDelete, object));
    EXPECT_TRUE(allows(rbd, OpCode::kWriteFull, object));
  }
  EXPECT_TRUE(allows(gateway, OpCode::kWriteFull, kHeader));
}

TEST(PermissionsTest, APoolIsNotAnother) {
  const Permissions one = permissions("allow rwx pool=rbd");
  EXPECT_TRUE(allows(one, OpCode::kRead, kData, kRbd));
  EXPECT_FALSE(allows(one, OpCode::kRead, kData, kBackup));
  EXPECT_FALSE(allows(one, OpCode::kFlush, "", kBackup));
  EXPECT_FALSE(allows(one, OpCode::kList, "", kBackup));
  EXPECT_FALSE(allows(one, OpCode::kRead, kData, 77));
  EXPECT_TRUE(one.allows_seeing(kRbd));
  EXPECT_FALSE(one.allows_seeing(kBackup));
  EXPECT_FALSE(one.may_show());  // x within a pool is no command
  const Permissions gone = permissions("allow rwx pool=removed");
  EXPECT_FALSE(allows(gone, OpCode::kRead, kData, kRbd));
}

TEST(PermissionsTest, AnImageIsNotAnother) {
  const Permissions disk1 = permissions("allow rwx pool=rbd image=disk1 image_id=00c0ffee00c0ffee");
  for (const char* own : {kData, kHeader}) {
    for (const OpCode code : kReads) EXPECT_TRUE(allows(disk1, code, own, kRbd, kDisk1));
    for (const OpCode code : kWrites) EXPECT_TRUE(allows(disk1, code, own, kRbd, kDisk1));
  }
  EXPECT_TRUE(allows(disk1, OpCode::kRead, kName));
  EXPECT_FALSE(allows(disk1, OpCode::kWriteFull, kName));
  EXPECT_FALSE(allows(disk1, OpCode::kDelete, kName));
  for (const char* other :
       {"00c0ffee00c0ffef.header", "00c0ffee00c0ffef.0000000000000005", "lunar_id.disk2",
        "lunar_id.disk11", "lunar_directory", "00c0ffee00c0ffee", "0c0ffee00c0ffee.header",
        "-0c0ffee00c0ffee.header", "x00c0ffee00c0ffee.header", "anything"}) {
    for (const OpCode code : kReads) EXPECT_FALSE(allows(disk1, code, other)) << other;
    for (const OpCode code : kWrites) EXPECT_FALSE(allows(disk1, code, other)) << other;
    EXPECT_FALSE(disk1.allows_watching({kRbd, other})) << other;
  }
  EXPECT_FALSE(allows(disk1, OpCode::kList, ""));
  EXPECT_FALSE(allows(disk1, OpCode::kRead, kData, kBackup, kDisk1));
}

// A FLUSH marks a loss as heard, and a WRITE marks its image as having unflushed data.
TEST(PermissionsTest, AnImageIsFlushedAndMarkedByItsOwnAlone) {
  const Permissions disk1 = permissions("allow rw pool=rbd image=disk1 image_id=00c0ffee00c0ffee");
  EXPECT_TRUE(allows(disk1, OpCode::kFlush, "", kRbd, kDisk1));
  EXPECT_FALSE(allows(disk1, OpCode::kFlush, "", kRbd, kDisk1 + 1));
  EXPECT_FALSE(allows(disk1, OpCode::kFlush, "", kRbd, 0));
  EXPECT_FALSE(allows(disk1, OpCode::kWrite, kData, kRbd, kDisk1 + 1));
}

// What is neither data nor a header would be nobody's, for ever; and every server keeps metadata
// objects in memory.
TEST(PermissionsTest, AnImageHasNoObjectsButItsOwnKinds) {
  const Permissions disk1 = permissions("allow rw pool=rbd image=disk1 image_id=00c0ffee00c0ffee");
  for (const char* object :
       {"00c0ffee00c0ffee.x", "00c0ffee00c0ffee.header2", "00c0ffee00c0ffee.0000000000000001.x",
        "00C0FFEE00C0FFEE.header", "00c0ffee00c0ffee.000000000000000A", "00c0ffee00c0ffee."}) {
    EXPECT_FALSE(allows(disk1, OpCode::kWrite, object, kRbd, kDisk1)) << object;
    EXPECT_FALSE(allows(disk1, OpCode::kRead, object, kRbd, kDisk1)) << object;
  }
  EXPECT_TRUE(allows(disk1, OpCode::kWrite, "00c0ffee00c0ffee.0000000000000000"));
}

TEST(PermissionsTest, MetadataAreHeadersAndNamesAlone) {
  const Permissions all = permissions("allow rwx");
  objecter::OsdOpHeader op;
  op.pg.pool = kRbd;
  op.steps.emplace_back().code = OpCode::kWriteFull;
  for (const bool is_metadata : {false, true}) {
    op.flags = is_metadata ? objecter::kOpMetadata : 0;
    op.object = kHeader;
    EXPECT_EQ(all.allows(op), is_metadata);
    op.object = kName;
    EXPECT_EQ(all.allows(op), is_metadata);
    op.object = kData;
    EXPECT_EQ(all.allows(op), !is_metadata);
    op.object = "00c0ffee00c0ffee.more";
    EXPECT_EQ(all.allows(op), !is_metadata);
  }
}

TEST(PermissionsTest, WhatIsChangedIsMarkedAsItsOwnImages) {
  const Permissions all = permissions("allow rwx");
  EXPECT_TRUE(allows(all, OpCode::kWrite, kData, kRbd, kDisk1));
  EXPECT_TRUE(allows(all, OpCode::kWrite, kData, kRbd, 0));
  EXPECT_FALSE(allows(all, OpCode::kWrite, kData, kRbd, kDisk1 + 1));
}

TEST(PermissionsTest, AnImageThatWasNotLookedUpIsNone) {
  objecter::Capabilities capabilities;
  capabilities.grants.push_back({objecter::kAccessRead, "rbd", "disk1", 0});
  const Permissions none(capabilities, make_map());
  EXPECT_FALSE(allows(none, OpCode::kRead, kName));
  EXPECT_FALSE(allows(none, OpCode::kRead, "0000000000000000.header"));
}

TEST(PermissionsTest, EveryStepOfAnOpHasToBeAllowed) {
  objecter::OsdOpHeader op;
  op.pg.pool = kRbd;
  op.object = kData;
  op.steps.emplace_back().code = OpCode::kRead;
  op.steps.emplace_back().code = OpCode::kWrite;
  EXPECT_FALSE(permissions("allow r pool=rbd").allows(op));
  EXPECT_FALSE(permissions("allow w pool=rbd").allows(op));
  EXPECT_TRUE(permissions("allow r pool=rbd, allow w pool=rbd").allows(op));
}

TEST(PermissionsTest, CommandsAreForGrantsWithoutAPool) {
  EXPECT_TRUE(permissions("allow x").may_show());
  EXPECT_TRUE(permissions("allow x").may_fence());
  EXPECT_FALSE(permissions("allow x").is_admin());
  EXPECT_FALSE(permissions("allow rwx").sees_whole_map());
  EXPECT_TRUE(permissions("allow *").is_admin());
  EXPECT_TRUE(permissions("allow *").sees_whole_map());
  EXPECT_FALSE(permissions("allow * pool=rbd").is_admin());
  EXPECT_TRUE(allows(permissions("allow * pool=rbd"), OpCode::kWriteFull, kName));
}

class AccessControlTest : public ::testing::Test {
 protected:
  AccessControlTest() {
    auto map = make_map();
    map.entities = {{"client.gw1", "allow rw pool=rbd"}};
    enforced_ = std::make_shared<const OsdMap>(map);
    map.enforces_caps = false;
    not_enforced_ = std::make_shared<const OsdMap>(map);
  }
  const Permissions& of(const std::string& entity, const objecter::OsdMapRef& map,
                        bool is_authenticated = true) {
    msgr::PeerIdentity peer;
    peer.entity = entity;
    peer.is_authenticated = is_authenticated;
    return access_.permissions_of(peer, map);
  }
  objecter::OsdMapRef enforced_;
  objecter::OsdMapRef not_enforced_;
  AccessControl access_{{true, {"client.admin"}}};
};

TEST_F(AccessControlTest, AKeyAloneAllowsNothing) {
  EXPECT_FALSE(allows(of("client.new", enforced_), OpCode::kRead, kData));
  EXPECT_FALSE(of("client.new", enforced_).allows_seeing(kRbd));
  EXPECT_TRUE(allows(of("client.gw1", enforced_), OpCode::kRead, kData));
  EXPECT_TRUE(of("client.admin", enforced_).is_admin());
  EXPECT_TRUE(of("client.admin", nullptr).is_admin());
}

TEST_F(AccessControlTest, AnIdentityThatNobodyProvedIsNothing) {
  EXPECT_FALSE(of("client.admin", enforced_, false).is_admin());
  EXPECT_FALSE(allows(of("client.gw1", enforced_, false), OpCode::kRead, kData));
}

TEST_F(AccessControlTest, AServerHasTheMapAndNoObjects) {
  const Permissions& server = of("osd.1", enforced_);
  EXPECT_TRUE(server.sees_whole_map());
  EXPECT_FALSE(server.is_admin() || server.may_show());
  EXPECT_FALSE(allows(server, OpCode::kRead, kData));
}

TEST_F(AccessControlTest, AMapThatDoesNotEnforceAllowsObjectsToEveryKey) {
  const Permissions& client = of("client.new", not_enforced_);
  EXPECT_TRUE(allows(client, OpCode::kWrite, kData));
  EXPECT_TRUE(allows(client, OpCode::kList, ""));
  EXPECT_FALSE(client.is_admin() || client.may_show() || client.sees_whole_map());
}

TEST_F(AccessControlTest, ANewerMapCountsAtOnce) {
  EXPECT_TRUE(allows(of("client.gw1", enforced_), OpCode::kRead, kData));
  auto map = *enforced_;
  map.entities.clear();
  EXPECT_FALSE(allows(of("client.gw1", std::make_shared<const OsdMap>(map)), OpCode::kRead, kData));
}

TEST_F(AccessControlTest, WithoutAuthenticationNamesAreClaimsAndAllIsAllowed) {
  AccessControl open({false, {}});
  msgr::PeerIdentity peer;
  peer.entity = "client.any";
  EXPECT_TRUE(open.permissions_of(peer, enforced_).is_admin());
}

TEST_F(AccessControlTest, ShowsAClientNothingOfOthers) {
  const auto shown = visible_map(enforced_, of("client.gw1", enforced_));
  ASSERT_EQ(shown->pools.size(), 1u);
  EXPECT_EQ(shown->pools[0].name, "rbd");
  EXPECT_FALSE(shown->has_caps());
  EXPECT_EQ(visible_map(enforced_, of("osd.1", enforced_)), enforced_);
  EXPECT_TRUE(visible_map(not_enforced_, of("client.new", not_enforced_))->entities.empty());
  EXPECT_EQ(visible_map(not_enforced_, of("client.new", not_enforced_))->pools.size(), 2u);
}

}  // namespace
}  // namespace lunar::osd
