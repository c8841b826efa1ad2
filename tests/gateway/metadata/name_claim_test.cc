// SPDX-License-Identifier: LGPL-2.1-or-later
#include "gateway/metadata/name_claim.h"

#include "gateway/metadata/header_object.h"
#include "gateway/metadata/metadata_object.h"
#include "gateway/metadata/name_object.h"
#include "tests/gateway/metadata/metadata_fixture.h"
#include "tests/support/sizes.h"

namespace lunar::gateway {
namespace {

using objecter::OsdErrc;

class NameClaimTest : public MetadataFixture {
 protected:
  ImageId make(const std::string& name) {
    const auto made = create(name, 8 * kMiB);
    EXPECT_TRUE(made) << made.error().message;
    return made ? made->id : 0;
  }
  ImageId named(const std::string& name) {
    return run(find_name(*gateway, *gateway->find_pool("lunar"), name)).value_or(0);
  }
  objecter::ObjectVersion version_of(const std::string& name) {
    std::optional<Result<MetadataContent>> content;
    read_metadata_later(*gateway, name_object_of(pool, name),
                        [&](Result<MetadataContent> read) { content = std::move(read); });
    EXPECT_TRUE(until([&] { return content.has_value(); }));
    return (*content)->version;
  }
};

TEST_F(NameClaimTest, ANameIsTakenOverFromAnImageWhoseHeaderDoesNotHaveIt) {
  const ImageId disk = make("disk");
  const ImageId other = make("other");
  ASSERT_TRUE(run(take_name(*gateway, pool, "left", disk)));
  ASSERT_TRUE(run(take_name(*gateway, pool, "left", other)));
  EXPECT_EQ(named("left"), other);
  EXPECT_EQ(run(take_name(*gateway, pool, "disk", other)).error().code, OsdErrc::kExists);
  EXPECT_EQ(named("disk"), disk);
}

TEST_F(NameClaimTest, ANameWhoseHeaderIsAbsentStaysTaken) {
  const ImageId disk = make("disk");
  ASSERT_TRUE(run(take_name(*gateway, pool, "lost", 7)));
  EXPECT_EQ(run(take_name(*gateway, pool, "lost", disk)).error().code, OsdErrc::kExists);
}

// By this whoever decided before to delete it is too late.
TEST_F(NameClaimTest, ANameThatIsThereIsWrittenAnew) {
  const ImageId disk = make("disk");
  const objecter::ObjectVersion before = version_of("disk");
  ASSERT_TRUE(run(take_name(*gateway, pool, "disk", disk)));
  EXPECT_NE(version_of("disk"), before);
  EXPECT_EQ(named("disk"), disk);
}

TEST_F(NameClaimTest, OnlyANameThatTheHeaderDoesNotHaveIsDropped) {
  const ImageId disk = make("disk");
  const ImageId other = make("other");
  ASSERT_TRUE(run(take_name(*gateway, pool, "left", disk)));
  ASSERT_TRUE(run(drop_unneeded_name(*gateway, pool, "disk", disk)));
  ASSERT_TRUE(run(drop_unneeded_name(*gateway, pool, "left", other)));
  EXPECT_EQ(named("disk"), disk);
  EXPECT_EQ(named("left"), disk);
  ASSERT_TRUE(run(drop_unneeded_name(*gateway, pool, "left", disk)));
  EXPECT_EQ(named("left"), 0u);
}

// What all of this rests on.
TEST_F(NameClaimTest, AVersionDoesNotComeBackWithItsContent) {
  ASSERT_TRUE(run(take_name(*gateway, pool, "name", 7)));
  const objecter::ObjectVersion first = version_of("name");
  ASSERT_TRUE(run(drop_name(*gateway, pool, "name", 7)));
  const objecter::ObjectVersion absent = version_of("name");
  ASSERT_TRUE(run(take_name(*gateway, pool, "name", 7)));
  EXPECT_NE(version_of("name"), first);
  ASSERT_TRUE(run(drop_name(*gateway, pool, "name", 7)));
  EXPECT_NE(version_of("name"), absent);
}

}  // namespace
}  // namespace lunar::gateway
