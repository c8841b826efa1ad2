// SPDX-License-Identifier: LGPL-2.1-or-later
// Verified random IO of two gateways over real servers in memory, most of it one-sided, while links
// are cut under frames, pulls and pushes, keys are refused and bytes are damaged on their way.
// Every IO must succeed, and every byte must be the last one written.
#include <cstring>
#include <nlohmann/json.hpp>

#include "common/random.h"
#include "msgr/errors.h"
#include "tests/gateway/image_fixture.h"
#include "tests/gateway/mixed_io.h"
#include "tests/support/sizes.h"

namespace lunar::gateway {
namespace {

constexpr uint64_t kImageBytes = 12 * kMiB;
constexpr uint64_t kRegions = 6;  // one IO in flight in each
constexpr int kRounds = 100;

// One loop, so no lock.
struct Havoc final : msgr::LoopbackInjector {
  explicit Havoc(uint64_t seed) : random(seeded_engine(seed)) {}
  bool strikes(uint64_t one_in) { return is_on && random() % one_in == 0; }

  Verdict on_send(const msgr::Address&, std::size_t bytes) override { return step(bytes); }
  Verdict on_receive(const msgr::Address&, std::size_t bytes) override { return step(bytes); }
  Verdict step(std::size_t bytes) {
    if (!strikes(250)) return {};
    ++cuts;
    return {make_error_code(msgr::MsgrErrc::kInjected), {}, bytes == 0 ? 0 : random() % bytes};
  }
  std::error_code on_expose(std::size_t) override {
    return strikes(8) ? std::make_error_code(std::errc::not_enough_memory) : std::error_code();
  }
  msgr::EventCenter::Clock::duration on_remote_read(std::size_t) override {
    return strikes(4) ? std::chrono::microseconds(random() % 3000) : std::chrono::microseconds(0);
  }
  std::error_code on_moved(bool, Bytes moved) override {
    if (strikes(60)) {
      ++damages;
      moved[random() % moved.size()] ^= std::byte{0x10};
    }
    if (!strikes(60)) return {};
    ++cuts;
    return make_error_code(msgr::MsgrErrc::kInjected);
  }

  RandomEngine random;
  bool is_on = false;
  int cuts = 0;
  int damages = 0;
};

struct Network {
  explicit Network(uint64_t seed) : havoc(seed) {
    loopback.one_sided = true;
    loopback.max_fragment_bytes = 128u << 10;
    loopback.windows = 24;
    loopback.injector = &havoc;
  }
  Havoc havoc;
  msgr::LoopbackOptions loopback;
};

class OneSidedSoakTest : private Network,
                         public ImageFixture,
                         public testing::WithParamInterface<uint64_t> {
 protected:
  OneSidedSoakTest()
      : Network(GetParam()),
        ImageFixture(loopback, {{"lunar_one_sided_threshold", "16K"},
                                {"ms_async_rdma_fragment_size", "64K"},
                                {"ms_initial_backoff", "1ms"},
                                {"objecter_op_timeout", "60s"}}) {}
  ~OneSidedSoakTest() override { havoc.is_on = false; }

  uint64_t sum(const PerfRegistry& of, const std::string& group, const std::string& name) {
    uint64_t total = 0;
    const auto dump = nlohmann::json::parse(of.dump());
    for (const auto& [key, counters] : dump.items()) {
      if (key.rfind(group, 0) == 0 && counters.contains(name)) {
        total += counters[name].get<uint64_t>();
      }
    }
    return total;
  }
  uint64_t at_servers(const std::string& name) {
    uint64_t total = 0;
    for (auto& [id, osd] : osds) total += sum(*osd.perf, "osd_one_sided", name);
    return total;
  }

  using Network::havoc;
};

TEST_P(OneSidedSoakTest, EveryByteIsTheLastOneWritten) {
  const OpenOptions shared{.lock = OpenLock::kShared};
  create_and_open(kImageBytes, {.object_size = 2 * kMiB, .stripe_unit = 2 * kMiB}, shared);
  Client* second = make_client("second");
  auto opened = open(*second, "disk", shared);
  ASSERT_TRUE(opened) << opened.error().message;
  std::shared_ptr<Image> seconds = std::move(*opened);
  MixedIo mixed(havoc.random, kImageBytes, kRegions);
  havoc.is_on = true;
  for (int round = 0; round < kRounds; ++round) {
    SCOPED_TRACE(round);
    std::vector<std::unique_ptr<MixedIo::Io>> ios;
    for (uint64_t region = 0; region < kRegions; ++region) {
      const bool is_second = (region + static_cast<uint64_t>(round)) % 2 == 1;
      ios.push_back(
          mixed.start(is_second ? *second : *gateway, is_second ? *seconds : *image, region));
    }
    ASSERT_TRUE(until(
        [&] {
          return std::all_of(ios.begin(), ios.end(),
                             [](const auto& io) { return io->result.has_value(); });
        },
        std::chrono::seconds(60)));
    for (auto& io : ios) ASSERT_EQ(mixed.finish(*io), "");
  }
  havoc.is_on = false;
  EXPECT_TRUE(read(0, kImageBytes) == mixed.model()) << "the image at rest";
  EXPECT_TRUE(close(std::move(seconds)));
  EXPECT_EQ(stack.keys_out(), 0u);

  EXPECT_GT(havoc.cuts, 0);
  EXPECT_GT(havoc.damages, 0);
  EXPECT_GT(at_servers("pulled_ops"), 0u);
  EXPECT_GT(at_servers("pushed_ops"), 0u);
  EXPECT_GT(sum(perf_, "objecter", "inline_no_key"), 0u);
  EXPECT_GE(sum(perf_, "objecter", "inline_retry"),
            at_servers("pull_stale") + at_servers("pull_failed") + at_servers("pull_damaged") +
                at_servers("pull_lease_over") + at_servers("pull_no_memory"))
      << "an answer was not heard";
}

INSTANTIATE_TEST_SUITE_P(Seeds, OneSidedSoakTest, testing::Range<uint64_t>(1, 9));

// No faults: one-sided payload is copied at neither end, and the reply says that it was one-sided.
class OneSidedPathTest : public ImageFixture {
 protected:
  static msgr::LoopbackOptions network() {
    msgr::LoopbackOptions options;
    options.one_sided = true;
    return options;
  }
  OneSidedPathTest() : ImageFixture(network(), {{"lunar_one_sided_threshold", "64K"}}) {}
};

TEST_F(OneSidedPathTest, LargeRegisteredIoIsMovedByTheServerAndSmallIoIsSent) {
  create_and_open(8 * kMiB);
  msgr::RegisteredBuffer lease = gateway->front_end_buffers().allocate(5 * kMiB);
  for (std::size_t i = 0; i < lease.bytes().size(); ++i) {
    lease.bytes()[i] = static_cast<std::byte>(i * 13 + i / 4096);
  }
  const std::string data(as_text(lease.bytes()));
  IoResult done = io([&](auto then) { image->write(0, lease.bytes(), {.memory = &lease}, then); });
  ASSERT_FALSE(done.error);
  EXPECT_EQ(done.bytes_one_sided, 5 * kMiB);
  EXPECT_EQ(done.bytes_inline, 0u);
  std::memset(lease.bytes().data(), 0, lease.bytes().size());
  done = io([&](auto then) { image->read(0, lease.bytes(), {.memory = &lease}, then); });
  ASSERT_FALSE(done.error);
  EXPECT_EQ(done.bytes_one_sided, 5 * kMiB);
  EXPECT_TRUE(as_text(lease.bytes()) == data);

  msgr::RegisteredBuffer small = gateway->front_end_buffers().allocate(4096);
  done = io([&](auto then) { image->write(0, small.bytes(), {.memory = &small}, then); });
  EXPECT_EQ(done.bytes_inline, 4096u);
  const auto counters = nlohmann::json::parse(perf_.dump("objecter")).at("objecter");
  EXPECT_EQ(counters.at("payload_copied"), 0u);
  EXPECT_EQ(counters.at("keys_out"), 0u);
  EXPECT_EQ(counters.at("one_sided_bytes"), 10 * kMiB);
}

TEST_F(OneSidedPathTest, MemoryThatReachesOutOfItsLeaseIsSent) {
  create_and_open(8 * kMiB);
  const msgr::RegisteredBuffer lease = gateway->front_end_buffers().allocate(2 * kMiB);
  std::memset(lease.bytes().data(), 0x5a, 2 * kMiB);
  const msgr::RegisteredBuffer first(nullptr, lease.bytes().first(kMiB), lease.cookie());
  const msgr::RegisteredBuffer second(nullptr, lease.bytes().subspan(kMiB), lease.cookie());
  for (const auto* taken_for : {&first, &second}) {  // too short; begins after it
    const IoResult done =
        io([&](auto then) { image->write(0, lease.bytes(), {.memory = taken_for}, then); });
    ASSERT_FALSE(done.error);
    EXPECT_EQ(done.bytes_inline, 2 * kMiB);
    EXPECT_EQ(done.bytes_one_sided, 0u);
  }
  EXPECT_TRUE(read(0, 2 * kMiB) == as_text(lease.bytes()));
}

}  // namespace
}  // namespace lunar::gateway
