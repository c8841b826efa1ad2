// SPDX-License-Identifier: LGPL-2.1-or-later
// Resizing under open images, and what an interruption leaves.
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "common/json.h"
#include "common/random.h"
#include "gateway/metadata/header_object.h"
#include "objecter/protocol/placement.h"
#include "tests/gateway/metadata/metadata_fixture.h"
#include "tests/support/sizes.h"

namespace lunar::gateway {
namespace {

using objecter::OsdErrc;

class ImageResizeTest : public MetadataFixture {
 protected:
  explicit ImageResizeTest(Settings settings = {}) : MetadataFixture(std::move(settings)) {
    other = make_client("other");
  }
  void start_resize(uint64_t size) {
    resized.reset();
    resize_image(*other, {"lunar", "disk"}, {.size = size, .allows_shrink = true}, {},
                 [this](Outcome<void> outcome) { resized = std::move(outcome); });
  }
  Outcome<void> resize(uint64_t size) {
    start_resize(size);
    EXPECT_TRUE(until([&] { return resized.has_value(); }));
    return resized.value_or(Outcome<void>(failure(std::errc::timed_out, "it did not end")));
  }
  ImageHeader header() {
    const auto found = run(find_header(*other, {"lunar", "disk"}));
    EXPECT_TRUE(found) << found.error().message;
    return found ? found->header : ImageHeader();
  }
  objecter::OsdId server_of(const std::string& object) {
    const auto info = gateway->find_pool("lunar");
    return objecter::osd_of_pg(*info, objecter::pg_of_object(*info, object));
  }
  // Makes the image again until its object is on a server that has no part in finding it.
  void create_with_object_alone(uint64_t number) {
    for (;;) {
      create_and_open(8 * kMiB);
      const objecter::OsdId osd = server_of(data_object_name(image->id(), number));
      const bool is_alone = osd != 0 && osd != server_of(header_object_name(image->id())) &&
                            osd != server_of("lunar_id.disk");
      if (is_alone) return;
      ASSERT_TRUE(close(image));
      ASSERT_TRUE(wait<void>([&](auto done) {
        remove_image(*gateway, {"lunar", "disk"}, {}, std::move(done));
      }));
    }
  }

  Client* other = nullptr;
  std::optional<Outcome<void>> resized;
};

TEST_F(ImageResizeTest, AnOpenImageShrinksAndNothingBeyondIsDone) {
  create_and_open(8 * kMiB);
  ASSERT_FALSE(write(0, std::string(8 * kMiB, 'x')));
  uint64_t told = 0;
  image->watch_size([&](uint64_t size) { told = size; });
  const auto shrunk = resize(4 * kMiB);
  ASSERT_TRUE(shrunk) << shrunk.error().message;
  EXPECT_EQ(told, 4 * kMiB);
  EXPECT_EQ(image->size(), 4 * kMiB);
  EXPECT_EQ(write(4 * kMiB, "y"), OsdErrc::kInvalid);
  EXPECT_FALSE(write(4 * kMiB - 1, "y"));
  ASSERT_TRUE(resize(8 * kMiB));
  EXPECT_EQ(told, 8 * kMiB);
  EXPECT_EQ(read(4 * kMiB - 2, 3), std::string("xy\0", 3));
  EXPECT_EQ(read(4 * kMiB, 4 * kMiB), std::string(4 * kMiB, '\0'));
  EXPECT_EQ(header().state, ImageState::kReady);
  EXPECT_FALSE(header().resizer);
  EXPECT_TRUE(close(image));
}

TEST_F(ImageResizeTest, ItsEndIsRefusedBeforeAnythingIsCut) {
  create_and_open(8 * kMiB);
  ASSERT_FALSE(write(0, std::string(8 * kMiB, 'x')));
  std::optional<ImageHeader> at_refusal;
  image->watch_size([&](uint64_t) {
    find_image(*gateway, {"lunar", "disk"}, [&](Outcome<VersionedHeader> found) {
      if (found && !at_refusal) at_refusal = found->header;
    });
  });
  ASSERT_TRUE(resize(4 * kMiB));
  ASSERT_TRUE(at_refusal);
  EXPECT_EQ(at_refusal->state, ImageState::kShrinking);
  EXPECT_EQ(at_refusal->resize_to, 4 * kMiB);
  EXPECT_TRUE(at_refusal->resizer);
  EXPECT_TRUE(close(image));
}

// It has read the header, and waits for the last server: what it is told by then has to be read
// too.
TEST_F(ImageResizeTest, AGatewayThatIsBeingLetInDoesNotMissAShrink) {
  create_with_object_alone(1);
  const objecter::OsdId away = server_of(data_object_name(image->id(), 1));
  const auto at_all = [&](const std::string& prefix) {
    for (objecter::OsdId osd = 0; osd < 3; ++osd) {
      EXPECT_EQ(command(R"({"prefix": ")" + prefix + R"(", "entity": "client.admin", )" +
                            R"("instance": "gateway"})",
                        osd)
                    .error,
                OsdErrc::kOk);
    }
  };
  const auto flushes = [&] {
    const auto json =
        parse_json<nlohmann::json>(perf_.dump("objecter"), JsonBounds{.bytes = 1 << 20});
    return json->at("objecter").at("op_flush").get<uint64_t>();
  };
  at_all("osd fence");
  ASSERT_EQ(write(0, "x"), OsdErrc::kFenced);
  at_all("osd unfence");
  stop(away);
  const uint64_t before = flushes();
  ASSERT_TRUE(until([&] { return flushes() > before; }));
  start_resize(4 * kMiB);
  ASSERT_TRUE(until([&] { return header().size == 4 * kMiB; }));
  start(away);
  ASSERT_TRUE(until([&] { return !write(0, "x"); }));
  EXPECT_EQ(image->size(), 4 * kMiB);
  EXPECT_EQ(write(5 * kMiB, "y"), OsdErrc::kInvalid);
  ASSERT_TRUE(until([&] { return resized.has_value(); }));
  EXPECT_TRUE(close(image));
}

// A write beyond the new end that is under way is not lost in the dark: the shrink waits for it.
TEST_F(ImageResizeTest, AShrinkWaitsForWhatIsInFlightBeyond) {
  create_with_object_alone(1);
  const objecter::OsdId away = server_of(data_object_name(image->id(), 1));
  stop(away);
  std::optional<IoResult> below;
  std::optional<IoResult> beyond;
  const std::string data(4096, 'x');
  image->write(5 * kMiB, as_const_bytes(data), {}, [&](const IoResult& io) { beyond = io; });
  start_resize(4 * kMiB);
  ASSERT_TRUE(until([&] { return image->size() == 4 * kMiB; }));
  center->run_until_idle();
  EXPECT_FALSE(resized);
  EXPECT_EQ(header().size, 8 * kMiB) << "it was not published";
  if (server_of(data_object_name(image->id(), 0)) != away) {
    EXPECT_FALSE(write(0, data)) << "the rest goes on";
  }
  start(away);
  ASSERT_TRUE(until([&] { return beyond && resized; }));
  EXPECT_FALSE(beyond->error) << beyond->error.message();
  EXPECT_TRUE(*resized) << resized->error().message;
  EXPECT_EQ(header().size, 4 * kMiB);
  ASSERT_TRUE(resize(8 * kMiB));
  EXPECT_EQ(read(5 * kMiB, 4096), std::string(4096, '\0'));
  EXPECT_TRUE(close(image));
}

TEST_F(ImageResizeTest, AClosingImageIsWaitedForToo) {
  create_with_object_alone(1);
  const objecter::OsdId away = server_of(data_object_name(image->id(), 1));
  stop(away);
  std::optional<IoResult> beyond;
  std::optional<Outcome<void>> closed;
  const std::string data(4096, 'x');
  image->write(5 * kMiB, as_const_bytes(data), {}, [&](const IoResult& io) { beyond = io; });
  image->close([&](Outcome<void> outcome) { closed = std::move(outcome); });
  start_resize(4 * kMiB);
  ASSERT_TRUE(until([&] { return header().state == ImageState::kShrinking; }));
  center->run_until_idle();
  EXPECT_FALSE(resized);
  EXPECT_EQ(header().size, 8 * kMiB);
  start(away);
  ASSERT_TRUE(until([&] { return beyond && resized && closed; }));
  EXPECT_TRUE(*resized) << resized->error().message;
}

TEST_F(ImageResizeTest, ADeadOpenIsFencedAndTheShrinkGoesOn) {
  ASSERT_TRUE(create("disk", 8 * kMiB));
  const ImageId id = header().id;
  ASSERT_TRUE(run(update_header(*other, pool, id, [](ImageHeader& header) {
    header.registrations.push_back({"client.admin", "gone/1", 5, 77, LockMode::kExclusive});
    return Outcome<void>();
  })));
  const auto shrunk = resize(4 * kMiB);
  ASSERT_TRUE(shrunk) << shrunk.error().message;
  EXPECT_TRUE(header().registrations.empty());
  for (objecter::OsdId osd = 0; osd < 3; ++osd) {
    EXPECT_NE(command(R"({"prefix": "fences"})", osd).text.find("gone/1"), std::string::npos);
  }
}

class SlowOpenTest : public ImageResizeTest, private objecter::WatchHandler {
 protected:
  SlowOpenTest()
      : ImageResizeTest({{"ms_keepalive_interval", "50ms"}, {"ms_keepalive_timeout", "200ms"}}) {}

  // An open that lives and never says that it uses the end no more.
  void open_slowly() {
    ASSERT_TRUE(create("disk", 8 * kMiB));
    const ImageId id = header().id;
    bool is_watching = false;
    gateway->objecter().watch(header_of(pool, id), 77, *this,
                              [&](std::error_code error) { is_watching = !error; });
    ASSERT_TRUE(until([&] { return is_watching; }));
    ASSERT_TRUE(run(update_header(*gateway, pool, id, [this](ImageHeader& header) {
      header.registrations.push_back(
          {gateway->entity(), gateway->instance(), gateway->nonce(), 77, LockMode::kExclusive});
      return Outcome<void>();
    })));
  }

 private:
  void on_notify(const objecter::NotifyEvent&, objecter::NotifyReply) override {}
  void on_watch_lost(std::error_code) override {}
};

TEST_F(SlowOpenTest, OneThatLivesAndDoesNotLetGoKeepsItsEnd) {
  open_slowly();
  const auto shrunk = resize(4 * kMiB);
  ASSERT_FALSE(shrunk);
  EXPECT_EQ(shrunk.error().code, OsdErrc::kBusy);
  EXPECT_NE(shrunk.error().message.find("client.admin at gateway"), std::string::npos)
      << shrunk.error().message;
  EXPECT_EQ(header().size, 8 * kMiB);
  EXPECT_EQ(header().state, ImageState::kReady);
  EXPECT_EQ(header().registrations.size(), 1u);
}

// --- interruptions ---

class InterruptedResizeTest : public ImageResizeTest {
 protected:
  // As a resizer that died left it.
  void interrupt(ImageState state, uint64_t size, uint64_t resize_to) {
    ASSERT_TRUE(run(update_header(*other, pool, header().id, [&](ImageHeader& header) {
      header.state = state;
      header.trimmed_from = header.size;
      header.size = size;
      header.resize_to = resize_to;
      header.resizer = Registration{"client.admin", "gone", 7, 77, LockMode::kShared};
      return Outcome<void>();
    })));
  }
  Outcome<void> resize_in_time(uint64_t size) {
    Outcome<void> outcome;
    until([&] {
      outcome = resize(size);
      return outcome || outcome.error().code != OsdErrc::kBusy;
    });
    return outcome;
  }
};

TEST_F(InterruptedResizeTest, AShrinkThatHasLostNothingIsUndoneByTheOldSize) {
  create_and_open(8 * kMiB);
  ASSERT_FALSE(write(0, std::string(8 * kMiB, 'x')));
  interrupt(ImageState::kShrinking, 8 * kMiB, 4 * kMiB);
  const auto grown = resize_in_time(8 * kMiB);
  ASSERT_TRUE(grown) << grown.error().message;
  EXPECT_EQ(header().state, ImageState::kReady);
  EXPECT_EQ(read(4 * kMiB, 4 * kMiB), std::string(4 * kMiB, 'x'));
  EXPECT_TRUE(close(image));
}

TEST_F(InterruptedResizeTest, AnImageThatIsOpenedMeanwhileHasTheNewEnd) {
  ASSERT_TRUE(create("disk", 8 * kMiB));
  interrupt(ImageState::kShrinking, 8 * kMiB, 4 * kMiB);
  auto opened = open(*gateway, "disk");
  ASSERT_TRUE(opened);
  EXPECT_EQ((*opened)->size(), 4 * kMiB);
  EXPECT_TRUE(close(*opened));
}

TEST_F(InterruptedResizeTest, AShrinkThatWasPublishedIsFinishedAndDoesNotComeBack) {
  create_and_open(8 * kMiB);
  ASSERT_FALSE(write(0, std::string(8 * kMiB, 'x')));
  interrupt(ImageState::kShrinking, 4 * kMiB, 4 * kMiB);
  const auto grown = resize_in_time(8 * kMiB);
  ASSERT_TRUE(grown) << grown.error().message;
  ASSERT_TRUE(until([&] { return image->size() == 8 * kMiB; }));
  EXPECT_EQ(read(0, 4 * kMiB), std::string(4 * kMiB, 'x'));
  EXPECT_EQ(read(4 * kMiB, 4 * kMiB), std::string(4 * kMiB, '\0'));
  EXPECT_TRUE(close(image));
}

TEST_F(InterruptedResizeTest, GrowingIsBegunAnew) {
  ASSERT_TRUE(create("disk", 8 * kMiB));
  interrupt(ImageState::kGrowing, 8 * kMiB, 16 * kMiB);
  EXPECT_TRUE(resize_in_time(12 * kMiB));
  EXPECT_EQ(header().size, 12 * kMiB);
  EXPECT_EQ(header().state, ImageState::kReady);
}

// Its watch may be without a connection, as the server of the header has just restarted.
TEST_F(InterruptedResizeTest, OneThatThisClientHasUnderWayIsNotLeftOver) {
  ASSERT_TRUE(create("disk", 8 * kMiB));
  interrupt(ImageState::kGrowing, 8 * kMiB, 16 * kMiB);
  const Registration ours{other->entity(), other->instance(), other->nonce(), 77,
                          LockMode::kShared};
  ASSERT_TRUE(run(update_header(*other, pool, header().id, [&](ImageHeader& header) {
    header.resizer = ours;
    return Outcome<void>();
  })));
  other->resizes().insert(77);
  const auto refused = resize(12 * kMiB);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, OsdErrc::kBusy);
  EXPECT_EQ(header().resizer, ours);
  other->resizes().erase(77);
  EXPECT_TRUE(resize(12 * kMiB));
  EXPECT_TRUE(other->resizes().empty());
}

TEST_F(InterruptedResizeTest, AnImageCanBeRemoved) {
  ASSERT_TRUE(create("disk", 8 * kMiB));
  interrupt(ImageState::kShrinking, 8 * kMiB, 4 * kMiB);
  EXPECT_TRUE(wait<void>([&](auto done) {
    remove_image(*gateway, {"lunar", "disk"}, {}, std::move(done));
  }));
}

// --- under load ---

// Writes blocks of an image that shrinks and grows, and knows what each must hold. It pauses now
// and then, since time passes only while there is nothing to do.
class ResizedLoad {
 public:
  static constexpr uint64_t kBlock = 4096;
  static constexpr std::chrono::microseconds kPause{100};

  ResizedLoad(msgr::EventCenter& center, Image& image, uint64_t small, uint64_t large)
      : center_(center), image_(image), small_(small), blocks_(large / kBlock, '\0') {}

  void run(std::size_t in_flight) {
    for (std::size_t i = 0; i < in_flight; ++i) write_next();
  }
  void stop() { is_stopping_ = true; }
  bool is_idle() const { return busy_.empty() && pausing_ == 0; }
  // A shrink is done: what is beyond is gone, and nothing of it is under way.
  void on_shrunk() {
    for (uint64_t block = small_ / kBlock; block < blocks_.size(); ++block) blocks_[block] = '\0';
    is_small_ = true;
    for (const auto& [block, order] : busy_) {
      if (block >= small_ / kBlock) last_before_ = std::max(last_before_, order);
    }
  }
  void on_growing() { is_small_ = false; }
  const std::string& blocks() const { return blocks_; }
  uint64_t acked() const { return acked_; }
  uint64_t refused() const { return refused_; }

 private:
  void write_next() {
    uint64_t block = 0;
    do {
      block = random_() % blocks_.size();
    } while (busy_.contains(block));
    const char letter = static_cast<char>('a' + random_() % 26);
    const auto data = std::make_shared<std::string>(kBlock, letter);
    const uint64_t order = ++order_;
    busy_[block] = order;
    image_.write(block * kBlock, as_const_bytes(*data), {},
                 [this, block, letter, data, order](const IoResult& io) {
                   busy_.erase(block);
                   if (!io.error) {
                     ++acked_;
                     blocks_[block] = letter;
                     const bool is_beyond = block >= small_ / kBlock;
                     EXPECT_FALSE(is_beyond && is_small_) << "acknowledged beyond the end";
                     EXPECT_FALSE(is_beyond && order <= last_before_)
                         << "begun before a shrink, and acknowledged after it";
                   } else {
                     ++refused_;
                     EXPECT_EQ(io.error, OsdErrc::kInvalid) << io.error.message();
                     EXPECT_GE(block, small_ / kBlock) << "refused below the end";
                   }
                   go_on(order);
                 });
  }
  void go_on(uint64_t order) {
    if (is_stopping_) return;
    if (order % 16 != 0) return write_next();
    ++pausing_;
    center_.run_after(kPause, [this] {
      --pausing_;
      if (!is_stopping_) write_next();
    });
  }

  msgr::EventCenter& center_;
  Image& image_;
  const uint64_t small_;  // bytes
  std::string blocks_;    // the letter that each holds
  std::map<uint64_t, uint64_t> busy_;
  RandomEngine random_ = seeded_engine(7);
  uint64_t order_ = 0;
  uint64_t last_before_ = 0;
  uint64_t acked_ = 0;
  uint64_t refused_ = 0;
  int pausing_ = 0;
  bool is_small_ = false;
  bool is_stopping_ = false;
};

TEST_F(ImageResizeTest, UnderLoadNothingBelowIsLostAndNothingBeyondIsDoneOrComesBack) {
  constexpr uint64_t kSmall = kMiB + 64 * 4096;  // cuts an object in two
  constexpr uint64_t kLarge = 4 * kMiB;
  create_and_open(kLarge, {kMiB, kMiB, 1});
  ResizedLoad load(*center, *image, kSmall, kLarge);
  load.run(16);
  const auto resize_among_writes = [&](uint64_t size) {
    resized.reset();
    center->run_after(ResizedLoad::kPause, [this, size] { start_resize(size); });
    EXPECT_TRUE(until([&] { return resized.has_value(); }));
    return resized.value_or(Outcome<void>(failure(std::errc::timed_out, "it did not end")));
  };
  for (int round = 0; round < 25; ++round) {
    const auto shrunk = resize_among_writes(kSmall);
    ASSERT_TRUE(shrunk) << shrunk.error().message;
    load.on_shrunk();
    load.on_growing();
    const auto grown = resize_among_writes(kLarge);
    ASSERT_TRUE(grown) << grown.error().message;
  }
  load.stop();
  ASSERT_TRUE(until([&] { return load.is_idle(); }));
  EXPECT_GT(load.acked(), 500u);
  EXPECT_GT(load.refused(), 0u);
  for (uint64_t block = 0; block < load.blocks().size(); ++block) {
    ASSERT_EQ(read(block * ResizedLoad::kBlock, ResizedLoad::kBlock),
              std::string(ResizedLoad::kBlock, load.blocks()[block]))
        << "block " << block;
  }
  EXPECT_TRUE(close(image));
}

}  // namespace
}  // namespace lunar::gateway
