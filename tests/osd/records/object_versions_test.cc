// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/records/object_versions.h"

#include <set>

#include "tests/osd/ops/executor_fixture.h"

namespace lunar::osd {
namespace {

using ObjectVersionsTest = StoreFixture;

TEST_F(ObjectVersionsTest, DataVersionsNeverRepeatWhateverIsForgotten) {
  auto versions = std::move(*ObjectVersions::load(*store, 3, 4));
  std::map<std::string, ObjectVersion> last;
  for (int round = 0; round < 50; ++round) {
    const std::string name = "obj" + std::to_string(round * 7 % 10);
    const ObjectId id{1, name};
    const ObjectVersion seen = versions->of_data(id);
    EXPECT_GE(seen, last[name]);
    const ObjectVersion changed = versions->change_data(id);
    EXPECT_GT(changed, seen) << "a change is always to be seen";
    EXPECT_EQ(versions->of_data(id), changed);
    last[name] = changed;
  }
}

TEST_F(ObjectVersionsTest, DataVersionsCarryTheIncarnation) {
  auto versions = std::move(*ObjectVersions::load(*store, 3));
  EXPECT_EQ(versions->change_data({1, "a"}).incarnation, 3u);
}

TEST_F(ObjectVersionsTest, AMetadataObjectThatNeverWasIsAtZero) {
  auto versions = std::move(*ObjectVersions::load(*store, 3));
  EXPECT_EQ(versions->of_metadata({1, "a"}), (ObjectVersion{0, 0}));
}

TEST_F(ObjectVersionsTest, AVersionThatIsNotWrittenIsNotSeen) {
  auto versions = std::move(*ObjectVersions::load(*store, 3));
  const auto change = [&](const char* name) {
    versions->change_metadata({1, name}, false, [](std::error_code) {});
    turn();
  };
  change("known");
  for (const char* name : {"known", "new"}) {
    const ObjectVersion before = versions->of_metadata({1, name});
    store->fail_next(FaultyStore::Call::kRecord, system_error(EIO));
    change(name);
    EXPECT_EQ(versions->of_metadata({1, name}), before) << name;
    auto after_restart = std::move(*ObjectVersions::load(*store, 4));
    EXPECT_EQ(after_restart->of_metadata({1, name}), before) << name;
    change(name);
    EXPECT_EQ(versions->of_metadata({1, name}).counter, before.counter + 1) << name;
  }
  EXPECT_TRUE(versions->is_metadata({1, "new"}));
}

TEST_F(ObjectVersionsTest, TombstonesAreFoldedAndVersionsStillGrow) {
  auto versions = std::move(*ObjectVersions::load(*store, 3));
  // Enough deleted objects that some bucket must be folded.
  const std::size_t count = ObjectVersions::kBuckets * 64;
  for (std::size_t i = 0; i < count; ++i)
    versions->change_metadata({1, "gone" + std::to_string(i)}, true, [](std::error_code) {});
  turn();
  for (std::size_t i = 0; i < count; i += 97)
    EXPECT_GE(versions->of_metadata({1, "gone" + std::to_string(i)}).counter, 1u);
  EXPECT_FALSE(versions->is_busy());
}

TEST_F(ObjectVersionsTest, ADamagedRecordIsRefusedWithASentence) {
  store->put_record("versions.00", bytes_of("garbage"), [](std::error_code) {});
  turn();
  const auto loaded = ObjectVersions::load(*store, 3);
  ASSERT_FALSE(loaded);
  EXPECT_NE(loaded.error().message.find("versions.00"), std::string::npos);
}

}  // namespace
}  // namespace lunar::osd
