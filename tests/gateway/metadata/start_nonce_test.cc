// SPDX-License-Identifier: LGPL-2.1-or-later
#include "gateway/start_nonce.h"

#include "tests/gateway/metadata/metadata_fixture.h"
#include "tests/support/sizes.h"

namespace lunar::gateway {
namespace {

using namespace std::chrono_literals;
using objecter::OsdErrc;

uint64_t clock_in(std::chrono::hours ahead) {
  const auto when = std::chrono::system_clock::now().time_since_epoch() + ahead;
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(when).count());
}

TEST(NonceAfterTest, IsNewerThanWhatIsKnownAndThanTheClockOfAnEarlierStart) {
  EXPECT_EQ(nonce_after({}, 1000, 0), 1000u);
  EXPECT_EQ(nonce_after({.newest = 999, .silent = {}}, 1000, 0), 1000u);
  EXPECT_EQ(nonce_after({.newest = 5000, .silent = {}}, 1000, 0), 5001u);
  EXPECT_EQ(nonce_after({.newest = 5000, .silent = {}}, 1000, 7), 5008u);
  EXPECT_EQ(nonce_after({.newest = UINT64_MAX, .silent = {}}, 1000, 7), UINT64_MAX);
}

class StartNonceTest : public MetadataFixture {
 protected:
  KnownStarts known_starts() {
    std::optional<KnownStarts> known;
    find_known_starts(*gateway, "tgtd", 2s, [&](KnownStarts found) { known = std::move(found); });
    EXPECT_FALSE(known) << "done ran inside the call";
    EXPECT_TRUE(until([&] { return known.has_value(); }));
    return known.value_or(KnownStarts());
  }
};

TEST_F(StartNonceTest, OfAnInstanceThatNobodyKnowsThereIsNone) {
  EXPECT_EQ(known_starts().newest, 0u);
  EXPECT_TRUE(known_starts().silent.empty());
}

TEST_F(StartNonceTest, AGatewayRestartedWithItsClockADayBackWorksAtOnce) {
  ASSERT_TRUE(create("disk", 8 * kMiB));
  Client* earlier = make_client("tgtd", stack, clock_in(24h));
  auto opened = open(*earlier, "disk");
  ASSERT_TRUE(opened);
  Client* by_clock = make_client("tgtd", stack, clock_in(0h));
  const auto refused = open(*by_clock, "disk");
  ASSERT_FALSE(refused) << "the clock alone would do";
  EXPECT_EQ(refused.error().code, OsdErrc::kFenced);

  const KnownStarts known = known_starts();
  EXPECT_EQ(known.newest, earlier->nonce());
  Client* restarted = make_client("tgtd", stack, nonce_after(known, clock_in(0h), 3));
  auto again = open(*restarted, "disk");
  ASSERT_TRUE(again) << again.error().message;
  image = std::move(*again);
  EXPECT_FALSE(write(0, "new"));
  std::swap(image, *opened);
  EXPECT_EQ(write(0, "old"), OsdErrc::kFenced);
  EXPECT_TRUE(close(image));
  EXPECT_TRUE(close(*opened));
}

TEST_F(StartNonceTest, AServerThatIsDownIsNotWaitedForAndTold) {
  stop(2);
  ASSERT_TRUE(until([&] { return !gateway->objecter().map()->find_osd(2)->up; }));
  EXPECT_EQ(known_starts().silent, std::vector<objecter::OsdId>{2});
}

}  // namespace
}  // namespace lunar::gateway
