// SPDX-License-Identifier: LGPL-2.1-or-later
#include "gateway/metadata/image_lock.h"

#include <cerrno>
#include <cstdlib>

#include "gateway/metadata/header_object.h"
#include "gateway/metadata/holders.h"
#include "msgr/loopback/loopback_stack.h"
#include "tests/gateway/metadata/metadata_fixture.h"
#include "tests/support/sizes.h"

namespace lunar::gateway {
namespace {

using objecter::OsdErrc;

Registration registration(const std::string& instance, uint64_t nonce, uint64_t cookie,
                          LockMode lock = LockMode::kExclusive) {
  return {"client.a", instance, nonce, cookie, lock};
}

// --- who stands against whom ---

TEST(ConflictsOfTest, AnExclusiveOneStandsAgainstEverybodyElse) {
  ImageHeader header;
  header.registrations = {registration("one", 1, 11)};
  EXPECT_EQ(conflicts_of(header, registration("two", 1, 12)).size(), 1u);
  EXPECT_EQ(conflicts_of(header, registration("two", 1, 12, LockMode::kShared)).size(), 1u);
}

TEST(ConflictsOfTest, SharedOnesStandBesideEachOtherAndAgainstAnExclusiveOne) {
  ImageHeader header;
  header.registrations = {registration("one", 1, 11, LockMode::kShared)};
  EXPECT_TRUE(conflicts_of(header, registration("two", 1, 12, LockMode::kShared)).empty());
  EXPECT_EQ(conflicts_of(header, registration("two", 1, 12)).size(), 1u);
}

TEST(ConflictsOfTest, OpensOfOneGatewayDoNotExcludeEachOther) {
  ImageHeader header;
  header.registrations = {registration("one", 1, 11)};
  EXPECT_TRUE(conflicts_of(header, registration("one", 1, 12)).empty());
  EXPECT_TRUE(conflicts_of(header, registration("one", 2, 12)).empty()) << "a later start";
}

// --- who is dead ---

objecter::Watcher watcher_of(const Registration& who, std::chrono::milliseconds silent_for = {}) {
  objecter::Watcher watcher;
  watcher.id = {{who.entity, who.instance, who.nonce}, who.cookie};
  watcher.is_connected = silent_for.count() == 0;
  watcher.disconnected_for = silent_for;
  return watcher;
}

class JudgeHoldersTest : public ::testing::Test {
 protected:
  JudgeHoldersTest() { header_.registrations = {one_}; }
  Holder judge() { return judge_holders(header_, watchers_, std::chrono::seconds(15)).front(); }
  const Registration one_ = registration("one", 1, 11);
  ImageHeader header_;
  objecter::WatcherList watchers_;
};

TEST_F(JudgeHoldersTest, OneThatIsConnectedLives) {
  watchers_.watchers = {watcher_of(one_)};
  EXPECT_TRUE(judge().is_connected);
  EXPECT_FALSE(judge().is_dead);
}

TEST_F(JudgeHoldersTest, OneWithoutAConnectionIsDeadAfterTheTimeout) {
  watchers_.watchers = {watcher_of(one_, std::chrono::milliseconds(14'999))};
  EXPECT_FALSE(judge().is_connected);
  EXPECT_FALSE(judge().is_dead);
  watchers_.watchers = {watcher_of(one_, std::chrono::milliseconds(15'000))};
  EXPECT_TRUE(judge().is_dead);
}

TEST_F(JudgeHoldersTest, OneWithoutAWatchIsDeadOnlyIfItCouldHaveComeBack) {
  watchers_.settling.settles_in = std::chrono::milliseconds(1);
  EXPECT_FALSE(judge().is_dead);
  watchers_.settling.settles_in = {};
  EXPECT_TRUE(judge().is_dead);
}

TEST_F(JudgeHoldersTest, AnOpenWithoutAWatchIsNotDeadWhileItsStartHasAnother) {
  const Registration two = registration("one", 1, 12);
  watchers_.watchers = {watcher_of(two)};
  EXPECT_FALSE(judge().is_dead) << "fencing would end both";
  watchers_.watchers = {watcher_of(two, std::chrono::seconds(15))};
  EXPECT_TRUE(judge().is_dead);
}

TEST_F(JudgeHoldersTest, TheWatchOfAnotherStartIsNotItsOwn) {
  watchers_.watchers = {watcher_of(registration("one", 2, 11))};
  EXPECT_TRUE(judge().is_dead);
}

TEST_F(JudgeHoldersTest, AWatchWithoutARegistrationIsAReader) {
  header_.registrations.clear();
  watchers_.watchers = {watcher_of(one_)};
  EXPECT_TRUE(judge().is_reader);
  EXPECT_EQ(judge().registration.instance, "one");
}

TEST(TextOfHoldersTest, NamesAClientOnceHoweverOftenItHasTheImageOpen) {
  const auto holder = [](const char* instance, uint64_t cookie, int silent_s) {
    return Holder{.registration = registration(instance, 1, cookie),
                  .is_connected = silent_s == 0,
                  .silent_for = std::chrono::seconds(silent_s)};
  };
  EXPECT_EQ(text_of_holders({holder("one", 1, 0), holder("two", 2, 3), holder("one", 3, 0)}),
            "client.a at one (2 opens), client.a at two (without a connection for 3 s)");
}

// --- images ---

// A gateway on a network that can be cut off.
struct FarGateway : private msgr::LoopbackInjector {
  explicit FarGateway(const msgr::LoopbackStack& near) : stack(options(), near) {}
  msgr::LoopbackOptions options() {
    msgr::LoopbackOptions with_this;
    with_this.injector = this;
    return with_this;
  }
  Verdict step() const {
    Verdict verdict;
    if (is_cut_off) verdict.fail = system_error(ECONNRESET);
    return verdict;
  }
  Verdict on_connect(const msgr::Address&) override { return step(); }
  Verdict on_send(const msgr::Address&, std::size_t) override { return step(); }
  Verdict on_receive(const msgr::Address&, std::size_t) override { return step(); }

  bool is_cut_off = false;
  msgr::LoopbackStack stack;
};

class ImageLockTest : public MetadataFixture {
 protected:
  ImageLockTest() : far_(stack) {}
  void SetUp() override { ASSERT_TRUE(create("disk", 8 * kMiB)); }
  // The clients go before their network.
  void TearDown() override {
    image.reset();
    far_image_.reset();
    far_.is_cut_off = false;
    if (far_client_ != nullptr) end_client(far_client_);
  }

  void open_far(const OpenOptions& options = {}) {
    far_client_ = make_client("far", far_.stack);
    auto opened = open(*far_client_, "disk", options);
    ASSERT_TRUE(opened) << opened.error().message;
    far_image_ = *opened;
  }
  // Its servers notice at once, as the links break.
  void cut_off() {
    far_.is_cut_off = true;
    far_image_->flush({}, [](const IoResult&) {});
    center->run_until_idle();
  }
  std::error_code write_far(const std::string& data) {
    return io([&](auto done) { far_image_->write(0, as_const_bytes(data), {}, done); }).error;
  }
  Outcome<ImageStatus> status() {
    return wait<ImageStatus>([&](auto done) {
      image_status(*gateway, {"lunar", "disk"}, std::move(done));
    });
  }
  std::vector<Registration> registrations() {
    const auto found = run(find_header(*gateway, {"lunar", "disk"}));
    EXPECT_TRUE(found);
    return found ? found->header.registrations : std::vector<Registration>{};
  }
  template <typename Make>
  void fill_registrations(Make make) {
    const auto found = run(find_header(*gateway, {"lunar", "disk"}));
    ASSERT_TRUE(found);
    ASSERT_TRUE(run(update_header(*gateway, pool, found->header.id, [&](ImageHeader& header) {
      for (std::size_t i = 0; header.registrations.size() < ImageHeader::kMaxRegistrations; ++i)
        header.registrations.push_back(make(i));
      return Outcome<void>();
    })));
  }
  // `others`, and the rest are of the gateway that has the image open.
  void fill_with_opens_of_far(const std::vector<Registration>& others) {
    const Registration far = registrations().at(0);
    fill_registrations([&](std::size_t i) {
      if (i < others.size()) return others[i];
      Registration another = far;
      another.cookie += i + 1;
      return another;
    });
  }

  FarGateway far_;
  Client* far_client_ = nullptr;
  std::shared_ptr<Image> far_image_;
};

TEST_F(ImageLockTest, OneGatewayHasTheLockAndTheOtherIsToldWho) {
  open_far();
  const auto refused = open(*gateway, "disk");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, OsdErrc::kBusy);
  EXPECT_NE(refused.error().message.find("client.admin at far"), std::string::npos)
      << refused.error().message;
  ASSERT_EQ(registrations().size(), 1u);
  EXPECT_TRUE(close(far_image_));
  const auto opened = open(*gateway, "disk");
  ASSERT_TRUE(opened) << opened.error().message;
  EXPECT_TRUE(close(*opened));
}

TEST_F(ImageLockTest, WhoeverMayWaitGetsItWhenItIsClosed) {
  open_far();
  std::optional<Outcome<std::shared_ptr<Image>>> opened;
  Image::open(*gateway, {"lunar", "disk"}, {.lock_wait = std::chrono::seconds(60)},
              [&](auto outcome) { opened = std::move(outcome); });
  EXPECT_TRUE(close(far_image_));
  ASSERT_TRUE(until([&] { return opened.has_value(); }));
  ASSERT_TRUE(*opened) << opened->error().message;
  EXPECT_TRUE(close(**opened));
}

TEST_F(ImageLockTest, SharedOpensStandBesideEachOther) {
  open_far({.lock = OpenLock::kShared});
  const auto second = open(*gateway, "disk", {.lock = OpenLock::kShared});
  ASSERT_TRUE(second) << second.error().message;
  EXPECT_EQ(registrations().size(), 2u);
  EXPECT_FALSE(open(*make_client("third"), "disk"));
  EXPECT_TRUE(close(*second));
  EXPECT_TRUE(close(far_image_));
  EXPECT_TRUE(registrations().empty());
}

TEST_F(ImageLockTest, OpensOfOneGatewayAreClosedOneByOne) {
  const auto first = open(*gateway, "disk");
  const auto second = open(*gateway, "disk");
  ASSERT_TRUE(first && second);
  EXPECT_EQ(registrations().size(), 2u);
  EXPECT_TRUE(close(*first));
  image = *second;
  EXPECT_FALSE(write(0, std::string(512, 'x'))) << "the other one is not fenced";
  EXPECT_TRUE(close(image));
  EXPECT_TRUE(registrations().empty());
}

TEST_F(ImageLockTest, AReaderNeedsNoLock) {
  open_far();
  const auto reader = open(*gateway, "disk", {.read_only = true});
  ASSERT_TRUE(reader) << reader.error().message;
  EXPECT_TRUE(close(*reader));
  EXPECT_TRUE(close(far_image_));
}

TEST_F(ImageLockTest, TheLockOfADeadGatewayIsTakenOverAndItChangesNothingAfterwards) {
  open_far();
  ASSERT_FALSE(write_far(std::string(512, 'a')));
  cut_off();
  const auto opened = open(*gateway, "disk");
  ASSERT_TRUE(opened) << opened.error().message;
  image = *opened;
  ASSERT_FALSE(write(0, std::string(512, 'b')));
  far_.is_cut_off = false;
  EXPECT_EQ(write_far(std::string(512, 'c')), OsdErrc::kFenced);
  EXPECT_EQ(read(0, 512), std::string(512, 'b'));
  EXPECT_TRUE(close(image));
  EXPECT_TRUE(close(far_image_));
}

// A LUN that is being opened is deleted, and made elsewhere.
TEST_F(ImageLockTest, WhoDoesNotWantTheImageAnyMoreTakesItFromNobody) {
  open_far();
  const auto unwanted = std::make_shared<bool>(true);
  const auto refused =
      open(*gateway, "disk", {.lock = OpenLock::kTakeover, .is_unwanted = unwanted});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, OsdErrc::kCancelled);
  EXPECT_EQ(registrations().size(), 1u);
  EXPECT_FALSE(write_far(std::string(512, 'a')));
  EXPECT_TRUE(close(far_image_));
}

TEST_F(ImageLockTest, ADeadGatewayKeepsNobodyFromRemovingTheImage) {
  open_far();
  cut_off();
  EXPECT_TRUE(wait<void>([&](auto done) {
    remove_image(*gateway, {"lunar", "disk"}, {}, std::move(done));
  }));
}

TEST_F(ImageLockTest, WhoHoldsItIsShownWithItsState) {
  open_far();
  auto shown = status();
  ASSERT_TRUE(shown) << shown.error().message;
  ASSERT_EQ(shown->holders.size(), 1u);
  EXPECT_TRUE(shown->holders[0].is_connected);
  cut_off();
  ASSERT_TRUE(until([&] {
    shown = status();
    return shown && shown->holders.size() == 1 && shown->holders[0].is_dead;
  }));
}

TEST_F(ImageLockTest, OneWhoseConnectionComesBackKeepsIt) {
  open_far();
  cut_off();
  far_.is_cut_off = false;
  ASSERT_TRUE(until([&] {
    const auto shown = status();
    return shown && shown->holders.size() == 1 && shown->holders[0].is_connected;
  }));
  EXPECT_FALSE(open(*gateway, "disk"));
  EXPECT_FALSE(write_far(std::string(512, 'a')));
  EXPECT_TRUE(close(far_image_));
}

TEST_F(ImageLockTest, AResizeThatWasInterruptedIsTakenOverByTheNext) {
  const auto found = run(find_header(*gateway, {"lunar", "disk"}));
  ASSERT_TRUE(found);
  ASSERT_TRUE(run(update_header(*gateway, pool, found->header.id, [](ImageHeader& header) {
    header.resizer = Registration{"client.admin", "gone", 7, 77, LockMode::kShared};
    header.trimmed_from = header.size;
    header.size = 4 * kMiB;
    return Outcome<void>();
  })));
  const auto resize = [&] {
    return wait<void>([&](auto done) {
      resize_image(*gateway, {"lunar", "disk"}, {.size = 4 * kMiB}, {}, std::move(done));
    });
  };
  Outcome<void> resized;
  EXPECT_TRUE(until([&] {  // it may come back
    resized = resize();
    return resized || resized.error().code != OsdErrc::kBusy;
  }));
  EXPECT_TRUE(resized) << resized.error().message;
  const auto after = run(find_header(*gateway, {"lunar", "disk"}));
  ASSERT_TRUE(after);
  EXPECT_FALSE(after->header.resizer);
}

TEST_F(ImageLockTest, ManyKilledGatewaysKeepNobodyFromOpeningTheImage) {
  for (const LockMode lock : {LockMode::kShared, LockMode::kExclusive}) {
    fill_registrations(
        [lock](std::size_t i) { return registration("host" + std::to_string(i), 1, i + 1, lock); });
    const OpenLock wanted = lock == LockMode::kShared ? OpenLock::kShared : OpenLock::kExclusive;
    const auto opened = open(*gateway, "disk", {.lock = wanted});
    ASSERT_TRUE(opened) << opened.error().message;
    EXPECT_EQ(registrations().size(), 1u);
    EXPECT_TRUE(close(*opened));
  }
}

TEST_F(ImageLockTest, OneDeadGatewayAmongManyThatLiveMakesRoom) {
  open_far({.lock = OpenLock::kShared});
  fill_with_opens_of_far({registration("host", 1, 1, LockMode::kShared)});
  const auto opened = open(*gateway, "disk", {.lock = OpenLock::kShared});
  ASSERT_TRUE(opened) << opened.error().message;
  EXPECT_EQ(registrations().size(), ImageHeader::kMaxRegistrations);
  EXPECT_TRUE(close(*opened));
}

TEST_F(ImageLockTest, EarlierStartsOfAGatewayLeaveRoomForIt) {
  const std::string entity = gateway->entity();
  const std::string instance = gateway->instance();
  fill_registrations([&](std::size_t i) {
    return Registration{entity, instance, 1 + i, 1 + i, LockMode::kExclusive};
  });
  const auto opened = open(*gateway, "disk");
  ASSERT_TRUE(opened) << opened.error().message;
  EXPECT_EQ(registrations().size(), 1u);
  EXPECT_TRUE(close(*opened));
}

TEST_F(ImageLockTest, AnImageThatIsOpenAsOftenAsPossibleIsBusy) {
  open_far({.lock = OpenLock::kShared});
  fill_with_opens_of_far({});
  const auto refused = open(*gateway, "disk", {.lock = OpenLock::kShared});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, OsdErrc::kBusy);
  EXPECT_NE(refused.error().message.find("1024 times"), std::string::npos)
      << refused.error().message;
}

TEST_F(ImageLockTest, ManyOpensOfOneImage) {
  // Each one reads and writes a header with all that are open: a thousand take 12 s.
  const char* given = std::getenv("LUNAR_TEST_OPENS");
  const std::size_t opens = given == nullptr ? 200 : std::stoul(given);
  std::vector<std::shared_ptr<Image>> images;
  for (std::size_t i = 0; i < opens; ++i) {
    auto opened = open(*gateway, "disk");
    ASSERT_TRUE(opened) << i << ": " << opened.error().message;
    images.push_back(*opened);
  }
  EXPECT_EQ(registrations().size(), opens);
  for (const auto& each : images) EXPECT_TRUE(close(each));
  EXPECT_TRUE(registrations().empty());
}

}  // namespace
}  // namespace lunar::gateway
