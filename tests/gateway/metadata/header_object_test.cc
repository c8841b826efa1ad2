// SPDX-License-Identifier: LGPL-2.1-or-later
#include "gateway/metadata/header_object.h"

#include "tests/gateway/metadata/metadata_fixture.h"
#include "tests/support/sizes.h"

namespace lunar::gateway {
namespace {

using objecter::OsdErrc;

class HeaderObjectTest : public MetadataFixture {};

TEST_F(HeaderObjectTest, AnUpdateChangesTheHeaderAndItsVersion) {
  const auto created = create("disk", 8 * kMiB);
  ASSERT_TRUE(created);
  const auto before = run(find_header(*gateway, {"lunar", "disk"}));
  ASSERT_TRUE(before);
  ASSERT_TRUE(run(update_header(*gateway, pool, created->id, [](ImageHeader& header) {
    header.size = 16 * kMiB;
    return Outcome<void>();
  })));
  const auto after = run(find_header(*gateway, {"lunar", "disk"}));
  ASSERT_TRUE(after);
  EXPECT_EQ(after->header.size, 16 * kMiB);
  EXPECT_FALSE(after->version == before->version);
}

TEST_F(HeaderObjectTest, AnUpdateThatChangesNothingWritesNothing) {
  const auto created = create("disk", 8 * kMiB);
  ASSERT_TRUE(created);
  const auto before = run(find_header(*gateway, {"lunar", "disk"}));
  ASSERT_TRUE(run(
      update_header(*gateway, pool, created->id, [](ImageHeader&) { return Outcome<void>(); })));
  const auto after = run(find_header(*gateway, {"lunar", "disk"}));
  ASSERT_TRUE(before && after);
  EXPECT_TRUE(after->version == before->version);
}

TEST_F(HeaderObjectTest, ADeletedHeaderIsNoImageAndDeletingItAgainIsNoError) {
  const auto created = create("disk", 8 * kMiB);
  ASSERT_TRUE(created);
  ASSERT_TRUE(run(delete_header(*gateway, pool, created->id)));
  ASSERT_TRUE(run(delete_header(*gateway, pool, created->id)));
  const auto found = run(find_header(*gateway, {"lunar", "disk"}));
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().code, OsdErrc::kNoSuchObject);
  const auto updated =
      run(update_header(*gateway, pool, created->id, [](ImageHeader&) { return Outcome<void>(); }));
  ASSERT_FALSE(updated);
  EXPECT_EQ(updated.error().code, OsdErrc::kNoSuchObject);
}

}  // namespace
}  // namespace lunar::gateway
