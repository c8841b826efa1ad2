// SPDX-License-Identifier: LGPL-2.1-or-later
#include "gateway/metadata/header_object.h"
#include "gateway/metadata/name_object.h"
#include "tests/gateway/metadata/metadata_fixture.h"

namespace lunar::gateway {
namespace {

using objecter::OsdErrc;

constexpr uint64_t kMiB = 1u << 20;

class ImageRenameTest : public MetadataFixture {
 protected:
  Outcome<void> rename(Client& client, const std::string& from, const std::string& to) {
    return wait<void>([&](auto done) {
      rename_image(client, {"lunar", from}, to, std::move(done));
    });
  }
  Outcome<void> rename(const std::string& from, const std::string& to) {
    return rename(*gateway, from, to);
  }
  Outcome<void> remove(const std::string& name) {
    return wait<void>([&](auto done) {
      remove_image(*gateway, {"lunar", name}, {}, std::move(done));
    });
  }
  bool leads_to(const std::string& name, ImageId id) {
    const auto named = run(find_name(*gateway, *gateway->find_pool("lunar"), name));
    return named && *named == id;
  }
  bool is_free(const std::string& name) {
    const auto named = run(find_name(*gateway, *gateway->find_pool("lunar"), name));
    return !named && named.error().code == OsdErrc::kNoSuchObject;
  }
  std::string name_in_header(ImageId id) {
    const auto found = run(read_header(*gateway, pool, id));
    return found ? found->header.name : std::string();
  }
  void edit_header(ImageId id, UniqueFunction<void(ImageHeader&)> edit) {
    ASSERT_TRUE(run(update_header(*gateway, pool, id, [&](ImageHeader& header) {
      edit(header);
      return Outcome<void>();
    })));
  }
};

TEST_F(ImageRenameTest, TheImageHasItsNewNameOnlyAndItsData) {
  create_and_open(8 * kMiB);
  ASSERT_FALSE(write(kMiB, "data"));
  const ImageId id = image->id();
  ASSERT_TRUE(rename("disk", "other"));
  EXPECT_TRUE(is_free("disk"));
  EXPECT_TRUE(leads_to("other", id));
  EXPECT_EQ(name_in_header(id), "other");
  // Whoever has it open goes on.
  ASSERT_FALSE(write(2 * kMiB, "more"));
  ASSERT_TRUE(close(image));
  EXPECT_TRUE(open(*gateway, "other"));
}

TEST_F(ImageRenameTest, WhatCannotBeIsRefusedAndChangesNothing) {
  const auto disk = create("disk", 8 * kMiB);
  const auto other = create("other", 8 * kMiB);
  ASSERT_TRUE(disk && other);
  EXPECT_EQ(rename("disk", "other").error().code, OsdErrc::kExists);
  EXPECT_EQ(rename("disk", "disk").error().code, OsdErrc::kExists);
  EXPECT_EQ(rename("nothing", "new").error().code, OsdErrc::kNoSuchObject);
  EXPECT_EQ(rename("disk", ".hidden").error().code, std::errc::invalid_argument);
  EXPECT_TRUE(leads_to("disk", disk->id));
  EXPECT_TRUE(leads_to("other", other->id));
  EXPECT_TRUE(is_free("new"));
}

TEST_F(ImageRenameTest, OneThatWasInterruptedIsFinishedByDoingItAgain) {
  const auto disk = create("disk", 8 * kMiB);
  ASSERT_TRUE(disk);
  ASSERT_TRUE(run(add_name(*gateway, pool, "other", disk->id)));  // the first step only
  ASSERT_TRUE(rename("disk", "other"));
  EXPECT_TRUE(is_free("disk"));
  ASSERT_TRUE(run(add_name(*gateway, pool, "third", disk->id)));  // and all but the last
  edit_header(disk->id, [](ImageHeader& header) { header.name = "third"; });
  ASSERT_TRUE(rename("other", "third"));
  EXPECT_TRUE(is_free("other"));
  EXPECT_TRUE(leads_to("third", disk->id));
}

TEST_F(ImageRenameTest, ARemovalTakesBothNamesOfOneThatWasInterrupted) {
  const auto disk = create("disk", 8 * kMiB);
  ASSERT_TRUE(disk);
  ASSERT_TRUE(run(add_name(*gateway, pool, "other", disk->id)));
  ASSERT_TRUE(remove("other"));
  EXPECT_TRUE(is_free("disk"));
  EXPECT_TRUE(is_free("other"));
}

TEST_F(ImageRenameTest, AnImageThatIsBeingRemovedGetsNoName) {
  const auto disk = create("disk", 8 * kMiB);
  ASSERT_TRUE(disk);
  edit_header(disk->id, [](ImageHeader& header) { header.state = ImageState::kRemoving; });
  EXPECT_EQ(rename("disk", "other").error().code, OsdErrc::kBusy);
  EXPECT_TRUE(is_free("other"));
}

TEST_F(ImageRenameTest, OfTwoAtOnceOneHappens) {
  const auto disk = create("disk", 8 * kMiB);
  ASSERT_TRUE(disk);
  Client* other = make_client("other");
  std::optional<Outcome<void>> theirs;
  rename_image(*other, {"lunar", "disk"}, "theirs",
               [&](Outcome<void> done) { theirs = std::move(done); });
  const auto ours = rename("disk", "ours");
  ASSERT_TRUE(until([&] { return theirs.has_value(); }));
  ASSERT_NE(ours.has_value(), theirs->has_value());
  const std::string winner = ours ? "ours" : "theirs";
  EXPECT_EQ(name_in_header(disk->id), winner);
  EXPECT_TRUE(leads_to(winner, disk->id));
  EXPECT_TRUE(is_free(ours ? "theirs" : "ours"));
  EXPECT_TRUE(is_free("disk"));
}

}  // namespace
}  // namespace lunar::gateway
