// SPDX-License-Identifier: LGPL-2.1-or-later
#include "gateway/scrub/header_salvage.h"

#include <gtest/gtest.h>

#include "tests/support/sizes.h"

namespace lunar::gateway {
namespace {

ImageHeader original() {
  ImageHeader header;
  header.id = 0x00c0ffee00c0ffeeu;
  header.name = "disk1";
  header.uuid = Uuid::random();
  header.size = 64 * kMiB;
  header.layout = {2 * kMiB, 64 << 10, 4};
  header.trimmed_from = 96 * kMiB;
  header.registrations = {{"client.gw1", "gw1/tgtd.0", 7}};
  return header;
}

HeaderRemains remains_of(std::string_view text) {
  HeaderRemains remains;
  remains.id = 0x00c0ffee00c0ffeeu;
  remains.name = "disk1";
  remains.text = text;
  return remains;
}

TEST(HeaderSalvageTest, TakesWhatTheTextStillSays) {
  const ImageHeader before = original();
  std::string text = encode(before);
  text[text.find("\"format\"") + 2] = '\0';
  ASSERT_FALSE(decode_image_header(text, "00c0ffee00c0ffee.header"));
  const auto header = salvage_header(remains_of(text), {});
  ASSERT_TRUE(header) << header.error().message;
  EXPECT_EQ(header->uuid, before.uuid);
  EXPECT_EQ(header->size, before.size);
  EXPECT_EQ(header->layout, before.layout);
}

TEST(HeaderSalvageTest, LeavesOutRegistrations) {
  const std::string text = encode(original());
  const auto header = salvage_header(remains_of(text), {});
  ASSERT_TRUE(header);
  EXPECT_TRUE(header->registrations.empty());
}

TEST(HeaderSalvageTest, RegistrationsThatStillReadAsSuchAreFound) {
  const auto found = salvage_registrations(
      R"(?{"registrations": [{"cookie": 9, "entity": "client.a", "instance": "gw1", "nonce": 5},)"
      R"({"cookie": 9, "entity": "client.a", "instance": "gw 2", "nonce": 5}, )"
      R"({"entity": "client.a", "instance": "gw3", "nonce": 18446744073709551615},)"
      R"({"entity": "client.b", "nonce": 6, "instance": "gw4"}, {"entity": "client.c", "inst)");
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].entity, "client.a");
  EXPECT_EQ(found[0].instance, "gw1");
  EXPECT_EQ(found[0].nonce, 5u);
  EXPECT_EQ(found[1].instance, "gw4");
}

TEST(HeaderSalvageTest, ALostHeaderHoldsAllDataThatThereIs) {
  HeaderRemains remains = remains_of("");
  remains.end_object = 7;
  const auto header = salvage_header(remains, {});
  ASSERT_TRUE(header);
  EXPECT_EQ(header->size, 28 * kMiB);
  EXPECT_EQ(header->layout, StripeLayout());
  EXPECT_EQ(header->name, "disk1");
  EXPECT_TRUE(decode_image_header(encode(*header), "00c0ffee00c0ffee.header"));
}

TEST(HeaderSalvageTest, WhatIsGivenCountsMoreThanTheText) {
  const std::string text = encode(original());
  const auto header =
      salvage_header(remains_of(text), {.size = 128 * kMiB, .object_size = 8 * kMiB});
  ASSERT_TRUE(header);
  EXPECT_EQ(header->size, 128 * kMiB);
  EXPECT_EQ(header->layout, (StripeLayout{8 * kMiB, 8 * kMiB, 1}));
}

TEST(HeaderSalvageTest, DataBeyondASmallerSizeIsClearedByGrowing) {
  HeaderRemains remains = remains_of("");
  remains.end_object = 7;
  const auto header = salvage_header(remains, {.size = 8 * kMiB});
  ASSERT_TRUE(header);
  EXPECT_EQ(header->size, 8 * kMiB);
  EXPECT_EQ(header->trimmed_from, 28 * kMiB);
}

TEST(HeaderSalvageTest, AnObjectLargerThanTheObjectSizeIsRefused) {
  HeaderRemains remains = remains_of("");
  remains.largest_object = 5 * kMiB;
  const auto refused = salvage_header(remains, {});
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find("--object-size"), std::string::npos);
  EXPECT_TRUE(salvage_header(remains, {.object_size = 8 * kMiB}));
}

TEST(HeaderSalvageTest, WhatWasNotWholeIsNotAfterwards) {
  for (const ImageState state : {ImageState::kRemoving, ImageState::kImporting}) {
    ImageHeader part = original();
    part.state = state;
    const auto header = salvage_header(remains_of(encode(part)), {});
    ASSERT_TRUE(header);
    EXPECT_EQ(header->state, state);
  }
}

TEST(HeaderSalvageTest, ADirectoryGivesTheEntriesThatReadAsSuch) {
  const std::string text =
      "{\"format\": 1, \"images\": {\"a\": \"00c0ffee00c0ffef\", \"b\": \"00c0ffee\", \"-c\": "
      "\"00c0ffee00c0fff1\", \"d\": \"00c0ffee00c0fff3\", \"e\": \"00c0f";
  const NameTable names = salvage_directory(text);
  EXPECT_EQ(names, (NameTable{{"a", 0x00c0ffee00c0ffefu}, {"d", 0x00c0ffee00c0fff3u}}));
}

}  // namespace
}  // namespace lunar::gateway
