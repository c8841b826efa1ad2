// SPDX-License-Identifier: LGPL-2.1-or-later
#include "gateway/image_directory.h"

#include <nlohmann/json.hpp>

#include "common/json.h"
#include "gateway/metadata/name_claim.h"
#include "gateway/metadata/name_object.h"
#include "gateway/metadata/run_to_done.h"
#include "tests/gateway/image_fixture.h"
#include "tests/support/sizes.h"

namespace lunar::gateway {
namespace {

using objecter::OsdErrc;
using objecter::PoolId;

class ImageDirectoryTest : public ImageFixture {
 protected:
  std::vector<std::string> names() {
    std::vector<std::string> out;
    const auto list =
        wait<ImageList>([&](auto done) { list_images(*gateway, "lunar", {}, std::move(done)); });
    EXPECT_TRUE(list);
    if (list) {
      EXPECT_TRUE(list->missing.empty());
      for (const auto& each : list->images) out.push_back(each.name);
    }
    return out;
  }
  uint64_t counter(const char* which) {
    const auto json =
        parse_json<nlohmann::json>(perf_.dump("objecter"), JsonBounds{.bytes = 1 << 20});
    return json->at("objecter").at(which).get<uint64_t>();
  }
  Outcome<void> remove(const std::string& name) {
    return wait<void>([&](auto done) {
      remove_image(*gateway, {"lunar", name}, {}, std::move(done));
    });
  }
  Outcome<void> resize(const std::string& name, uint64_t size, bool allows_shrink = true) {
    return wait<void>([&](auto done) {
      const ResizeOptions options{.size = size, .allows_shrink = allows_shrink};
      resize_image(*gateway, {"lunar", name}, options, {}, std::move(done));
    });
  }
};

TEST_F(ImageDirectoryTest, ListsWhatWasCreatedUntilItIsRemoved) {
  ASSERT_TRUE(create("one", 8 * kMiB));
  ASSERT_TRUE(create("two", 8 * kMiB));
  EXPECT_EQ(names(), (std::vector<std::string>{"one", "two"}));
  ASSERT_TRUE(remove("one"));
  EXPECT_EQ(names(), std::vector<std::string>{"two"});
}

TEST_F(ImageDirectoryTest, EachImageCostsTheSameHoweverManyThereAre) {
  const auto cost_of = [&](const std::string& name) {
    const uint64_t ops = counter("op");
    const uint64_t bytes = counter("op_send_bytes");
    EXPECT_TRUE(create(name, 8 * kMiB));
    return std::pair(counter("op") - ops, counter("op_send_bytes") - bytes);
  };
  ASSERT_TRUE(create("image0000", 8 * kMiB));  // closes the directory of earlier builds
  const auto first = cost_of("image0001");
  for (int i = 2; i < 300; ++i) ASSERT_TRUE(create("image" + std::to_string(1000 + i), 8 * kMiB));
  EXPECT_EQ(cost_of("image9999"), first);
  EXPECT_LE(first.first, 7u);
  EXPECT_EQ(names().size(), 301u);
}

// 10,000 names are listed page by page, and without an op for each.
TEST_F(ImageDirectoryTest, ManyNamesAreListedInFewOps) {
  constexpr int kNames = 10'000;
  const PoolId pool = gateway->find_pool("lunar")->id;
  int added = 0;
  for (int i = 0; i < kNames; ++i) {
    run_to_done<Outcome<void>>(*center,
                               take_name(*gateway, pool, "n" + std::to_string(10'000 + i), i + 1),
                               [&](const Outcome<void>& done) { added += done ? 1 : 0; });
    if (i % 100 != 99) continue;
    ASSERT_TRUE(until([&] { return added == i + 1; }));
  }
  const uint64_t ops = counter("op");
  const auto began = std::chrono::steady_clock::now();
  EXPECT_EQ(names().size(), static_cast<std::size_t>(kNames));
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
  EXPECT_EQ(counter("op") - ops, 3u) << "one for each server";
  std::printf("%d names listed in %.3f s\n", kNames, took.count());
}

TEST_F(ImageDirectoryTest, ANameIsTakenOnce) {
  ASSERT_TRUE(create("disk", 8 * kMiB));
  const auto again = create("disk", 8 * kMiB);
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, OsdErrc::kExists);
}

TEST_F(ImageDirectoryTest, WhatIsMissingIsNamed) {
  const auto found = wait<VersionedHeader>([&](auto done) {
    find_image(*gateway, {"lunar", "nothing"}, std::move(done));
  });
  ASSERT_FALSE(found);
  EXPECT_NE(found.error().message.find("'nothing'"), std::string::npos);
  const auto pool = wait<VersionedHeader>([&](auto done) {
    find_image(*gateway, {"nowhere", "x"}, std::move(done));
  });
  ASSERT_FALSE(pool);
  EXPECT_NE(pool.error().message.find("there are: lunar"), std::string::npos);
}

TEST_F(ImageDirectoryTest, AnOpenImageIsNotRemoved) {
  create_and_open(8 * kMiB);
  const auto refused = remove("disk");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, OsdErrc::kBusy);
  EXPECT_NE(refused.error().message.find("gateway"), std::string::npos);
  ASSERT_TRUE(close(image));
  EXPECT_TRUE(remove("disk"));
}

TEST_F(ImageDirectoryTest, ShrinkingHasToBeAllowed) {
  create_and_open(8 * kMiB);
  ASSERT_FALSE(write(0, std::string(8 * kMiB, 'x')));
  ASSERT_TRUE(close(image));
  const auto refused = resize("disk", 4 * kMiB, /*allows_shrink=*/false);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, OsdErrc::kNotPermitted);
  EXPECT_NE(refused.error().message.find("--allow-shrink"), std::string::npos);
  auto opened = open(*gateway, "disk");
  ASSERT_TRUE(opened);
  image = *opened;
  EXPECT_EQ(image->size(), 8 * kMiB);
  EXPECT_EQ(read(4 * kMiB, 4 * kMiB), std::string(4 * kMiB, 'x'));
  EXPECT_TRUE(close(image));
  EXPECT_TRUE(resize("disk", 16 * kMiB, /*allows_shrink=*/false));
}

TEST_F(ImageDirectoryTest, AnOpenImageSeesThatItGrew) {
  create_and_open(8 * kMiB);
  uint64_t seen = 0;
  image->watch_size([&](uint64_t size) { seen = size; });
  ASSERT_TRUE(resize("disk", 16 * kMiB));
  ASSERT_TRUE(until([&] { return seen != 0; }));
  EXPECT_EQ(seen, 16 * kMiB);
  EXPECT_FALSE(write(15 * kMiB, "beyond the old end"));
  EXPECT_TRUE(close(image));
}

TEST_F(ImageDirectoryTest, WhatWasCutOffDoesNotComeBack) {
  create_and_open(8 * kMiB);
  ASSERT_FALSE(write(0, std::string(8 * kMiB, 'x')));
  ASSERT_TRUE(close(image));
  ASSERT_TRUE(resize("disk", 4 * kMiB + 4096));
  ASSERT_TRUE(resize("disk", 8 * kMiB));
  auto opened = open(*gateway, "disk");
  ASSERT_TRUE(opened);
  image = *opened;
  EXPECT_EQ(read(4 * kMiB, 4096), std::string(4096, 'x'));
  EXPECT_EQ(read(4 * kMiB + 4096, 4 * kMiB - 4096), std::string(4 * kMiB - 4096, '\0'));
  EXPECT_TRUE(close(image));
}

// Both clear [8 MiB, …) before they publish: what was written after the first would be lost.
TEST_F(ImageDirectoryTest, TwoResizesAtOnceDoNotMeet) {
  ASSERT_TRUE(create("disk", 16 * kMiB));
  ASSERT_TRUE(resize("disk", 8 * kMiB));
  std::vector<Outcome<void>> ended;
  Client* other = make_client("other");
  for (Client* each : {gateway, other}) {
    resize_image(*each, {"lunar", "disk"}, {.size = 16 * kMiB}, {},
                 [&ended](Outcome<void> outcome) { ended.push_back(std::move(outcome)); });
  }
  ASSERT_TRUE(until([&] { return ended.size() == 2; }));
  EXPECT_TRUE(ended[0] || ended[1]);
  for (const Outcome<void>& each : ended) {
    EXPECT_TRUE(each || each.error().code == OsdErrc::kBusy) << each.error().message;
  }
  const auto found = wait<VersionedHeader>([&](auto done) {
    find_image(*gateway, {"lunar", "disk"}, std::move(done));
  });
  ASSERT_TRUE(found);
  EXPECT_EQ(found->header.size, 16 * kMiB);
  EXPECT_FALSE(found->header.resizer);
}

TEST_F(ImageDirectoryTest, AGatewayThatWasStruckIsFenced) {
  create_and_open(8 * kMiB);
  Client* other = make_client("other");
  ASSERT_TRUE(wait<void>([&](auto done) {
    unregister(*other, {"lunar", "disk"}, "gateway", std::move(done));
  }));
  EXPECT_TRUE(until([&] { return write(0, std::string(512, 'x')) == OsdErrc::kFenced; }));
  EXPECT_TRUE(close(image));
}

TEST_F(ImageDirectoryTest, ATakeoverFencesWhoHasItOpen) {
  create_and_open(8 * kMiB);
  ASSERT_FALSE(write(0, std::string(512, 'x')));
  Client* other = make_client("other");
  auto taken = open(*other, "disk", {.lock = OpenLock::kTakeover});
  ASSERT_TRUE(taken) << taken.error().message;
  EXPECT_EQ(write(0, std::string(512, 'y')), OsdErrc::kFenced) << "no server does it";
  std::swap(image, *taken);
  EXPECT_EQ(read(0, 512), std::string(512, 'x'));
  EXPECT_FALSE(write(0, std::string(512, 'z')));
  EXPECT_TRUE(close(*taken)) << "has nothing to give up any more";
  EXPECT_TRUE(close(image));
}

TEST_F(ImageDirectoryTest, ARefusalByAServerFencesTheImageAtOnce) {
  create_and_open(8 * kMiB);
  Client* other = make_client("other");
  auto taken = open(*other, "disk", {.lock = OpenLock::kTakeover});
  ASSERT_TRUE(taken);
  EXPECT_EQ(write(0, std::string(512, 'y')), OsdErrc::kFenced);
  const IoResult flushed = io([&](auto done) { image->flush({}, done); });
  EXPECT_EQ(flushed.error, OsdErrc::kFenced);
  EXPECT_TRUE(close(*taken));
  EXPECT_TRUE(close(image));
}

TEST_F(ImageDirectoryTest, AGatewayThatAnOperatorLetInAgainGoesOn) {
  create_and_open(8 * kMiB);
  ASSERT_FALSE(write(0, std::string(512, 'x')));
  const auto at_all = [&](const std::string& prefix) {
    for (objecter::OsdId osd = 0; osd < 3; ++osd) {
      const nlohmann::json json{
          {"prefix", prefix}, {"entity", gateway->entity()}, {"instance", gateway->instance()}};
      EXPECT_EQ(command(json.dump(), osd).error, OsdErrc::kOk);
    }
  };
  at_all("osd fence");
  EXPECT_EQ(write(0, std::string(512, 'y')), OsdErrc::kFenced);
  EXPECT_EQ(write(0, std::string(512, 'y')), OsdErrc::kFenced);
  at_all("osd unfence");
  EXPECT_TRUE(until([&] { return !write(0, std::string(512, 'z')); }));
  EXPECT_EQ(read(0, 512), std::string(512, 'z'));
  EXPECT_TRUE(close(image));
}

TEST_F(ImageDirectoryTest, AReaderIsNamedByARemoval) {
  ASSERT_TRUE(create("disk", 8 * kMiB));
  Client* other = make_client("other");
  auto reader = open(*other, "disk", {.read_only = true});
  ASSERT_TRUE(reader);
  const auto removed = remove("disk");
  ASSERT_FALSE(removed);
  EXPECT_EQ(removed.error().code, OsdErrc::kBusy);
  EXPECT_NE(removed.error().message.find("other (reading)"), std::string::npos)
      << removed.error().message;
  EXPECT_TRUE(close(*reader));
  EXPECT_TRUE(remove("disk"));
}

TEST_F(ImageDirectoryTest, BadSizesAndLayoutsAreRefused) {
  EXPECT_FALSE(create("disk", 1000));
  EXPECT_FALSE(
      create("disk", 8 * kMiB, {.object_size = 5000, .stripe_unit = 5000, .stripe_count = 1}));
  EXPECT_TRUE(names().empty());
}

}  // namespace
}  // namespace lunar::gateway
