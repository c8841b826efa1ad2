// SPDX-License-Identifier: LGPL-2.1-or-later
#include "gateway/io/ios_in_flight.h"

#include "tests/gateway/image_fixture.h"

namespace lunar::gateway {
namespace {

TEST(IosInFlightAloneTest, WithNoneTheWaiterRunsOnceWhenAsked) {
  IosInFlight ios;
  int runs = 0;
  ios.notify();
  ios.when_none([&runs] { ++runs; });
  EXPECT_EQ(runs, 0);
  ios.notify();
  ios.notify();
  EXPECT_EQ(runs, 1);
}

TEST(IosInFlightAloneTest, WithNoneThatReachesBeyondTheWaiterRunsOnceWhenAsked) {
  IosInFlight ios;
  int runs = 0;
  ios.when_none_beyond(4096, [&runs] { ++runs; });
  ios.when_none_beyond(0, [&runs] { ++runs; });
  EXPECT_EQ(runs, 0);
  ios.notify();
  ios.notify();
  EXPECT_EQ(runs, 2);
}

class IosInFlightTest : public ImageFixture {
 protected:
  static constexpr uint64_t kUnit = 4096;
  void SetUp() override { create_and_open(8u << 20, {kUnit, kUnit, 1}); }
};

TEST_F(IosInFlightTest, AClosedImageIsDoneAfterItsIos) {
  std::vector<std::string> order;
  const std::string data(4096, 'x');
  image->write(0, as_const_bytes(data), {}, [&](const IoResult& result) {
    EXPECT_FALSE(result.error);
    order.push_back("io");
  });
  image->close([&](const Outcome<void>& closed) {
    EXPECT_TRUE(closed);
    order.push_back("closed");
  });
  EXPECT_TRUE(order.empty());
  ASSERT_TRUE(until([&] { return order.size() == 2; }));
  EXPECT_EQ(order, (std::vector<std::string>{"io", "closed"}));
}

TEST_F(IosInFlightTest, AnIoThatIsStartedAfterCloseIsRefusedAndCloseWaitsForItsDone) {
  std::vector<std::string> order;
  image->close([&](const Outcome<void>&) { order.push_back("closed"); });
  image->flush({}, [&](const IoResult& result) {
    EXPECT_EQ(result.error, objecter::OsdErrc::kShutdown);
    order.push_back("io");
  });
  ASSERT_TRUE(until([&] { return order.size() == 2; }));
  EXPECT_EQ(order, (std::vector<std::string>{"io", "closed"}));
}

// Each IO has more extents than an IO can have in flight, so a cancelled one cannot be complete.
TEST_F(IosInFlightTest, CancelEndsEveryIoOfTheIdAndNoOther) {
  constexpr uint64_t kIoBytes = 100 * kUnit;
  const uint64_t id = gateway->next_io_id();
  std::vector<std::error_code> cancelled;
  std::optional<std::error_code> other;
  std::vector<std::byte> memory(3 * kIoBytes);
  const Bytes all(memory);
  const auto on_cancelled = [&](const IoResult& result) { cancelled.push_back(result.error); };
  image->read(0, all.first(kIoBytes), {.io_id = id}, on_cancelled);
  image->read(kIoBytes, all.subspan(kIoBytes, kIoBytes), {.io_id = id}, on_cancelled);
  image->read(2 * kIoBytes, all.subspan(2 * kIoBytes, kIoBytes), {},
              [&](const IoResult& result) { other = result.error; });
  image->cancel(id);
  image->cancel(gateway->next_io_id());
  ASSERT_TRUE(until([&] { return cancelled.size() == 2 && other; }));
  EXPECT_FALSE(*other);
  for (const std::error_code& each : cancelled) EXPECT_EQ(each, objecter::OsdErrc::kCancelled);
  EXPECT_TRUE(close(image));
}

}  // namespace
}  // namespace lunar::gateway
