// SPDX-License-Identifier: LGPL-2.1-or-later
#include "gateway/metadata/pool_objects.h"

#include "gateway/image_header.h"
#include "tests/gateway/metadata/metadata_fixture.h"

namespace lunar::gateway {
namespace {

class PoolObjectsTest : public MetadataFixture {
 protected:
  PoolObjects list(const std::string& prefix, uint64_t most = UINT64_MAX) {
    std::optional<PoolObjects> found;
    run_to_done<PoolObjects>(*center,
                             list_objects(*gateway, *gateway->find_pool("lunar"), prefix, most),
                             [&](PoolObjects objects) { found = std::move(objects); });
    EXPECT_TRUE(until([&] { return found.has_value(); }));
    return found.value_or(PoolObjects());
  }
};

TEST_F(PoolObjectsTest, ListsTheObjectsOfAllServersInOrder) {
  create_and_open(200 * 4096, {4096, 4096, 1});
  ASSERT_FALSE(write(0, std::string(200 * 4096, 'x')));
  const std::string id = image_id_text(image->id());
  const PoolObjects all = list("");
  EXPECT_EQ(all.names.size(), 203u);  // with header, name and the closed directory
  EXPECT_TRUE(std::is_sorted(all.names.begin(), all.names.end()));
  EXPECT_TRUE(all.unlisted.empty());
  EXPECT_EQ(list(id + ".").names.size(), 201u);
  EXPECT_EQ(list(id + ".00000000000000c").names.size(), 8u);
  EXPECT_TRUE(list("zzz").names.empty());
  EXPECT_TRUE(close(image));
}

TEST_F(PoolObjectsTest, StopsAtMoreThanWereAskedFor) {
  create_and_open(200 * 4096, {4096, 4096, 1});
  ASSERT_FALSE(write(0, std::string(200 * 4096, 'x')));
  EXPECT_FALSE(list("", 203).is_cut);
  EXPECT_TRUE(list("", 202).is_cut);
  EXPECT_TRUE(close(image));
}

TEST_F(PoolObjectsTest, TellsWhichServerDidNotList) {
  create_and_open(200 * 4096, {4096, 4096, 1});
  EXPECT_TRUE(close(image));
  stop(1);
  ASSERT_TRUE(until([&] { return !gateway->objecter().map()->find_osd(1)->up; }));
  const PoolObjects found = list("");
  ASSERT_EQ(found.unlisted.size(), 1u);
  EXPECT_EQ(found.unlisted.front().osd, 1);
}

}  // namespace
}  // namespace lunar::gateway
