// SPDX-License-Identifier: LGPL-2.1-or-later
#include "gateway/metadata/open_header.h"

#include <nlohmann/json.hpp>

#include "common/json.h"
#include "gateway/metadata/header_object.h"
#include "gateway/metadata/metadata_object.h"
#include "gateway/metadata/name_object.h"
#include "objecter/protocol/placement.h"
#include "tests/gateway/metadata/metadata_fixture.h"
#include "tests/support/sizes.h"

namespace lunar::gateway {
namespace {

using objecter::OsdErrc;

class OpenHeaderTest : public MetadataFixture {
 protected:
  using Opened = std::shared_ptr<OpenHeader>;

  OpenHeaderTest() : MetadataFixture({{"lunar_header_poll", "10ms"}}) {}

  void SetUp() override { ASSERT_TRUE(create("disk", 8 * kMiB)); }
  void TearDown() override {
    for (const Opened& each : opened_) {
      each->stop();
      EXPECT_TRUE(strike(each));
    }
  }

  Opened open_header(Client& client, bool is_read_only = false) {
    const OpenOptions options{.read_only = is_read_only, .lock = OpenLock::kShared};
    auto header = wait<Opened>([&](auto done) {
      OpenHeader::open(client, {"lunar", "disk"}, options, std::move(done));
    });
    EXPECT_TRUE(header) << header.error().message;
    if (header) opened_.push_back(*header);
    return header.value_or(nullptr);
  }
  Outcome<void> strike(const Opened& header) {
    return wait<void>([&](auto done) { header->strike(std::move(done)); });
  }
  std::vector<Registration> registrations() {
    const auto found = run(find_header(*gateway, {"lunar", "disk"}));
    EXPECT_TRUE(found);
    return found ? found->header.registrations : std::vector<Registration>{};
  }
  void set_size(uint64_t size) {
    EXPECT_TRUE(wait<void>([&](auto done) {
      resize_image(*gateway, {"lunar", "disk"}, {.size = size}, {}, std::move(done));
    }));
  }

 private:
  std::vector<Opened> opened_;
};

TEST_F(OpenHeaderTest, RegistersTheClientAndStrikesItAtTheEnd) {
  const Opened header = open_header(*gateway);
  ASSERT_EQ(registrations().size(), 1u);
  const Registration ours = registrations().front();
  EXPECT_EQ(ours.entity, gateway->entity());
  EXPECT_EQ(ours.instance, gateway->instance());
  EXPECT_EQ(ours.nonce, gateway->nonce());
  EXPECT_NE(ours.cookie, 0u);
  EXPECT_EQ(header->header().registrations, std::vector<Registration>{ours});
  header->stop();
  EXPECT_TRUE(strike(header));
  EXPECT_TRUE(registrations().empty());
}

// A program that opens, closes and ends at once, as `lunar export` does.
class ShortClientTest : public OpenHeaderTest {
 protected:
  void SetUp() override {
    OpenHeaderTest::SetUp();
    EXPECT_TRUE(config_.set("mon_host", "127.0.0.1:6800"));
    EXPECT_TRUE(config_.set("auth_client_required", "none"));
    auto made = Client::create(config_, {"short", 0}, std::make_unique<msgr::BorrowedStack>(stack),
                               *center, perf_);
    ASSERT_TRUE(made) << made.error().message;
    client_ = std::move(*made);
    bool is_mapped = false;
    client_->objecter().wait_for_map(
        std::chrono::seconds(10), [&](const Outcome<objecter::OsdMapRef>&) { is_mapped = true; });
    ASSERT_TRUE(until([&] { return is_mapped; }));
  }
  Outcome<Opened> open_short(const OpenOptions& options) {
    return wait<Opened>([&](auto done) {
      OpenHeader::open(*client_, {"lunar", "disk"}, options, std::move(done));
    });
  }
  Client& short_client() { return *client_; }
  // Its shutdown begins inside the call that says so.
  void end_client() {
    client_->shutdown([this] { is_shut_down_ = true; });
  }
  void wait_for_end() {
    ASSERT_TRUE(until([&] { return is_shut_down_; }));
    client_.reset();
  }
  std::vector<Holder> holders() {
    const auto status = wait<ImageStatus>([&](auto done) {
      image_status(*gateway, {"lunar", "disk"}, std::move(done));
    });
    EXPECT_TRUE(status);
    return status ? status->holders : std::vector<Holder>();
  }

 private:
  Config config_;
  PerfRegistry perf_;
  std::unique_ptr<Client> client_;
  bool is_shut_down_ = false;
};

TEST_F(ShortClientTest, LeavesNoWatchBehindWhenItEndsRightAfterItHasClosed) {
  auto header = open_short({.read_only = true});
  ASSERT_TRUE(header) << header.error().message;
  (*header)->stop();
  (*header)->strike([&](const Outcome<void>&) { end_client(); });
  header->reset();
  wait_for_end();
  EXPECT_TRUE(holders().empty());
}

TEST_F(ShortClientTest, LeavesNoWatchBehindWhenItEndsRightAfterItWasRefused) {
  const Opened theirs = open_header(*gateway);
  const auto refused = open_short({.lock = OpenLock::kExclusive});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, OsdErrc::kBusy);
  end_client();
  wait_for_end();
  ASSERT_EQ(holders().size(), 1u);
  EXPECT_EQ(holders().front().registration, registrations().front());
}

TEST_F(ShortClientTest, LeavesNoWatchBehindWhenItEndsRightAfterItHasResized) {
  std::optional<Outcome<void>> resized;
  resize_image(short_client(), {"lunar", "disk"}, {.size = 16 * kMiB}, {}, [&](Outcome<void> done) {
    resized = std::move(done);
    end_client();
  });
  wait_for_end();
  ASSERT_TRUE(resized && *resized);
  for (const Holder& each : holders()) EXPECT_FALSE(each.is_reader) << each.is_connected;
}

TEST_F(ShortClientTest, DoesNotWaitLongForASilentServer) {
  auto header = open_short({.read_only = true});
  ASSERT_TRUE(header) << header.error().message;
  stop(server_of(*gateway, header_of(pool, (*header)->header().id)).osd);
  const auto begun = time.now();
  (*header)->stop();
  bool is_closed = false;
  (*header)->strike([&](const Outcome<void>&) { is_closed = true; });
  ASSERT_TRUE(until([&] { return is_closed; }));
  EXPECT_LE(time.now() - begun, std::chrono::milliseconds(1100));
  header->reset();
  end_client();
  wait_for_end();
}

TEST_F(OpenHeaderTest, AReadOnlyOneRegistersNothingAndIsNeverFenced) {
  const Opened header = open_header(*gateway, true);
  EXPECT_TRUE(registrations().empty());
  bool is_seen = false;
  header->watch_size([&is_seen](uint64_t) { is_seen = true; });
  set_size(16 * kMiB);
  ASSERT_TRUE(until([&] { return is_seen; }));
  EXPECT_FALSE(header->is_fenced());
}

// A replacement of a header syncs its file and its folder.
TEST_F(OpenHeaderTest, OpeningReplacesTheHeaderOnceAndAnIdleImageNever) {
  const auto replaced = [&] {
    std::size_t calls = 0;
    for (auto& [id, osd] : osds) calls += osd.store->calls(osd::FaultyStore::Call::kReplace);
    return calls;
  };
  const auto ops = [&] {
    const auto json =
        parse_json<nlohmann::json>(perf_.dump("objecter"), JsonBounds{.bytes = 1 << 20});
    return json->at("objecter").at("op").get<uint64_t>();
  };
  const std::size_t before = replaced();
  const Opened header = open_header(*gateway);
  const std::size_t opened = replaced();
  const uint64_t ops_before = ops();
  ASSERT_TRUE(until([&] { return ops() >= ops_before + 20; }));  // polls
  const std::size_t idle = replaced();
  header->stop();
  EXPECT_TRUE(strike(header));
  std::printf("header fsyncs: %zu per open, %zu per close, %zu while idle\n", 2 * (opened - before),
              2 * (replaced() - idle), 2 * (idle - opened));
  EXPECT_EQ(opened - before, 1u);
  EXPECT_EQ(idle, opened);
  EXPECT_EQ(replaced() - idle, 1u);
}

TEST_F(OpenHeaderTest, ARestartedGatewayTakesItsRegistrationOver) {
  open_header(*gateway);
  Client* restarted = make_client("gateway");
  const Opened header = open_header(*restarted);
  ASSERT_NE(header, nullptr);
  const auto registered = [&] {
    const auto found = run(find_header(*restarted, {"lunar", "disk"}));
    return found ? found->header.registrations : std::vector<Registration>{};
  };
  ASSERT_TRUE(until([&] { return registered().size() == 1; }));
  EXPECT_EQ(registered()[0].nonce, restarted->nonce());
}

// A server that the new start has not spoken to would carry out what the old one still sends, also
// beside a third gateway: that one has to find the old one in the header, and to fence it.
TEST_F(OpenHeaderTest, AnEarlierStartStaysRegisteredWhileAServerHasNotFencedIt) {
  open_header(*gateway);
  const auto found = run(find_header(*gateway, {"lunar", "disk"}));
  ASSERT_TRUE(found);
  const auto info = gateway->find_pool("lunar");
  const auto osd_of = [&](const std::string& object) {
    return objecter::osd_of_pg(*info, objecter::pg_of_object(*info, object));
  };
  // One that has neither the name nor the header.
  objecter::OsdId away = 0;
  while (away == osd_of(name_object_of(pool, "disk").name) ||
         away == osd_of(header_object_name(found->header.id))) {
    ++away;
  }
  Client* restarted = make_client("gateway");
  stop(away);
  const Opened header = open_header(*restarted);
  ASSERT_NE(header, nullptr);
  center->run_until_idle();
  const auto after = run(find_header(*restarted, {"lunar", "disk"}));
  ASSERT_TRUE(after);
  EXPECT_EQ(after->header.registrations.size(), 2u);
  start(away);
}

// A later start of the gateway has the same instance and another nonce.
TEST_F(OpenHeaderTest, OneWhoseRegistrationIsTakenOverIsFencedAndStrikesNothing) {
  const Opened header = open_header(*gateway);
  ASSERT_TRUE(run(update_header(*gateway, pool, header->header().id, [](ImageHeader& changed) {
    ++changed.registrations.front().cookie;
    return Outcome<void>();
  })));
  ASSERT_TRUE(until([&] { return header->is_fenced(); }));
  header->stop();
  EXPECT_TRUE(strike(header));
  EXPECT_EQ(registrations().size(), 1u);
}

TEST_F(OpenHeaderTest, AdoptsANewSizeAndSaysSo) {
  const Opened header = open_header(*gateway);
  uint64_t seen = 0;
  header->watch_size([&seen](uint64_t size) { seen = size; });
  set_size(16 * kMiB);
  ASSERT_TRUE(until([&] { return seen != 0; }));
  EXPECT_EQ(seen, 16 * kMiB);
  EXPECT_EQ(header->header().size, 16 * kMiB);
}

TEST_F(OpenHeaderTest, NothingChangesAfterStop) {
  const Opened stopped = open_header(*gateway);
  const Opened watching = open_header(*make_client("other"));
  stopped->stop();
  stopped->watch_size([](uint64_t) { ADD_FAILURE() << "told of a size after stop()"; });
  uint64_t seen = 0;
  watching->watch_size([&seen](uint64_t size) { seen = size; });
  set_size(16 * kMiB);
  ASSERT_TRUE(until([&] { return seen != 0; }));
  EXPECT_EQ(stopped->header().size, 8 * kMiB);
}

TEST_F(OpenHeaderTest, ItsPollEndsWithTheStopAndLetsItGo) {
  std::weak_ptr<OpenHeader> weak;
  {
    auto header = wait<Opened>([&](auto done) {
      OpenHeader::open(*gateway, {"lunar", "disk"}, {}, std::move(done));
    });
    ASSERT_TRUE(header);
    weak = *header;
    (*header)->stop();
    EXPECT_TRUE(strike(*header));
  }
  EXPECT_TRUE(until([&] { return weak.expired(); }));
}

}  // namespace
}  // namespace lunar::gateway
