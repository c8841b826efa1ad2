// SPDX-License-Identifier: LGPL-2.1-or-later
// Damage is planted, found, explained and mended, on servers in memory.
#include "gateway/pool_scrub.h"

#include <algorithm>

#include "gateway/metadata/header_object.h"
#include "gateway/metadata/metadata_object.h"
#include "gateway/metadata/name_claim.h"
#include "gateway/metadata/name_object.h"
#include "gateway/metadata/old_directory.h"
#include "msgr/loopback/loopback_stack.h"
#include "objecter/protocol/placement.h"
#include "tests/gateway/metadata/metadata_fixture.h"
#include "tests/support/sizes.h"

namespace lunar::gateway {
namespace {

using objecter::OsdErrc;

class PoolScrubTest : public MetadataFixture {
 protected:
  // An image of 8 MiB, all of it written, and closed again.
  ImageId make_image(const std::string& name) {
    EXPECT_TRUE(create(name, 8 * kMiB));
    auto opened = open(*gateway, name);
    EXPECT_TRUE(opened);
    image = *opened;
    EXPECT_FALSE(write(0, std::string(8 * kMiB, 'x')));
    const ImageId id = image->id();
    EXPECT_TRUE(close(image));
    image.reset();
    return id;
  }

  ScrubReport scrub(const std::string& only = "", bool reads_data = true) {
    ScrubOptions options;
    options.image = only;
    options.reads_data = reads_data;
    auto report = wait<ScrubReport>(
        [&](auto done) { scrub_pool(*gateway, "lunar", options, {}, std::move(done)); });
    EXPECT_TRUE(report) << report.error().message;
    return report ? *report : ScrubReport();
  }
  std::vector<std::string> found(const std::string& only = "") {
    std::vector<std::string> names;
    for (const auto& each : scrub(only).findings) names.push_back(each.name());
    return names;
  }
  Outcome<std::string> repair(const std::string& name, const HeaderGuess& guess = {}) {
    const ScrubReport report = scrub();
    const auto at = std::find_if(report.findings.begin(), report.findings.end(),
                                 [&](const auto& each) { return each.name() == name; });
    if (at == report.findings.end()) return failure(OsdErrc::kNoSuchObject, "not found: " + name);
    return mend(*at, guess);
  }
  Outcome<std::string> mend(const ScrubFinding& finding, const HeaderGuess& guess = {}) {
    return wait<std::string>(
        [&](auto done) { repair_finding(*gateway, "lunar", finding, guess, std::move(done)); });
  }
  void expect_repaired(const std::string& name, const HeaderGuess& guess = {}) {
    const auto done = repair(name, guess);
    EXPECT_TRUE(done) << done.error().message;
    EXPECT_EQ(found(), Strings());
  }

  // What the image of this name holds.
  std::string content(const std::string& name, std::size_t length) {
    auto opened = open(*gateway, name);
    EXPECT_TRUE(opened) << opened.error().message;
    if (!opened) return {};
    image = *opened;
    std::string out = read(0, length);
    EXPECT_TRUE(close(image));
    image.reset();
    return out;
  }

  objecter::OpReply submit(objecter::ObjectOp op) {
    std::optional<objecter::OpReply> reply;
    gateway->objecter().submit(std::move(op),
                               [&](objecter::OpReply answer) { reply = std::move(answer); });
    EXPECT_TRUE(until([&] { return reply.has_value(); }));
    return reply.value_or(objecter::OpReply());
  }
  // Puts `text` into an object; a metadata object if so flagged.
  void put(const std::string& object, const std::string& text, uint16_t flags = 0) {
    objecter::ObjectOp op;
    op.object = {pool, object};
    op.flags = flags;
    objecter::SubOp step;
    step.code = objecter::OpCode::kWriteFull;
    step.length = text.size();
    step.data_length = static_cast<uint32_t>(text.size());
    op.steps = {step};
    op.data.push_back(as_const_bytes(text));
    EXPECT_FALSE(submit(std::move(op)).error);
  }
  std::size_t objects_with(const std::string& prefix) {
    std::size_t count = 0;
    for (auto& [id, osd] : osds) {
      osd.store->list(
          pool, "", 10'000, [](const std::string&) { return true; },
          [&](Result<std::vector<std::string>> names) {
            ASSERT_TRUE(names);
            for (const auto& name : *names) count += name.starts_with(prefix) ? 1 : 0;
          });
    }
    turn();
    return count;
  }
  osd::FaultyStore& store_of(const std::string& object) {
    const auto info = gateway->find_pool("lunar");
    return *osds[objecter::osd_of_pg(*info, objecter::pg_of_object(*info, object))].store;
  }

  using Strings = std::vector<std::string>;
};

TEST_F(PoolScrubTest, FindsNothingInAPoolThatIsWell) {
  make_image("one");
  ASSERT_TRUE(create("empty", 8 * kMiB));
  const ScrubReport report = scrub();
  EXPECT_TRUE(report.findings.empty());
  EXPECT_TRUE(report.unchecked.empty());
  EXPECT_EQ(report.images, 2u);
  EXPECT_EQ(report.objects, 2u);
  EXPECT_GE(report.bytes_read, 8 * kMiB);
}

TEST_F(PoolScrubTest, ReadsNoDataIfToldSo) {
  make_image("one");
  EXPECT_EQ(scrub("", /*reads_data=*/false).bytes_read, 0u);
}

TEST_F(PoolScrubTest, AnImageThatIsNotThereIsNamed) {
  const auto report = wait<ScrubReport>([&](auto done) {
    ScrubOptions options;
    options.image = "nothing";
    scrub_pool(*gateway, "lunar", options, {}, std::move(done));
  });
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().code, OsdErrc::kNoSuchObject);
}

TEST_F(PoolScrubTest, ACreationThatWasInterruptedIsUndone) {
  ImageHeader header;
  header.id = 0x77;
  header.name = "never";
  header.uuid = Uuid::random();
  header.size = 8 * kMiB;
  ASSERT_TRUE(run(write_header(*gateway, pool, header)));
  EXPECT_EQ(found(), Strings{"half-made:0000000000000077"});
  expect_repaired("half-made:0000000000000077");
  EXPECT_EQ(objects_with("0000000000000077"), 0u);
}

TEST_F(PoolScrubTest, AnImageThatLostItsNameGetsItBack) {
  const ImageId id = make_image("one");
  ASSERT_TRUE(run(drop_name(*gateway, pool, "one", id)));
  expect_repaired("unnamed:" + image_id_text(id));
  EXPECT_EQ(content("one", 4096), std::string(4096, 'x'));
}

TEST_F(PoolScrubTest, AnImageWhoseNameWasTakenGetsAnother) {
  const ImageId id = make_image("one");
  ASSERT_TRUE(run(drop_name(*gateway, pool, "one", id)));
  ASSERT_TRUE(create("one", 8 * kMiB));
  expect_repaired("unnamed:" + image_id_text(id));
  EXPECT_EQ(content("one-" + image_id_text(id), 4096), std::string(4096, 'x'));
  EXPECT_EQ(content("one", 4096), std::string(4096, '\0'));
}

TEST_F(PoolScrubTest, ARemovalThatWasInterruptedIsFinished) {
  const ImageId id = make_image("one");
  ASSERT_TRUE(run(update_header(*gateway, pool, id, [](ImageHeader& header) {
    header.state = ImageState::kRemoving;
    return Outcome<void>();
  })));
  expect_repaired("half-removed:" + image_id_text(id));
  EXPECT_EQ(objects_with(image_id_text(id)), 0u);
}

TEST_F(PoolScrubTest, AnImportThatWasInterruptedIsRemoved) {
  const ImageId id = make_image("one");
  ASSERT_TRUE(run(update_header(*gateway, pool, id, [](ImageHeader& header) {
    header.state = ImageState::kImporting;
    return Outcome<void>();
  })));
  const ScrubReport report = scrub();
  ASSERT_EQ(report.findings.size(), 1u);
  EXPECT_TRUE(report.findings.front().must_be_named);
  expect_repaired("half-imported:" + image_id_text(id));
  EXPECT_EQ(objects_with(image_id_text(id)), 0u);
}

TEST_F(PoolScrubTest, AnImportThatGoesOnIsNotRemoved) {
  const auto importing = create_and_import("one");
  ASSERT_TRUE(importing);
  const ScrubReport report = scrub();
  ASSERT_EQ(report.findings.size(), 1u);
  const auto repaired = mend(report.findings.front());
  ASSERT_FALSE(repaired);
  EXPECT_EQ(repaired.error().code, OsdErrc::kBusy);
  image = *importing;
  EXPECT_FALSE(write(0, std::string(4096, 'x')));
  EXPECT_TRUE(wait<void>([&](auto done) {
    finish_import(*gateway, image->id(), {"lunar", "one"}, std::move(done));
  }));
  EXPECT_TRUE(close(image));
  image.reset();
  EXPECT_EQ(content("one", 4096), std::string(4096, 'x'));
}

TEST_F(PoolScrubTest, ANameThatARemovalHasLeftIsTakenOut) {
  const auto made = create("one", 8 * kMiB);
  ASSERT_TRUE(made);
  ASSERT_TRUE(run(delete_header(*gateway, pool, made->id)));
  expect_repaired("half-removed:" + image_id_text(made->id));
  EXPECT_TRUE(create("one", 8 * kMiB));
}

TEST_F(PoolScrubTest, ALostHeaderIsMadeFromNameAndData) {
  const ImageId id = make_image("one");
  ASSERT_TRUE(run(delete_header(*gateway, pool, id)));
  const ScrubReport report = scrub();
  ASSERT_EQ(report.findings.size(), 1u);
  EXPECT_TRUE(report.findings.front().must_be_named);
  expect_repaired("lost-header:" + image_id_text(id));
  EXPECT_EQ(content("one", 8 * kMiB), std::string(8 * kMiB, 'x'));
}

TEST_F(PoolScrubTest, ADamagedHeaderKeepsWhatCanBeReadOfIt) {
  const ImageId id = make_image("one");
  const auto before = run(find_header(*gateway, {"lunar", "one"}));
  ASSERT_TRUE(before);
  std::string text = encode(before->header);
  text[text.find("\"state\"")] = '#';
  put(header_object_name(id), text, objecter::kOpMetadata);
  ASSERT_FALSE(open(*gateway, "one"));
  expect_repaired("damaged-header:" + image_id_text(id));
  const auto after = run(find_header(*gateway, {"lunar", "one"}));
  ASSERT_TRUE(after);
  EXPECT_EQ(after->header.uuid, before->header.uuid);
  EXPECT_EQ(after->header.size, before->header.size);
}

TEST_F(PoolScrubTest, WhoHasAnImageOpenWhoseHeaderIsMadeAnewIsFenced) {
  const ImageId id = make_image("one");
  Client* other = make_client("other");
  auto opened = open(*other, "one");
  ASSERT_TRUE(opened);
  image = *opened;
  auto found = run(find_header(*gateway, {"lunar", "one"}));
  ASSERT_TRUE(found);
  found->header.registrations.push_back({"client.admin", "legible", 5, 55});
  std::string text = encode(found->header);
  text[text.find("\"state\"")] = '#';
  put(header_object_name(id), text, objecter::kOpMetadata);
  ASSERT_FALSE(write(0, "y")) << "it has not heard of it";
  const auto done = repair("damaged-header:" + image_id_text(id));
  ASSERT_TRUE(done) << done.error().message;
  for (objecter::OsdId osd = 0; osd < 3; ++osd) {
    const std::string fences = command(R"({"prefix": "fences"})", osd).text;
    EXPECT_NE(fences.find("legible"), std::string::npos);
  }
  for (uint64_t at = 0; at < 8 * kMiB; at += 4 * kMiB) {
    EXPECT_EQ(write(at, "z"), OsdErrc::kFenced);
  }
  EXPECT_TRUE(close(image));
  image.reset();
}

TEST_F(PoolScrubTest, ADamagedNameIsMadeFromTheHeaderThatHasIt) {
  make_image("one");
  make_image("two");
  put("lunar_id.one", "?", objecter::kOpMetadata);
  ASSERT_FALSE(open(*gateway, "one"));
  EXPECT_EQ(content("two", 4096), std::string(4096, 'x'));
  const ScrubReport report = scrub();
  ASSERT_EQ(report.findings.size(), 1u);
  EXPECT_EQ(report.findings[0].name(), "damaged-name:one");
  EXPECT_FALSE(report.findings[0].must_be_named);
  expect_repaired("damaged-name:one");
  EXPECT_EQ(content("one", 4096), std::string(4096, 'x'));
}

TEST_F(PoolScrubTest, ADamagedNameOfNoHeaderIsDeletedOnlyByName) {
  put("lunar_id.one", "?", objecter::kOpMetadata);
  put("00c0ffee00c0ffee.0000000000000001", "data");  // which may be its
  const ScrubReport report = scrub();
  ASSERT_EQ(report.findings.size(), 1u);
  EXPECT_EQ(report.findings[0].name(), "damaged-name:one");
  EXPECT_TRUE(report.findings[0].must_be_named);
  ASSERT_TRUE(repair("damaged-name:one"));
  EXPECT_EQ(found(), Strings{"orphan:00c0ffee00c0ffee"});
  EXPECT_TRUE(create("one", 8 * kMiB));
}

TEST_F(PoolScrubTest, OfTwoNamesThatOfTheHeaderIsKept) {
  const ImageId id = make_image("one");
  ASSERT_TRUE(run(take_name(*gateway, pool, "another", id)));
  EXPECT_EQ(found("one"), Strings{"two-names:" + image_id_text(id)});
  expect_repaired("two-names:" + image_id_text(id));
  EXPECT_EQ(content("one", 4096), std::string(4096, 'x'));
  EXPECT_FALSE(open(*gateway, "another"));
}

TEST_F(PoolScrubTest, ANameThatAnInterruptedRenamingMadeIsNoDamageAndTheRenamingIsFinished) {
  const ImageId id = make_image("one");
  for (const ImageState state : {ImageState::kRenaming, ImageState::kRenamed}) {
    ASSERT_TRUE(run(update_header(*gateway, pool, id, [&](ImageHeader& header) {
      header.state = state;
      header.rename_to = header.name == "one" ? "new" : "one";
      return Outcome<void>();
    })));
    const std::string to = run(read_header(*gateway, pool, id))->header.rename_to;
    ASSERT_TRUE(run(take_name(*gateway, pool, to, id)));
    EXPECT_EQ(found(), Strings{"half-renamed:" + image_id_text(id)});
    expect_repaired("half-renamed:" + image_id_text(id));
    EXPECT_EQ(content(to, 3), "xxx");
  }
}

TEST_F(PoolScrubTest, ARenamingWhoseNewNameWasTakenIsUndone) {
  const ImageId id = make_image("one");
  make_image("two");
  ASSERT_TRUE(run(update_header(*gateway, pool, id, [&](ImageHeader& header) {
    header.state = ImageState::kRenaming;
    header.rename_to = "two";
    return Outcome<void>();
  })));
  expect_repaired("half-renamed:" + image_id_text(id));
  EXPECT_EQ(content("one", 3), "xxx");
}

TEST_F(PoolScrubTest, AnImageThatIsFoundOnlyUnderANameThatItDoesNotHaveGetsItsOwn) {
  const ImageId id = make_image("one");
  ASSERT_TRUE(run(drop_name(*gateway, pool, "one", id)));
  ASSERT_TRUE(run(take_name(*gateway, pool, "another", id)));
  EXPECT_EQ(found(), Strings{"unnamed:" + image_id_text(id)});
  expect_repaired("unnamed:" + image_id_text(id));
  EXPECT_EQ(content("one", 3), "xxx");
  EXPECT_FALSE(open(*gateway, "another"));
}

// Holds up one send of a client, and tells of it.
struct HeldSend final : msgr::LoopbackInjector {
  Verdict on_send(const msgr::Address&, std::size_t) override {
    Verdict verdict;
    if (++count == held) verdict.delay = std::chrono::seconds(1);
    return verdict;
  }
  int count = 0;
  int held = 0;
};

// Names are listed server by server, and an image may be renamed in between.
TEST_F(PoolScrubTest, AnImageThatIsRenamedWhileNamesAreListedHasOne) {
  ASSERT_TRUE(create("one", 8 * kMiB));
  HeldSend links;
  msgr::LoopbackOptions network;
  network.injector = &links;
  msgr::LoopbackStack host(network, stack);
  Client* other = make_client("other", host);
  const Strings names{"one", "two", "three", "four", "five"};
  std::size_t at = 0;
  int pauses = 0;
  for (int held = 1;; ++held) {
    links.count = 0;
    links.held = held;
    std::optional<Outcome<ScrubReport>> report;
    scrub_pool(*other, "lunar", {.image = "", .reads_data = false, .only_objects = {}}, {},
               [&](Outcome<ScrubReport> done) { report = std::move(done); });
    EXPECT_TRUE(until([&] { return links.count >= held || report.has_value(); }));
    if (links.count < held) break;
    ++pauses;
    for (int i = 0; i < 2; ++i, ++at) {
      const ImageSpec from{"lunar", names[at % names.size()]};
      EXPECT_TRUE(wait<void>([&](auto done) {
        rename_image(*gateway, from, names[(at + 1) % names.size()], std::move(done));
      }));
    }
    EXPECT_TRUE(until([&] { return report.has_value(); }));
    if (!report || !*report) break;
    for (const ScrubFinding& each : (*report)->findings)
      ADD_FAILURE() << each.name() << " after a pause at send " << held << ": " << each.what;
  }
  EXPECT_GT(pauses, 5);
  end_client(other);
}

TEST_F(PoolScrubTest, ADirectoryOfAnEarlierFormatIsConverted) {
  const ImageId id = make_image("one");
  ASSERT_TRUE(run(drop_name(*gateway, pool, "one", id)));
  put("lunar_directory", encode_old_directory({.is_closed = false, .images = {{"one", id}}}),
      objecter::kOpMetadata);
  EXPECT_EQ(found(), Strings{"directory:lunar_directory"});
  expect_repaired("directory:lunar_directory");
  EXPECT_EQ(content("one", 4096), std::string(4096, 'x'));
}

TEST_F(PoolScrubTest, OfADamagedDirectoryTheEntriesThatReadAsSuchAreTakenOver) {
  const ImageId id = make_image("one");
  ASSERT_TRUE(run(drop_name(*gateway, pool, "one", id)));
  put("lunar_directory", "?? \"one\": \"" + image_id_text(id) + "\", \"two\": \"00",
      objecter::kOpMetadata);
  EXPECT_EQ(found(), Strings{"directory:lunar_directory"});
  expect_repaired("directory:lunar_directory");
  EXPECT_EQ(content("one", 4096), std::string(4096, 'x'));
}

TEST_F(PoolScrubTest, DataOfNoImageIsDeletedOnlyByName) {
  const std::string orphan = "00c0ffee00c0ffee.0000000000000001";
  put(orphan, "data");
  const ScrubReport report = scrub();
  ASSERT_EQ(report.findings.size(), 1u);
  EXPECT_TRUE(report.findings.front().must_be_named);
  expect_repaired("orphan:00c0ffee00c0ffee");
  EXPECT_EQ(objects_with(orphan), 0u);
}

TEST_F(PoolScrubTest, DataIsNoOrphanWhileTheDirectoryCannotBeRead) {
  put("00c0ffee00c0ffee.0000000000000001", "data");
  put("lunar_directory", "?", objecter::kOpMetadata);
  EXPECT_EQ(found(), Strings{"directory:lunar_directory"});
}

TEST_F(PoolScrubTest, AnOrphanThatBecameAnImageMeanwhileIsKept) {
  const std::string object = "00c0ffee00c0ffee.0000000000000001";
  put(object, "data");
  const ScrubReport report = scrub();
  ASSERT_EQ(report.findings.size(), 1u);
  ASSERT_TRUE(run(take_name(*gateway, pool, "back", 0x00c0ffee00c0ffeeu)));
  const auto refused = mend(report.findings.front());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, OsdErrc::kBusy);
  EXPECT_EQ(objects_with(object), 1u);
}

TEST_F(PoolScrubTest, DataBeyondTheEndIsDeleted) {
  const ImageId id = make_image("one");
  put(data_object_name(id, 5), "left over");
  expect_repaired("beyond-end:" + image_id_text(id));
  EXPECT_EQ(objects_with(data_object_name(id, 5)), 0u);
  EXPECT_EQ(content("one", 8 * kMiB), std::string(8 * kMiB, 'x'));
}

TEST_F(PoolScrubTest, DataBeyondTheEndIsKeptIfTheImageGrew) {
  const ImageId id = make_image("one");
  put(data_object_name(id, 5), "left over");
  const ScrubReport report = scrub();
  ASSERT_EQ(report.findings.size(), 1u);
  ASSERT_TRUE(run(update_header(*gateway, pool, id, [](ImageHeader& header) {
    header.size = 64 * kMiB;
    return Outcome<void>();
  })));
  EXPECT_FALSE(mend(report.findings.front()));
  EXPECT_EQ(objects_with(data_object_name(id, 5)), 1u);
}

TEST_F(PoolScrubTest, AnObjectThatCannotBeReadIsZeroedWhereItCannot) {
  // An image whose second object is alone on its server: the READs that fail are of no other one.
  ImageId id = make_image("one");
  const auto is_alone = [&] {
    const auto* const store = &store_of(data_object_name(id, 1));
    return store != &store_of(data_object_name(id, 0)) &&
           store != &store_of(header_object_name(id)) && store != &store_of("lunar_id.one") &&
           store != &store_of("lunar_directory");
  };
  while (!is_alone()) {
    ASSERT_TRUE(wait<void>([&](auto done) {
      remove_image(*gateway, {"lunar", "one"}, {}, std::move(done));
    }));
    id = make_image("one");
  }
  const std::string object = data_object_name(id, 1);
  osd::FaultyStore& store = store_of(object);
  store.fail_next(osd::FaultyStore::Call::kRead, make_error_code(OsdErrc::kIoError));
  const ScrubReport report = scrub();
  ASSERT_EQ(report.findings.size(), 1u);
  const ScrubFinding damaged = report.findings.front();
  EXPECT_EQ(damaged.kind, FindingKind::kDamaged);
  EXPECT_TRUE(damaged.must_be_named);
  // 4 MiB, its halves, …: down to 4 KiB at the first address, and the rest can be read.
  store.fail_next(osd::FaultyStore::Call::kRead, make_error_code(OsdErrc::kIoError), 11);
  const auto done = mend(damaged);
  ASSERT_TRUE(done) << done.error().message;
  EXPECT_NE(done->find("zeroed 4096 of 4194304 bytes"), std::string::npos) << *done;
  EXPECT_EQ(found(), Strings());
  const std::string now = content("one", 8 * kMiB);
  EXPECT_EQ(std::count(now.begin(), now.end(), '\0'), 4096);
}

TEST_F(PoolScrubTest, AnObjectThatItsServerRefusesIsGivenUp) {
  const ImageId id = make_image("one");
  const std::string object = data_object_name(id, 1);
  auto opened = open(*gateway, "one");
  ASSERT_TRUE(opened);
  image = *opened;
  ASSERT_FALSE(write(5 * kMiB, "unflushed"));
  store_of(object).lose({{pool, object}});
  ASSERT_TRUE(close(image));
  image.reset();
  const std::string name = "damaged:" + object;
  const Strings names = found();
  EXPECT_NE(std::find(names.begin(), names.end(), name), names.end());
  const auto done = repair(name);
  ASSERT_TRUE(done) << done.error().message;
  for (const std::string& each : found()) EXPECT_TRUE(each.starts_with("lost-writes:")) << each;
  EXPECT_EQ(content("one", 8 * kMiB), std::string(4 * kMiB, 'x') + std::string(4 * kMiB, '\0'));
}

TEST_F(PoolScrubTest, ARegistrationOfNobodyIsFencedAndStruck) {
  const ImageId id = make_image("one");
  ASSERT_TRUE(run(update_header(*gateway, pool, id, [](ImageHeader& header) {
    header.registrations.push_back({"client.admin", "gone/1", 5});
    return Outcome<void>();
  })));
  const ScrubReport report = scrub();
  ASSERT_EQ(report.findings.size(), 1u);
  EXPECT_TRUE(report.findings.front().must_be_named);
  expect_repaired("registration:" + image_id_text(id) + ":gone/1");
  EXPECT_NE(command(R"({"prefix": "fences"})", 0).text.find("gone/1"), std::string::npos);
}

TEST_F(PoolScrubTest, ARegistrationOfAGatewayThatIsThereIsWell) {
  create_and_open(8 * kMiB);
  EXPECT_EQ(found(), Strings());
  EXPECT_TRUE(close(image));
}

TEST_F(PoolScrubTest, AForeignObjectIsDeletedOnlyByName) {
  put("somebody.elses", "data");
  const ScrubReport report = scrub();
  ASSERT_EQ(report.findings.size(), 1u);
  EXPECT_TRUE(report.findings.front().must_be_named);
  expect_repaired("foreign:somebody.elses");
}

TEST_F(PoolScrubTest, AForeignMetadataObjectCanBeDeletedToo) {
  put("somebody.elses", "data", objecter::kOpMetadata);
  expect_repaired("foreign:somebody.elses");
}

TEST_F(PoolScrubTest, OnlyWhatConcernsOneImageIsShown) {
  const ImageId one = make_image("one");
  const ImageId two = make_image("two");
  put(data_object_name(one, 5), "left over");
  put(data_object_name(two, 5), "left over");
  put("somebody.elses", "data");
  EXPECT_EQ(found("two"), Strings{"beyond-end:" + image_id_text(two)});
}

TEST_F(PoolScrubTest, AServerThatIsDownIsToldAndItsObjectsAreNoFindings) {
  make_image("one");
  make_image("two");
  stop(2);
  ASSERT_TRUE(until([&] {
    const auto* osd = gateway->objecter().map()->find_osd(2);
    return osd != nullptr && !osd->up;
  }));
  const ScrubReport report = scrub();
  EXPECT_TRUE(report.findings.empty());
  ASSERT_FALSE(report.unchecked.empty());
  EXPECT_NE(report.unchecked.front().find("osd.2"), std::string::npos);
}

}  // namespace
}  // namespace lunar::gateway
