// SPDX-License-Identifier: LGPL-2.1-or-later
// What a renaming does, refuses and finishes. A header and its name objects are looked at in the
// stores.
#include "gateway/metadata/image_rename.h"

#include "gateway/metadata/metadata_object.h"
#include "gateway/metadata/name_claim.h"
#include "gateway/metadata/old_directory.h"
#include "tests/gateway/metadata/image_rename_fixture.h"

namespace lunar::gateway {
namespace {

TEST_F(ImageRenameTest, TheImageHasItsNewNameOnlyAndWhoeverHasItOpenGoesOn) {
  create_and_open(8 * kMiB);
  ASSERT_FALSE(write(kMiB, "data"));
  const ImageId id = image->id();
  ASSERT_TRUE(rename("disk", "other"));
  EXPECT_EQ(names_of(id, {"disk", "other"}), Names{"other"});
  EXPECT_EQ(name_in_header(id), "other");
  ASSERT_FALSE(write(2 * kMiB, "more"));
  ASSERT_TRUE(close(image));
  EXPECT_TRUE(open(*gateway, "other"));
  EXPECT_EQ(open(*gateway, "disk").error().code, OsdErrc::kNoSuchObject);
}

TEST_F(ImageRenameTest, WhatCannotBeIsRefusedAndChangesNothing) {
  const ImageId disk = make("disk");
  const ImageId other = make("other");
  const std::string before = stored(header_object_name(disk));
  EXPECT_EQ(rename("disk", "disk").error().code, OsdErrc::kExists);
  EXPECT_EQ(rename("nothing", "new").error().code, OsdErrc::kNoSuchObject);
  EXPECT_EQ(rename("disk", ".hidden").error().code, std::errc::invalid_argument);
  EXPECT_EQ(stored(header_object_name(disk)), before);
  EXPECT_EQ(rename("disk", "other").error().code, OsdErrc::kExists);
  EXPECT_EQ(stored(header_object_name(disk)), before);
  EXPECT_EQ(named("disk"), disk);
  EXPECT_EQ(named("other"), other);
  EXPECT_EQ(named("new"), 0u);
}

TEST_F(ImageRenameTest, AnImageThatIsBeingRemovedOrResizedIsRefused) {
  const ImageId disk = make("disk");
  edit_header(disk, [](ImageHeader& header) {
    header.state = ImageState::kGrowing;
    header.resize_to = 16 * kMiB;
  });
  const auto resizing = rename("disk", "other");
  ASSERT_FALSE(resizing);
  EXPECT_EQ(resizing.error().code, OsdErrc::kBusy);
  EXPECT_NE(resizing.error().message.find("'lunar resize lunar/disk'"), std::string::npos)
      << resizing.error().message;
  edit_header(disk, [](ImageHeader& header) { header.state = ImageState::kRemoving; });
  const auto removing = rename("disk", "other");
  ASSERT_FALSE(removing);
  EXPECT_EQ(removing.error().code, OsdErrc::kBusy);
  EXPECT_EQ(named("other"), 0u);
}

TEST_F(ImageRenameTest, APoolWithADirectoryOfAnEarlierFormatIsToBeConvertedFirst) {
  const ImageId disk = make("disk");
  const std::string text = encode_old_directory({.is_closed = false, .images = {{"older", 7}}});
  ASSERT_TRUE(run(update_metadata(*gateway, old_directory_of(pool),
                                  [&](const MetadataContent&) -> Outcome<MetadataEdit> {
                                    return MetadataEdit{MetadataEdit::Action::kWrite, text};
                                  })));
  EXPECT_EQ(rename("disk", "other").error().code, OsdErrc::kIncompatible);
  EXPECT_EQ(name_in_header(disk), "disk");
}

TEST_F(ImageRenameTest, WhileItIsRenamedItIsOpenedByBothNamesAndNeitherRemovedNorResized) {
  const ImageId disk = make("disk");
  edit_header(disk, [](ImageHeader& header) {
    header.state = ImageState::kRenaming;
    header.rename_to = "other";
  });
  ASSERT_TRUE(run(take_name(*gateway, pool, "other", disk)));
  for (const char* name : {"disk", "other"}) {
    auto opened = open(*gateway, name);
    ASSERT_TRUE(opened) << opened.error().message;
    ASSERT_TRUE(close(std::move(*opened)));
    for (const auto& refused : {remove(name), resize(name, 16 * kMiB)}) {
      ASSERT_FALSE(refused);
      EXPECT_EQ(refused.error().code, OsdErrc::kBusy);
      EXPECT_NE(refused.error().message.find("finish with 'lunar mv lunar/disk other'"),
                std::string::npos)
          << refused.error().message;
    }
  }
  EXPECT_EQ(header(disk)->state, ImageState::kRenaming);
}

// --- names that are left over ---

TEST_F(ImageRenameTest, ANameThatTheHeaderDoesNotHaveCountsAsAbsent) {
  const ImageId disk = make("disk");
  ASSERT_TRUE(run(take_name(*gateway, pool, "left", disk)));
  for (const std::error_code code :
       {open(*gateway, "left").error().code, remove("left").error().code,
        resize("left", 16 * kMiB).error().code, rename("left", "new").error().code,
        wait<ImageStatus>([&](auto done) {
          image_status(*gateway, {"lunar", "left"}, std::move(done));
        })
            .error()
            .code}) {
    EXPECT_EQ(code, OsdErrc::kNoSuchObject);
  }
  EXPECT_EQ(named("disk"), disk);
  // It can be given to another image, made or renamed.
  const auto made = create("left", 8 * kMiB);
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_EQ(named("left"), made->id);
  ASSERT_TRUE(run(take_name(*gateway, pool, "left2", disk)));
  ASSERT_TRUE(rename("left", "left2"));
  EXPECT_EQ(named("left2"), made->id);
  EXPECT_EQ(named("disk"), disk);
}

TEST_F(ImageRenameTest, ALeftOverNameOfTheImageItselfIsTakenAgain) {
  const ImageId disk = make("disk");
  ASSERT_TRUE(run(take_name(*gateway, pool, "other", disk)));
  ASSERT_TRUE(rename("disk", "other"));
  EXPECT_EQ(names_of(disk, {"disk", "other"}), Names{"other"});
}

// --- several at once ---

TEST_F(ImageRenameTest, ARenamingToAnotherNameIsFinishedFirst) {
  const ImageId disk = make("disk");
  edit_header(disk, [](ImageHeader& header) {
    header.state = ImageState::kRenaming;
    header.rename_to = "second";
  });
  ASSERT_TRUE(rename("disk", "third"));
  EXPECT_EQ(names_of(disk, {"disk", "second", "third"}), Names{"third"});
  EXPECT_EQ(name_in_header(disk), "third");
}

TEST_F(ImageRenameTest, OneWhoseNameWasTakenIsUndoneByTheNext) {
  const ImageId disk = make("disk");
  const ImageId other = make("other");
  edit_header(disk, [](ImageHeader& header) {
    header.state = ImageState::kRenaming;
    header.rename_to = "other";
  });
  ASSERT_TRUE(rename("disk", "third"));
  EXPECT_EQ(named("third"), disk);
  EXPECT_EQ(named("other"), other);
  EXPECT_EQ(named("disk"), 0u);
}

TEST_F(ImageRenameTest, ANameWhoseImageIsOnItsWayToAnotherIsWaitedFor) {
  const ImageId disk = make("disk");
  const ImageId other = make("other");
  edit_header(other, [](ImageHeader& header) {
    header.state = ImageState::kRenaming;
    header.rename_to = "away";
  });
  ASSERT_TRUE(rename("disk", "other"));
  EXPECT_EQ(named("other"), disk);
  EXPECT_EQ(named("away"), other);
}

TEST_F(ImageRenameTest, OneThatHasLostItsOldNameToAnotherImageIsFinishedAllTheSame) {
  const ImageId disk = make("disk");
  edit_header(disk, [](ImageHeader& header) {
    header.state = ImageState::kRenamed;
    header.rename_to = "other";
  });
  ASSERT_TRUE(run(take_name(*gateway, pool, "other", disk)));
  ASSERT_TRUE(run(drop_name(*gateway, pool, "disk", disk)));
  const ImageId another = make("disk");
  EXPECT_EQ(rename("disk", "other").error().code, OsdErrc::kExists);
  EXPECT_EQ(name_in_header(disk), "other");
  EXPECT_EQ(named("disk"), another);
}

// --- names that are not to be had ---

// Whoever may write one header only, or a disk that damaged the object of the new name.
TEST_F(ImageRenameTest, AHeaderAloneTakesNoNameFromAnotherImageAndNotItsOwn) {
  const ImageId victim = make("victim");
  const ImageId mine = make("mine");
  edit_header(mine, [](ImageHeader& header) {
    header.state = ImageState::kRenamed;
    header.rename_to = "victim";
  });
  ASSERT_TRUE(rename("mine", "new"));
  EXPECT_EQ(named("victim"), victim);
  EXPECT_EQ(name_in_header(victim), "victim");
  EXPECT_EQ(names_of(mine, {"mine", "new"}), Names{"new"});
  edit_header(mine, [](ImageHeader& header) {
    header.state = ImageState::kRenamed;
    header.rename_to = "absent";
  });
  ASSERT_TRUE(run(finish_renaming(*gateway, pool, mine)));
  EXPECT_EQ(names_of(mine, {"new", "absent"}), Names{"absent"});
}

TEST_F(ImageRenameTest, AnIllegibleNewNameIsRefusedAndLeavesTheImageItsOwn) {
  const ImageId id = make("a");
  ASSERT_TRUE(run(update_metadata(
      *gateway, name_object_of(pool, "b"), [&](const MetadataContent&) -> Outcome<MetadataEdit> {
        return MetadataEdit{MetadataEdit::Action::kWrite, R"({"format": 2})"};
      })));
  const std::string before = stored(header_object_name(id));
  EXPECT_EQ(rename("a", "b").error().code, OsdErrc::kIncompatible);
  EXPECT_EQ(stored(header_object_name(id)), before);
  for (const ImageState state : {ImageState::kRenaming, ImageState::kRenamed}) {
    edit_header(id, [state](ImageHeader& header) {
      header.state = state;
      header.rename_to = "b";
    });
    const auto ended = run(finish_renaming(*gateway, pool, id));
    ASSERT_TRUE(ended && ended->why_undone);
    EXPECT_EQ(ended->why_undone->code, OsdErrc::kIncompatible);
    EXPECT_EQ(name_in_header(id), "a");
    EXPECT_EQ(named("a"), id);
  }
  ASSERT_TRUE(rename("a", "c"));
  EXPECT_EQ(named("c"), id);
}

// A scrub tells a command to give. It is for the image that was found, whatever its header says.
TEST_F(ImageRenameTest, AScrubNamesNoCommandThatMovesAnotherImage) {
  const ImageId victim = make("victim");
  const ImageId mine = make("mine");
  edit_header(mine, [](ImageHeader& header) {
    header.state = ImageState::kRenaming;
    header.name = "victim";
    header.rename_to = "x";
  });
  int found = 0;
  for (const ScrubFinding& finding : scrub().findings) {
    found += finding.kind == FindingKind::kHalfRenamed ? 1 : 0;
    EXPECT_EQ(finding.repair.find("lunar/victim"), std::string::npos) << finding.repair;
    EXPECT_TRUE(repair(finding));
  }
  EXPECT_EQ(found, 1);
  EXPECT_EQ(names_of(victim, {"victim", "x"}), Names{"victim"});
  EXPECT_EQ(name_in_header(victim), "victim");
}

TEST_F(ImageRenameTest, OneThatHasNeitherOfItsNamesGetsASpareOneByRepairs) {
  const ImageId first = make("v1");
  const ImageId second = make("v2");
  const ImageId id = make("own");
  edit_header(id, [](ImageHeader& header) {
    header.state = ImageState::kRenamed;
    header.name = "v1";
    header.rename_to = "v2";
  });
  for (int round = 0; round < 3; ++round)
    for (const ScrubFinding& finding : scrub().findings) static_cast<void>(repair(finding));
  EXPECT_TRUE(scrub().findings.empty());
  EXPECT_EQ(name_in_header(first), "v1");
  EXPECT_EQ(name_in_header(second), "v2");
  EXPECT_EQ(named(name_in_header(id)), id) << name_in_header(id);
}

}  // namespace
}  // namespace lunar::gateway
