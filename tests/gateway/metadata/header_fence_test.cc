// SPDX-License-Identifier: LGPL-2.1-or-later
#include "gateway/metadata/header_fence.h"

#include "gateway/metadata/fence.h"
#include "objecter/protocol/placement.h"
#include "tests/gateway/metadata/metadata_fixture.h"

namespace lunar::gateway {
namespace {

class HeaderFenceTest : public MetadataFixture {
 protected:
  void SetUp() override {
    const auto made = create("disk", 8u << 20);
    ASSERT_TRUE(made);
    id_ = made->id;
    fence.emplace(*gateway, ImageSpec{"lunar", "disk"}, pool, id_, false);
  }
  void begin_to_lift() {
    is_let_in_.reset();
    run_to_done<bool>(*center, fence->try_to_lift(),
                      [this](bool is_let_in) { is_let_in_ = is_let_in; });
  }
  bool wait_for_lift() {
    EXPECT_TRUE(until([&] { return is_let_in_.has_value(); }));
    return is_let_in_.value_or(false);
  }
  bool try_to_lift() {
    begin_to_lift();
    return wait_for_lift();
  }

  std::optional<HeaderFence> fence;

 private:
  ImageId id_ = 0;
  std::optional<bool> is_let_in_;
};

TEST_F(HeaderFenceTest, IsLiftedWhenNoServerRefusesUs) {
  EXPECT_FALSE(fence->is_fenced());
  fence->fence("a server refuses this gateway");
  EXPECT_TRUE(fence->is_fenced());
  EXPECT_FALSE(fence->is_lost());
  EXPECT_TRUE(try_to_lift());
  EXPECT_FALSE(fence->is_fenced());
}

TEST_F(HeaderFenceTest, StaysWhileAServerRefusesUs) {
  fence->fence("a server refuses this gateway");
  const auto info = gateway->find_pool("lunar");
  ASSERT_TRUE(info);
  Registration ours;
  ours.entity = gateway->entity();
  ours.instance = gateway->instance();
  ours.nonce = gateway->nonce();
  ASSERT_TRUE(run(fence_start(*make_client("other"), *info, ours)));
  EXPECT_FALSE(try_to_lift());
  EXPECT_TRUE(fence->is_fenced());
}

// The ack of that notify promised that no IO begins.
TEST_F(HeaderFenceTest, StaysWhenAChangeIsToldOfWhileServersAreAsked) {
  fence->fence("a server refuses this gateway");
  begin_to_lift();
  fence->on_told();
  EXPECT_FALSE(wait_for_lift());
  EXPECT_TRUE(fence->is_fenced());
}

TEST_F(HeaderFenceTest, IsLiftedOnceTheHeaderWasReadAfterAChange) {
  fence->fence("a server refuses this gateway");
  fence->on_told();
  EXPECT_FALSE(try_to_lift());
  fence->on_reading();
  EXPECT_TRUE(try_to_lift());
}

// What servers have lost is for a flush of the initiator's, through whichever start of the gateway.
TEST_F(HeaderFenceTest, HearsOfNoLossThatIsForAnInitiator) {
  auto opened = open(*gateway, "disk");
  ASSERT_TRUE(opened) << opened.error().message;
  image = std::move(*opened);
  ASSERT_FALSE(write(0, "x"));
  const auto info = gateway->find_pool("lunar");
  const std::string object = data_object_name(image->id(), 0);
  const auto server = objecter::osd_of_pg(*info, objecter::pg_of_object(*info, object));
  osds[server].store->fail_next(osd::FaultyStore::Call::kFlush,
                                make_error_code(std::errc::io_error));
  fence->fence("a server refuses this gateway");
  EXPECT_TRUE(try_to_lift()) << "every server has carried out the flush, though one lost writes";
  const uint64_t nonce = gateway->nonce() + 1;
  image.reset();
  fence.reset();
  end_client(gateway);
  gateway = make_client("gateway", stack, nonce);
  opened = open(*gateway, "disk");
  ASSERT_TRUE(opened) << opened.error().message;
  image = std::move(*opened);
  const auto flush = [&] { return io([&](auto done) { image->flush({}, done); }).error; };
  EXPECT_EQ(flush(), objecter::OsdErrc::kLostWrites);
  EXPECT_FALSE(flush());
}

TEST_F(HeaderFenceTest, ALostOneIsFencedForGood) {
  fence->lose("the image was removed");
  EXPECT_TRUE(fence->is_fenced());
  EXPECT_TRUE(fence->is_lost());
  fence->on_told();
  fence->on_reading();
  EXPECT_FALSE(try_to_lift());
  EXPECT_TRUE(fence->is_lost());
}

}  // namespace
}  // namespace lunar::gateway
