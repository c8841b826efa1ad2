// SPDX-License-Identifier: LGPL-2.1-or-later
#include "gateway/metadata/directory_object.h"

#include "tests/gateway/metadata/metadata_fixture.h"

namespace lunar::gateway {
namespace {

class DirectoryObjectTest : public MetadataFixture {
 protected:
  Directory names() {
    auto directory = run(read_directory(*gateway, pool));
    EXPECT_TRUE(directory) << directory.error().message;
    return directory.value_or(Directory{});
  }
};

TEST_F(DirectoryObjectTest, AnAbsentOneIsEmpty) { EXPECT_TRUE(names().empty()); }

TEST_F(DirectoryObjectTest, ANameIsAddedOnceAndAddingItAgainIsNoError) {
  ASSERT_TRUE(run(add_name(*gateway, pool, "disk", 7)));
  ASSERT_TRUE(run(add_name(*gateway, pool, "disk", 7)));
  EXPECT_EQ(names(), (Directory{{"disk", 7}}));
}

TEST_F(DirectoryObjectTest, ANameOfAnotherImageIsRefused) {
  ASSERT_TRUE(run(add_name(*gateway, pool, "disk", 7)));
  const auto added = run(add_name(*gateway, pool, "disk", 8));
  ASSERT_FALSE(added);
  EXPECT_EQ(added.error().code, objecter::OsdErrc::kExists);
  EXPECT_EQ(names(), (Directory{{"disk", 7}}));
}

TEST_F(DirectoryObjectTest, ANameIsDroppedOnlyIfItIsThatOfTheImage) {
  ASSERT_TRUE(run(add_name(*gateway, pool, "disk", 7)));
  ASSERT_TRUE(run(drop_name(*gateway, pool, "disk", 8)));
  EXPECT_EQ(names(), (Directory{{"disk", 7}}));
  ASSERT_TRUE(run(drop_name(*gateway, pool, "disk", 7)));
  EXPECT_TRUE(names().empty());
}

TEST_F(DirectoryObjectTest, NestingWithoutEndIsCorruption) {
  const std::string deep = std::string(400'000, '[') + std::string(400'000, ']');
  for (const std::string& bad : {R"({"format": )" + deep + R"(, "images": {}})",
                                 R"({"format": 1, "images": {"disk": )" + deep + "}}"}) {
    const auto decoded = decode_directory(bad);
    ASSERT_FALSE(decoded);
    EXPECT_EQ(decoded.error().code, objecter::OsdErrc::kCorrupt);
    EXPECT_LT(decoded.error().message.size(), 300u);
  }
}

}  // namespace
}  // namespace lunar::gateway
