// SPDX-License-Identifier: LGPL-2.1-or-later
#include "gateway/image_opening.h"

#include "tests/gateway/metadata/metadata_fixture.h"

namespace lunar::gateway {
namespace {

using namespace std::chrono_literals;
using Opened = std::shared_ptr<Image>;

class ImageOpeningTest : public MetadataFixture {
 protected:
  void SetUp() override { ASSERT_TRUE(create("disk", 8u << 20)); }
  void TearDown() override {
    image.reset();
    turn();
    if (client_ == nullptr) return;
    bool is_shut_down = false;
    client_->shutdown([&is_shut_down] { is_shut_down = true; });
    EXPECT_TRUE(until([&] { return is_shut_down; }));
    client_.reset();
  }

  // One that has just begun to look for a map, at this address.
  Client& new_client(const char* mon_host) {
    EXPECT_TRUE(config_.set("mon_host", mon_host));
    EXPECT_TRUE(config_.set("auth_client_required", "none"));
    auto made = Client::create(config_, {"new", 0}, std::make_unique<msgr::BorrowedStack>(stack),
                               *center, perf_);
    EXPECT_TRUE(made) << made.error().message;
    client_ = std::move(*made);
    EXPECT_EQ(client_->objecter().map(), nullptr);
    return *client_;
  }
  Outcome<Opened> open_when_mapped(Client& client, const char* name,
                                   std::chrono::nanoseconds timeout) {
    return wait<Opened>([&](auto done) {
      open_image_when_mapped(client, {"lunar", name}, {}, timeout, std::move(done));
    });
  }

 private:
  Config config_;
  std::unique_ptr<Client> client_;
};

TEST_F(ImageOpeningTest, OpensAnImageWhenTheMapHasCome) {
  Client& client = new_client("127.0.0.1:6800");
  auto opened = open_when_mapped(client, "disk", 10s);
  ASSERT_TRUE(opened) << opened.error().message;
  EXPECT_EQ((*opened)->size(), 8u << 20);
  EXPECT_TRUE(close(std::move(*opened)));
}

TEST_F(ImageOpeningTest, GivesUpWithoutAMap) {
  Client& client = new_client("127.0.0.1:9");
  const auto opened = open_when_mapped(client, "disk", 50ms);
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, objecter::OsdErrc::kUnreachable);
}

TEST_F(ImageOpeningTest, SaysWhyAnImageCannotBeOpened) {
  const auto opened = open_when_mapped(*gateway, "none", 10s);
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, objecter::OsdErrc::kNoSuchObject);
}

// As the plugin does, when it has told tgtd that the cluster does not answer.
TEST_F(ImageOpeningTest, AnImageThatNobodyTakesGivesUpItsLock) {
  bool is_open = false;
  open_image_when_mapped(
      *gateway, {"lunar", "disk"}, {}, 10s,
      [&is_open](const Outcome<Opened>& opened) { is_open = opened.has_value(); });
  EXPECT_FALSE(is_open);
  ASSERT_TRUE(until([&] { return is_open; }));
  auto again = open(*make_client("other"), "disk", {.lock = OpenLock::kExclusive});
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_TRUE(close(std::move(*again)));
}

}  // namespace
}  // namespace lunar::gateway
