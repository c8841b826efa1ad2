// SPDX-License-Identifier: LGPL-2.1-or-later
#include "bstore_plugin/scsi/lba_status.h"

#include <gtest/gtest.h>

#include <boost/endian/conversion.hpp>

namespace lunar::bstore_plugin {
namespace {

constexpr uint64_t kImage = 1u << 20;
constexpr std::size_t kRoom = 4096;

struct Descriptor {
  uint64_t lba = 0;
  uint32_t blocks = 0;
  bool is_allocated = false;
  friend bool operator==(const Descriptor&, const Descriptor&) = default;
};

std::vector<Descriptor> descriptors(const LbaStatusAnswer& answer) {
  const std::vector<std::byte> bytes = answer.encode();
  const auto* at = reinterpret_cast<const unsigned char*>(bytes.data());
  EXPECT_EQ(boost::endian::load_big_u32(at), bytes.size() - 4);
  std::vector<Descriptor> out;
  for (std::size_t i = 8; i < bytes.size(); i += 16) {
    out.push_back({boost::endian::load_big_u64(at + i), boost::endian::load_big_u32(at + i + 8),
                   at[i + 12] == 0});
  }
  return out;
}

TEST(LbaStatusAnswerTest, JoinsNeighboursOfOneState) {
  LbaStatusAnswer answer(512, 9, kRoom);
  EXPECT_EQ(answer.next(), 512u);
  answer.add({1024, true}, kImage);
  answer.add({512, true}, kImage);
  answer.add({2048, false}, kImage);
  EXPECT_EQ(answer.next(), 512u + 1536 + 2048);
  EXPECT_EQ(descriptors(answer), (std::vector<Descriptor>{{1, 3, true}, {4, 4, false}}));
}

TEST(LbaStatusAnswerTest, ABlockThatIsPartlyAllocatedIsAllocated) {
  LbaStatusAnswer answer(0, 9, kRoom);
  answer.add({100, true}, kImage);   // up to the end of its block
  answer.add({700, false}, kImage);  // one whole block, and a part of the next
  answer.add({188, false}, kImage);  // less than a block
  EXPECT_EQ(descriptors(answer),
            (std::vector<Descriptor>{{0, 1, true}, {1, 1, false}, {2, 1, true}}));
}

TEST(LbaStatusAnswerTest, EndsWithTheImage) {
  LbaStatusAnswer answer(kImage - 512, 9, kRoom);
  ASSERT_TRUE(answer.wants_more(kImage));
  answer.add({4096, true}, kImage);
  EXPECT_FALSE(answer.wants_more(kImage));
  EXPECT_EQ(descriptors(answer), (std::vector<Descriptor>{{kImage / 512 - 1, 1, true}}));
}

// One run more than there is room for is looked at, as the last one may go on.
TEST(LbaStatusAnswerTest, EndsWhenTheInitiatorHasNoMoreRoom) {
  LbaStatusAnswer answer(0, 9, 2 * 16);
  bool is_allocated = false;
  int asked = 0;
  for (; answer.wants_more(kImage); ++asked) {
    answer.add({512, is_allocated}, kImage);
    is_allocated = !is_allocated;
  }
  EXPECT_EQ(asked, 3);
}

TEST(LbaStatusAnswerTest, LooksAtABoundedNumberOfExtents) {
  LbaStatusAnswer answer(0, 9, kRoom);
  int asked = 0;
  for (; answer.wants_more(kImage); ++asked) answer.add({512, false}, kImage);
  EXPECT_EQ(asked, 256);
  EXPECT_EQ(descriptors(answer), (std::vector<Descriptor>{{0, 256, false}}));
}

}  // namespace
}  // namespace lunar::bstore_plugin
