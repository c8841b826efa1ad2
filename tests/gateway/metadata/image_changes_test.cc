// SPDX-License-Identifier: LGPL-2.1-or-later
// Interrupted changes, which ImageDirectoryTest cannot make.
#include "gateway/metadata/header_object.h"
#include "gateway/metadata/metadata_object.h"
#include "gateway/metadata/name_claim.h"
#include "gateway/metadata/name_object.h"
#include "gateway/metadata/old_directory.h"
#include "gateway/metadata/pool_objects.h"
#include "objecter/protocol/placement.h"
#include "tests/gateway/metadata/metadata_fixture.h"
#include "tests/support/sizes.h"

namespace lunar::gateway {
namespace {

using objecter::OsdErrc;

class ImageChangesTest : public MetadataFixture {
 protected:
  Outcome<void> remove(const std::string& name) {
    return wait<void>([&](auto done) {
      remove_image(*gateway, {"lunar", name}, {}, std::move(done));
    });
  }
  Outcome<void> finish(ImageId id) {
    return wait<void>([&](auto done) {
      finish_import(*gateway, id, {"lunar", "disk"}, std::move(done));
    });
  }
  std::error_code abandon(ImageId id) {
    const auto abandoned = wait<void>([&](auto done) {
      abandon_import(*gateway, id, {"lunar", "disk"}, std::move(done));
    });
    return abandoned ? std::error_code() : abandoned.error().code;
  }
  Outcome<std::optional<ImageHeader>> find_open() {
    return wait<std::optional<ImageHeader>>(
        [&](auto done) { find_open_image(*gateway, "lunar", std::move(done)); });
  }
  PoolObjects objects(const std::string& prefix) {
    std::optional<PoolObjects> found;
    run_to_done<PoolObjects>(*center, list_objects(*gateway, *gateway->find_pool("lunar"), prefix),
                             [&](PoolObjects objects) { found = std::move(objects); });
    EXPECT_TRUE(until([&] { return found.has_value(); }));
    return found.value_or(PoolObjects());
  }
  // A server that has none of these objects: there are three, and at most two are named.
  objecter::OsdId server_without(const std::vector<std::string>& objects) {
    const objecter::OsdMapRef map = gateway->objecter().map();
    const objecter::PoolInfo& info = *map->find_pool(pool);
    objecter::OsdId osd = 0;
    while (std::any_of(objects.begin(), objects.end(), [&](const std::string& object) {
      return objecter::osd_of_pg(info, objecter::pg_of_object(info, object)) == osd;
    }))
      ++osd;
    return osd;
  }
  void put(const objecter::ObjectId& object, const std::string& text) {
    MetadataEditor edit = [&](const MetadataContent&) -> Outcome<MetadataEdit> {
      return MetadataEdit{MetadataEdit::Action::kWrite, text};
    };
    ASSERT_TRUE(run(update_metadata(*gateway, object, std::move(edit))));
  }
  void edit_header(ImageId id, UniqueFunction<void(ImageHeader&)> edit) {
    ASSERT_TRUE(run(update_header(*gateway, pool, id, [&](ImageHeader& header) {
      edit(header);
      return Outcome<void>();
    })));
  }
  using Call = osd::FaultyStore::Call;
  bool has_name(const std::string& name) {
    return run(find_name(*gateway, *gateway->find_pool("lunar"), name)).has_value();
  }
};

TEST_F(ImageChangesTest, ARemovalThatLeftTheNameIsFinished) {
  const auto created = create("disk", 8 * kMiB);
  ASSERT_TRUE(created);
  ASSERT_TRUE(run(delete_header(*gateway, pool, created->id)));
  ASSERT_TRUE(has_name("disk"));
  EXPECT_TRUE(remove("disk"));
  EXPECT_FALSE(has_name("disk"));
}

TEST_F(ImageChangesTest, ARemovalThatOnlyMarkedTheHeaderIsFinished) {
  const auto created = create("disk", 8 * kMiB);
  ASSERT_TRUE(created);
  ASSERT_TRUE(run(update_header(*gateway, pool, created->id, [](ImageHeader& header) {
    header.state = ImageState::kRemoving;
    return Outcome<void>();
  })));
  const auto opened = open(*gateway, "disk");
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, OsdErrc::kBusy);
  EXPECT_TRUE(remove("disk"));
  EXPECT_FALSE(has_name("disk"));
}

TEST_F(ImageChangesTest, WhatIsBeingImportedIsOpenedByItsImporterAlone) {
  const auto importing = create_and_import("disk");
  ASSERT_TRUE(importing) << importing.error().message;
  for (const bool is_reader : {false, true}) {
    const auto refused = open(*make_client("other"), "disk", {.read_only = is_reader});
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, OsdErrc::kBusy);
  }
  const ImageId id = (*importing)->id();
  ASSERT_TRUE(finish(id));
  EXPECT_TRUE(finish(id)) << "an answer that was lost";
  EXPECT_TRUE(close(*importing));
  const auto other = open(*make_client("another"), "disk");
  ASSERT_TRUE(other) << other.error().message;
  EXPECT_TRUE(close(*other));
  EXPECT_FALSE(open(*gateway, "disk", {.is_import = true})) << "it is whole";
}

TEST_F(ImageChangesTest, WhoDoesNotHaveItOpenDoesNotEndAnImport) {
  const auto importing = create_and_import("disk");
  ASSERT_TRUE(importing);
  const ImageId id = (*importing)->id();
  EXPECT_EQ(abandon(id), OsdErrc::kBusy) << "it is open";
  EXPECT_TRUE(close(*importing));
  const auto finished = finish(id);
  ASSERT_FALSE(finished);
  EXPECT_EQ(finished.error().code, OsdErrc::kFenced);
  EXPECT_FALSE(open(*gateway, "disk"));
  EXPECT_FALSE(abandon(id));
  EXPECT_FALSE(has_name("disk"));
}

TEST_F(ImageChangesTest, WhoAbandonsAnImportRemovesNoOtherImageOfItsName) {
  const auto first = create_and_import("disk");
  ASSERT_TRUE(first);
  const ImageId id = (*first)->id();
  EXPECT_TRUE(close(*first));
  ASSERT_TRUE(remove("disk"));
  const auto second = create_and_import("disk");
  ASSERT_TRUE(second);
  EXPECT_EQ(finish(id).error().code, OsdErrc::kNoSuchObject);
  EXPECT_TRUE(close(*second));
  EXPECT_EQ(abandon(id), OsdErrc::kBusy) << "it is another import";
  EXPECT_FALSE(abandon((*second)->id()));
  ASSERT_TRUE(create("disk", 8 * kMiB));
  EXPECT_EQ(abandon(id), OsdErrc::kBusy) << "it is whole";
  EXPECT_TRUE(has_name("disk"));
}

TEST_F(ImageChangesTest, AnImportThatIsWholeIsNotAbandoned) {
  const auto importing = create_and_import("disk");
  ASSERT_TRUE(importing);
  const ImageId id = (*importing)->id();
  ASSERT_TRUE(finish(id));
  EXPECT_TRUE(close(*importing));
  EXPECT_EQ(abandon(id), OsdErrc::kBusy);
  EXPECT_TRUE(has_name("disk"));
}

TEST_F(ImageChangesTest, RemovingWhatIsNotThereSaysSo) {
  const auto removed = remove("nothing");
  ASSERT_FALSE(removed);
  EXPECT_EQ(removed.error().code, OsdErrc::kNoSuchObject);
}

TEST_F(ImageChangesTest, ANameThatIsTakenLeavesNoHeaderBehind) {
  ASSERT_TRUE(create("disk", 8 * kMiB));
  ASSERT_FALSE(create("disk", 8 * kMiB));
  // The first one is the only image: it opens, and removing it leaves nothing.
  ASSERT_TRUE(remove("disk"));
  EXPECT_FALSE(has_name("disk"));
}

TEST_F(ImageChangesTest, ANameWhoseHeaderWasLostIsNotRemoved) {
  create_and_open(8 * kMiB);
  ASSERT_FALSE(write(5 * kMiB, "data"));
  const ImageId id = image->id();
  ASSERT_TRUE(close(image));
  ASSERT_TRUE(run(delete_header(*gateway, pool, id)));
  const auto removed = remove("disk");
  ASSERT_FALSE(removed);
  EXPECT_EQ(removed.error().code, OsdErrc::kCorrupt);
  EXPECT_TRUE(has_name("disk"));
}

TEST_F(ImageChangesTest, AShrunkImageIsSmallBeforeItsEndIsCleared) {
  create_and_open(8 * kMiB);
  ASSERT_TRUE(close(image));
  // Whoever opens it while its end is cleared must not find the old size.
  std::optional<uint64_t> size_meanwhile;
  Client* other = make_client("other");
  const auto resized = wait<void>([&](auto done) {
    const auto on_progress = [&](uint64_t, uint64_t) {
      find_image(*other, {"lunar", "disk"}, [&](Outcome<VersionedHeader> found) {
        if (found && !size_meanwhile) size_meanwhile = found->header.size;
      });
    };
    resize_image(*gateway, {"lunar", "disk"}, {.size = 4 * kMiB, .allows_shrink = true},
                 on_progress, std::move(done));
  });
  ASSERT_TRUE(resized);
  ASSERT_TRUE(until([&] { return size_meanwhile.has_value(); }));
  EXPECT_EQ(*size_meanwhile, 4 * kMiB);
}

TEST_F(ImageChangesTest, AStartThatRegistersWhileAnEarlierOneIsFencedStaysRegistered) {
  const auto created = create("disk", 8 * kMiB);
  ASSERT_TRUE(created);
  const Registration older{"client.admin", "gw", 5, 55};
  const Registration newer{"client.admin", "gw", 6, 66};
  edit_header(created->id, [&](ImageHeader& header) { header.registrations = {older}; });
  const objecter::OsdId other = server_without({header_object_name(created->id)});
  osds[other].store->hold(Call::kRecord);
  std::optional<Outcome<void>> result;
  unregister(*gateway, {"lunar", "disk"}, "gw",
             [&](Outcome<void> outcome) { result = std::move(outcome); });
  ASSERT_TRUE(until([&] { return osds[other].store->held(Call::kRecord) != 0; }));
  edit_header(created->id, [&](ImageHeader& header) { header.registrations.push_back(newer); });
  osds[other].store->release(Call::kRecord);
  ASSERT_TRUE(until([&] { return result.has_value(); }));
  EXPECT_TRUE(*result) << result->error().message;
  const auto found = run(read_header(*gateway, pool, created->id));
  ASSERT_TRUE(found);
  EXPECT_EQ(found->header.registrations, std::vector<Registration>{newer});
}

TEST_F(ImageChangesTest, ARemovalDeletesWhatTheImageHasGrownByMeanwhile) {
  const auto created = create("disk", 8 * kMiB);
  ASSERT_TRUE(created);
  edit_header(created->id, [&](ImageHeader& header) {
    header.registrations = {{"client.admin", "gone", 5, 55}};
  });
  for (ImageId id = 1; id <= 30; ++id) {  // every server has this client on record then
    ASSERT_TRUE(run(take_name(*gateway, pool, "name" + std::to_string(id), id)));
  }
  // One that the removal fences first, and that has nothing of what changes meanwhile.
  const objecter::OsdId third =
      server_without({header_object_name(created->id), data_object_name(created->id, 3)});
  osds[third].store->hold(Call::kRecord);
  std::optional<Outcome<void>> result;
  remove_image(*gateway, {"lunar", "disk"}, {},
               [&](Outcome<void> outcome) { result = std::move(outcome); });
  ASSERT_TRUE(until([&] { return osds[third].store->held(Call::kRecord) != 0; }));
  edit_header(created->id, [&](ImageHeader& header) { header.size = 16 * kMiB; });
  objecter::ObjectOp op;
  op.object = {pool, data_object_name(created->id, 3)};
  const std::string data = "data";
  objecter::SubOp& step = op.steps.emplace_back();
  step.code = objecter::OpCode::kWriteFull;
  step.length = step.data_length = static_cast<uint32_t>(data.size());
  op.data.push_back(as_const_bytes(data));
  std::optional<std::error_code> made;
  gateway->objecter().submit(std::move(op),
                             [&](const objecter::OpReply& reply) { made = reply.error; });
  ASSERT_TRUE(until([&] { return made.has_value(); }));
  ASSERT_FALSE(*made) << made->message();
  osds[third].store->release(Call::kRecord);
  ASSERT_TRUE(until([&] { return result.has_value(); }));
  EXPECT_TRUE(*result) << result->error().message;
  EXPECT_EQ(objects(image_id_text(created->id)).names, std::vector<std::string>());
}

TEST_F(ImageChangesTest, AnOpenImageIsFoundWithoutItsName) {
  const auto none = find_open();
  ASSERT_TRUE(none) << none.error().message;
  EXPECT_FALSE(*none);
  create_and_open(8 * kMiB);
  ASSERT_TRUE(run(drop_name(*gateway, pool, "disk", image->id())));
  put(old_directory_of(pool),
      encode_old_directory({.is_closed = false, .images = {{"disk", image->id()}}}));
  const auto found = find_open();
  ASSERT_TRUE(found) << found.error().message;
  ASSERT_TRUE(*found);
  EXPECT_EQ((*found)->id, image->id());
  EXPECT_TRUE(close(image));
  EXPECT_FALSE(*find_open());
}

TEST_F(ImageChangesTest, WhatCannotBeReadMayBeOpenAndAServerThatIsDownHidesWhatItHas) {
  const auto created = create("disk", 8 * kMiB);
  ASSERT_TRUE(created);
  stop(1);
  ASSERT_TRUE(until([&] { return !gateway->objecter().map()->find_osd(1)->up; }));
  EXPECT_TRUE(find_open());
  start(1);
  put(header_of(pool, created->id), "?");
  const auto refused = find_open();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, OsdErrc::kCorrupt);
}

// A repair took its header for one that was left over.
TEST_F(ImageChangesTest, AnImageWhoseHeaderGoesWhileItIsMadeIsNotMade) {
  ASSERT_TRUE(create("first", 8 * kMiB));  // so that there is a directory
  const auto info = *gateway->find_pool("lunar");
  const auto osd = objecter::osd_of_pg(info, objecter::pg_of_object(info, "lunar_id.disk"));
  const std::size_t before = objects("").names.size();
  for (bool is_done = false; !is_done;) {
    osds[osd].store->hold(Call::kReplace);
    std::optional<Outcome<ImageHeader>> made;
    create_image(*gateway, {"lunar", "disk"}, {8 * kMiB, {}},
                 [&](Outcome<ImageHeader> outcome) { made = std::move(outcome); });
    ASSERT_TRUE(until([&] { return osds[osd].store->held(Call::kReplace) != 0; }));
    // If its header is not on the same server, it is its name that waits.
    for (const std::string& name : objects("").names) {
      const auto id = parse_image_id(std::string_view(name).substr(0, 16));
      if (!id || osd == objecter::osd_of_pg(info, objecter::pg_of_object(info, name))) continue;
      const auto found = run(read_header(*gateway, pool, *id));
      if (!found || found->header.name != "disk") continue;
      is_done = true;
      ASSERT_TRUE(run(delete_header(*gateway, pool, *id)));
    }
    osds[osd].store->release(Call::kReplace);
    ASSERT_TRUE(until([&] { return made.has_value(); }));
    EXPECT_EQ(made->has_value(), !is_done);
    if (!is_done) {
      ASSERT_TRUE(remove("disk"));
    }
  }
  EXPECT_FALSE(has_name("disk"));
  EXPECT_EQ(objects("").names.size(), before);
}

TEST_F(ImageChangesTest, RefusalsComeLaterThanTheCall) {
  std::optional<Outcome<void>> result;
  resize_image(*gateway, {"lunar", "disk"}, {.size = 1}, {},
               [&result](Outcome<void> outcome) { result = std::move(outcome); });
  EXPECT_FALSE(result) << "done ran inside the call";
  ASSERT_TRUE(until([&] { return result.has_value(); }));
  EXPECT_FALSE(*result);
}

}  // namespace
}  // namespace lunar::gateway
