// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/local/key_table.h"

#include <gtest/gtest.h>

#include <vector>

namespace lunar::msgr::local {
namespace {

class KeyTableTest : public testing::Test {
 protected:
  std::vector<KeyEntry> entries_ = std::vector<KeyEntry>(kMaxKeys);
  Bytes memory_{reinterpret_cast<std::byte*>(entries_.data()), kKeyTableBytes};
  KeyTable owner_{memory_};
  KeyTable peer_{memory_};
  const KeyName key_{5, 9};
  const KeyRange range_{1, 4096, 8192, RemoteAccess::kWrite};
};

TEST_F(KeyTableTest, AKeyKeepsItsNumbersOnTheWire) {
  const RemoteKey wire = KeyName{1023, UINT32_MAX}.encode({64, 0xfffff0, 16, RemoteAccess::kRead});
  EXPECT_EQ(wire.length, 16u);
  uint32_t region = 0, offset = 0;
  const KeyName name = KeyName::decode(wire, region, offset);
  EXPECT_EQ(name.slot, 1023u);
  EXPECT_EQ(name.generation, UINT32_MAX);
  EXPECT_EQ(region, 64u);
  EXPECT_EQ(offset, 0xfffff0u);
}

TEST_F(KeyTableTest, OnlyTheKeyThatIsOpenBeginsAMove) {
  EXPECT_FALSE(peer_.begin_move(key_)) << "before it was published";
  owner_.publish(key_, range_);
  EXPECT_FALSE(peer_.begin_move({5, 8}));
  EXPECT_FALSE(peer_.begin_move({5, 0}));
  EXPECT_FALSE(peer_.begin_move({6, 9}));
  const auto range = peer_.begin_move(key_);
  ASSERT_TRUE(range);
  EXPECT_EQ(range->region, 1u);
  EXPECT_EQ(range->offset, 4096u);
  EXPECT_EQ(range->length, 8192u);
  EXPECT_EQ(range->access, RemoteAccess::kWrite);
  EXPECT_FALSE(peer_.begin_move(key_)) << "one at a time";
  EXPECT_TRUE(peer_.end_move(key_));
  EXPECT_TRUE(peer_.begin_move(key_));
}

TEST_F(KeyTableTest, AKeyIsTakenBackUnlessSomethingMoves) {
  owner_.publish(key_, range_);
  ASSERT_TRUE(peer_.begin_move(key_));
  EXPECT_FALSE(owner_.take_back(key_));
  EXPECT_TRUE(peer_.end_move(key_)) << "an attempt changes nothing";
  EXPECT_TRUE(owner_.take_back(key_));
  EXPECT_FALSE(peer_.begin_move(key_));
}

TEST_F(KeyTableTest, AMoveByAKeyThatWasForcedBackEndsInVain) {
  owner_.publish(key_, range_);
  ASSERT_TRUE(peer_.begin_move(key_));
  owner_.force(key_);
  owner_.publish({5, 10}, range_);
  EXPECT_FALSE(peer_.end_move(key_));
  EXPECT_TRUE(peer_.begin_move({5, 10})) << "and leaves the slot's next key alone";
}

}  // namespace
}  // namespace lunar::msgr::local
