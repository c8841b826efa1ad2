// SPDX-License-Identifier: LGPL-2.1-or-later
#include "gateway/metadata/old_directory.h"

#include "gateway/metadata/header_object.h"
#include "gateway/metadata/metadata_object.h"
#include "gateway/metadata/name_claim.h"
#include "gateway/metadata/name_object.h"
#include "objecter/protocol/placement.h"
#include "tests/gateway/metadata/metadata_fixture.h"
#include "tests/support/sizes.h"

namespace lunar::gateway {
namespace {

using objecter::OsdErrc;

class OldDirectoryTest : public MetadataFixture {
 protected:
  void put(const std::string& text) {
    MetadataEditor edit = [&](const MetadataContent&) -> Outcome<MetadataEdit> {
      return MetadataEdit{MetadataEdit::Action::kWrite, text};
    };
    ASSERT_TRUE(run(update_metadata(*gateway, old_directory_of(pool), std::move(edit))));
  }
  std::string text() {
    std::optional<Result<MetadataContent>> content;
    read_metadata_later(*gateway, old_directory_of(pool),
                        [&](Result<MetadataContent> read) { content = std::move(read); });
    EXPECT_TRUE(until([&] { return content.has_value(); }));
    return content && *content ? (*content)->text : std::string();
  }
  // A pool as an earlier build left it: with this image, whose name is in the directory alone.
  ImageId make_old(const std::string& name) {
    OldDirectory directory;
    if (auto before = decode_old_directory(text())) directory = *before;
    put(encode_old_directory({.is_closed = true, .images = {}}));
    const auto made = create(name, 8 * kMiB);
    EXPECT_TRUE(made);
    EXPECT_TRUE(run(drop_name(*gateway, pool, name, made->id)));
    directory.is_closed = false;
    directory.images[name] = made->id;
    put(encode_old_directory(directory));
    return made->id;
  }
  Outcome<PoolConversion> convert() {
    return wait<PoolConversion>(
        [&](auto done) { convert_pool(*gateway, "lunar", {}, std::move(done)); });
  }
  Outcome<ImageList> list() {
    return wait<ImageList>(
        [&](auto done) { list_images(*gateway, "lunar", {.wants_ids = true}, std::move(done)); });
  }
};

TEST_F(OldDirectoryTest, TheFirstImageOfAPoolShutsEarlierBuildsOut) {
  EXPECT_EQ(text(), "");
  ASSERT_TRUE(create("disk", 8 * kMiB));
  const auto directory = decode_old_directory(text());
  ASSERT_TRUE(directory);
  EXPECT_TRUE(directory->is_closed);
  EXPECT_NE(text().find("\"format\": 2"), std::string::npos);  // which they refuse by its number
  EXPECT_NE(text().find("\"images\""), std::string::npos);     // and not as damaged
}

TEST_F(OldDirectoryTest, APoolThatHasOneIsRefusedWithTheCommandToGive) {
  const ImageId id = make_old("one");
  for (const Error& error : {create("two", 8 * kMiB).error(), list().error(),
                             open(*gateway, "one").error(), open(*gateway, "two").error()}) {
    EXPECT_EQ(error.code, OsdErrc::kIncompatible);
    EXPECT_NE(error.message.find("'lunar pool convert lunar'"), std::string::npos) << error.message;
  }
  const auto conversion = convert();
  ASSERT_TRUE(conversion) << conversion.error().message;
  EXPECT_EQ(conversion->converted, 1u);
  EXPECT_TRUE(conversion->renamed.empty());
  const auto images = list();
  ASSERT_TRUE(images);
  ASSERT_EQ(images->images.size(), 1u);
  EXPECT_EQ(images->images[0].name, "one");
  EXPECT_EQ(images->images[0].id, id);
  EXPECT_TRUE(create("two", 8 * kMiB));
  EXPECT_EQ(convert()->converted, 0u);
}

TEST_F(OldDirectoryTest, AConversionThatWasInterruptedIsFinished) {
  const ImageId one = make_old("one");
  const ImageId two = make_old("two");
  OldDirectory begun;
  begun.is_closed = true;
  begun.images = {{"one", one}, {"two", two}};
  put(encode_old_directory(begun));
  ASSERT_TRUE(run(take_name(*gateway, pool, "one", one)));
  EXPECT_TRUE(run(find_header(*gateway, {"lunar", "one"})));
  const auto missing = run(find_header(*gateway, {"lunar", "two"}));
  ASSERT_FALSE(missing);
  EXPECT_NE(missing.error().message.find("was interrupted"), std::string::npos);
  EXPECT_EQ(create("three", 8 * kMiB).error().code, OsdErrc::kIncompatible);
  ASSERT_TRUE(convert());
  EXPECT_TRUE(run(find_header(*gateway, {"lunar", "two"})));
  EXPECT_TRUE(create("three", 8 * kMiB));
}

TEST_F(OldDirectoryTest, ANameThatAnotherImageHasByThenGetsANumber) {
  const ImageId id = make_old("one");
  ASSERT_TRUE(run(take_name(*gateway, pool, "one", 7)));
  const auto conversion = convert();
  ASSERT_TRUE(conversion);
  const std::string spare = spare_name("one", id);
  ASSERT_EQ(conversion->renamed.size(), 1u);
  EXPECT_EQ(conversion->renamed[0], (std::pair<std::string, std::string>("one", spare)));
  const auto found = run(find_header(*gateway, {"lunar", spare}));
  ASSERT_TRUE(found);
  EXPECT_EQ(found->header.id, id);
  EXPECT_EQ(found->header.name, spare);
}

TEST_F(OldDirectoryTest, ANameThatWasRemovedAfterAnInterruptionDoesNotComeBack) {
  const ImageId one = make_old("one");
  const ImageId two = make_old("two");
  put(encode_old_directory({.is_closed = true, .images = {{"one", one}, {"two", two}}}));
  ASSERT_TRUE(run(take_name(*gateway, pool, "one", one)));
  ASSERT_TRUE(wait<void>([&](auto done) {
    remove_image(*gateway, {"lunar", "one"}, {}, std::move(done));
  }));
  const auto conversion = convert();
  ASSERT_TRUE(conversion) << conversion.error().message;
  EXPECT_EQ(conversion->converted, 1u);
  const auto images = list();
  ASSERT_TRUE(images);
  ASSERT_EQ(images->images.size(), 1u);
  EXPECT_EQ(images->images[0].name, "two");
}

TEST_F(OldDirectoryTest, OneThatCannotBeReadIsNamedAndNothingIsMadeBesideIt) {
  put("?");
  const auto refused = create("one", 8 * kMiB);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, OsdErrc::kCorrupt);
  EXPECT_NE(refused.error().message.find("lunar repair"), std::string::npos);
}

TEST_F(OldDirectoryTest, NestingWithoutEndIsCorruption) {
  const std::string deep = std::string(400'000, '[') + std::string(400'000, ']');
  for (const std::string& bad : {R"({"format": )" + deep + R"(, "images": {}})",
                                 R"({"format": 1, "images": {"disk": )" + deep + "}}"}) {
    const auto decoded = decode_old_directory(bad);
    ASSERT_FALSE(decoded);
    EXPECT_EQ(decoded.error().code, OsdErrc::kCorrupt);
    EXPECT_LT(decoded.error().message.size(), 300u);
  }
}

// An image that was renamed since it was entered. The server of its new name does not answer: it is
// not known to be without a name, and gets none.
TEST_F(OldDirectoryTest, AnImageKeepsItsNameWhileTheServerOfThatNameIsSilent) {
  constexpr int kSilent = 2;
  const auto info = *gateway->find_pool("lunar");
  const auto has = [&](const std::string& object) {
    return objecter::osd_of_pg(info, objecter::pg_of_object(info, object)) == kSilent;
  };
  if (has(old_directory_of(pool).name)) GTEST_FAIL() << "choose another server to be silent";
  const auto name_there = [&](std::string name, bool is_there) {
    while (has(name_object_of(pool, name).name) != is_there) name += "x";
    return name;
  };
  const std::string before = name_there("before", false);
  const std::string name = name_there("name", true);
  ImageId id = 0;
  for (;;) {
    const auto made = create(name, 8 * kMiB);
    ASSERT_TRUE(made);
    id = made->id;
    if (!has(header_object_name(id))) break;
    ASSERT_TRUE(wait<void>([&](auto done) {
      remove_image(*gateway, {"lunar", name}, {}, std::move(done));
    }));
  }
  put(encode_old_directory({.is_closed = true, .images = {{before, id}}}));
  stop(kSilent);
  std::optional<Outcome<PoolConversion>> conversion;
  convert_pool(*gateway, "lunar", {},
               [&](Outcome<PoolConversion> done) { conversion = std::move(done); });
  for (int i = 0; i < 600 && !conversion; ++i) {
    time.pass(*center, std::chrono::seconds(1));
    turn();
  }
  start(kSilent);
  ASSERT_TRUE(until([&] { return conversion.has_value(); }));
  EXPECT_FALSE(*conversion);
  auto repeated = convert();
  for (int i = 0; i < 10 && !repeated; ++i) repeated = convert();  // until it is connected again
  ASSERT_TRUE(repeated) << repeated.error().message;
  const auto found = run(find_header(*gateway, {"lunar", name}));
  ASSERT_TRUE(found) << found.error().message;
  EXPECT_EQ(found->header.name, name);
}

}  // namespace
}  // namespace lunar::gateway
