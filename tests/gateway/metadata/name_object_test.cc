// SPDX-License-Identifier: LGPL-2.1-or-later
#include "gateway/metadata/name_object.h"

#include "gateway/metadata/name_claim.h"
#include "objecter/protocol/placement.h"
#include "tests/gateway/metadata/metadata_fixture.h"

namespace lunar::gateway {
namespace {

using objecter::OsdErrc;

class NameObjectTest : public MetadataFixture {
 protected:
  ImageId id_of(const std::string& name) {
    const auto id = run(find_name(*gateway, *gateway->find_pool("lunar"), name));
    if (id) return *id;
    EXPECT_EQ(id.error().code, OsdErrc::kNoSuchObject) << id.error().message;
    return 0;
  }
  ImageNames names() {
    const auto names = run(list_names(*gateway, *gateway->find_pool("lunar")));
    EXPECT_TRUE(names) << names.error().message;
    return names.value_or(ImageNames());
  }
};

TEST_F(NameObjectTest, AnAbsentOneIsNoImage) { EXPECT_EQ(id_of("disk"), 0u); }

TEST_F(NameObjectTest, ANameIsAddedOnceAndAddingItAgainIsNoError) {
  ASSERT_TRUE(run(take_name(*gateway, pool, "disk", 7)));
  ASSERT_TRUE(run(take_name(*gateway, pool, "disk", 7)));
  EXPECT_EQ(id_of("disk"), 7u);
}

TEST_F(NameObjectTest, ANameOfAnotherImageIsRefused) {
  ASSERT_TRUE(run(take_name(*gateway, pool, "disk", 7)));
  const auto added = run(take_name(*gateway, pool, "disk", 8));
  ASSERT_FALSE(added);
  EXPECT_EQ(added.error().code, OsdErrc::kExists);
  EXPECT_EQ(id_of("disk"), 7u);
}

TEST_F(NameObjectTest, ANameIsDroppedOnlyIfItIsThatOfTheImageAndCanBeUsedAgain) {
  ASSERT_TRUE(run(take_name(*gateway, pool, "disk", 7)));
  ASSERT_TRUE(run(drop_name(*gateway, pool, "disk", 8)));
  EXPECT_EQ(id_of("disk"), 7u);
  ASSERT_TRUE(run(drop_name(*gateway, pool, "disk", 7)));
  EXPECT_EQ(id_of("disk"), 0u);
  ASSERT_TRUE(run(take_name(*gateway, pool, "disk", 9)));
  EXPECT_EQ(id_of("disk"), 9u);
}

TEST_F(NameObjectTest, AreListedInOrderAndReadTogether) {
  std::vector<std::string> expected;
  for (ImageId id = 1; id <= 200; ++id) {
    expected.push_back("disk" + std::to_string(id));
    ASSERT_TRUE(run(take_name(*gateway, pool, expected.back(), id)));
  }
  std::sort(expected.begin(), expected.end());
  EXPECT_EQ(names().names, expected);
  EXPECT_TRUE(names().unlisted.empty());
  std::optional<std::vector<ReadName>> read;
  run_to_done<std::vector<ReadName>>(
      *center, read_names(*gateway, *gateway->find_pool("lunar"), {"disk7", "none", "disk200"}),
      [&](std::vector<ReadName> names) { read = std::move(names); });
  ASSERT_TRUE(until([&] { return read.has_value(); }));
  ASSERT_EQ(read->size(), 3u);
  EXPECT_EQ(*decode_name((*read)[0].content->text, ""), 7u);
  EXPECT_FALSE((*read)[1].content->exists);
  EXPECT_EQ(*decode_name((*read)[2].content->text, ""), 200u);
}

TEST_F(NameObjectTest, OfAServerThatIsDownAreMissingAndItIsNamed) {
  for (ImageId id = 1; id <= 30; ++id) {
    ASSERT_TRUE(run(take_name(*gateway, pool, "disk" + std::to_string(id), id)));
  }
  const auto info = *gateway->find_pool("lunar");
  const auto osd_of = [&](const std::string& name) {
    const std::string object = name_object_of(pool, name).name;
    return objecter::osd_of_pg(info, objecter::pg_of_object(info, object));
  };
  stop(1);
  ASSERT_TRUE(until([&] { return !gateway->objecter().map()->find_osd(1)->up; }));
  const ImageNames found = names();
  ASSERT_EQ(found.unlisted.size(), 1u);
  EXPECT_EQ(found.unlisted.front().osd, 1);
  for (ImageId id = 1; id <= 30; ++id) {
    const std::string name = "disk" + std::to_string(id);
    const bool is_there =
        std::find(found.names.begin(), found.names.end(), name) != found.names.end();
    EXPECT_EQ(is_there, osd_of(name) != 1) << name;
    if (is_there) {
      EXPECT_EQ(id_of(name), id);
    }
  }
  std::string hidden = "disk1";
  for (ImageId id = 1; osd_of(hidden) != 1; ++id) hidden = "disk" + std::to_string(id);
  const auto refused = run(find_name(*gateway, info, hidden));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, OsdErrc::kTimedOut);
  EXPECT_NE(refused.error().message.find("osd.1, which has it, is down"), std::string::npos)
      << refused.error().message;
}

TEST_F(NameObjectTest, WhetherAnAbsentOneIsAnImageIsNotKnownWithoutTheServerOfTheOldDirectory) {
  const auto info = *gateway->find_pool("lunar");
  const auto osd_of = [&](const std::string& object) {
    return objecter::osd_of_pg(info, objecter::pg_of_object(info, object));
  };
  const objecter::OsdId away = osd_of("lunar_directory");
  std::string name = "disk";
  while (osd_of("lunar_id." + name) == away) name += "x";
  EXPECT_EQ(id_of(name), 0u);
  stop(away);
  if (away != 0) {
    ASSERT_TRUE(until([&] { return !gateway->objecter().map()->find_osd(away)->up; }));
  }
  const auto refused = run(find_name(*gateway, info, name));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, away == 0 ? OsdErrc::kTimedOut : OsdErrc::kUnreachable);
  EXPECT_NE(refused.error().message.find("osd." + std::to_string(away)), std::string::npos)
      << refused.error().message;
  start(away);
}

TEST_F(NameObjectTest, WhatIsNoNameIsCorruption) {
  const std::string deep = std::string(2000, '[') + std::string(2000, ']');
  for (const std::string& bad :
       {std::string(), std::string("?"), std::string("[]"), std::string("{}"),
        std::string(R"({"format": 1})"), std::string(R"({"format": 1, "id": 7})"),
        std::string(R"({"format": 1, "id": "7"})"),
        std::string(R"({"format": 1, "id": "0000000000000000"})"),
        R"({"format": 1, "id": )" + deep + "}"}) {
    const auto decoded = decode_name(bad, "lunar_id.disk");
    ASSERT_FALSE(decoded) << bad;
    EXPECT_EQ(decoded.error().code, OsdErrc::kCorrupt) << bad;
    EXPECT_NE(decoded.error().message.find("lunar_id.disk"), std::string::npos);
  }
  EXPECT_EQ(*decode_name(encode_name(0xc0ffee), ""), 0xc0ffeeu);
  const auto newer = decode_name(R"({"format": 2, "id": "00c0ffee00c0ffee"})", "");
  ASSERT_FALSE(newer);
  EXPECT_EQ(newer.error().code, OsdErrc::kIncompatible);
}

TEST(ImageNameTest, OnlyNameObjectsHaveOne) {
  EXPECT_EQ(image_name_of("lunar_id.disk"), "disk");
  EXPECT_EQ(image_name_of("lunar_id."), "");
  EXPECT_EQ(image_name_of("lunar_id.-disk"), "");
  EXPECT_EQ(image_name_of("lunar_directory"), "");
  EXPECT_EQ(image_name_of("disk"), "");
}

}  // namespace
}  // namespace lunar::gateway
