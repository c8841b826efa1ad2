// SPDX-License-Identifier: LGPL-2.1-or-later
#include "gateway/image_header.h"

#include <gtest/gtest.h>

#include <string>

namespace lunar::gateway {
namespace {

ImageHeader sample() {
  ImageHeader header;
  header.id = 0x0123456789abcdef;
  header.name = "disk-1";
  header.uuid = Uuid::random();
  header.size = 10u << 20;
  header.layout = {.object_size = 1u << 20, .stripe_unit = 65536, .stripe_count = 4};
  header.trimmed_from = 1u << 30;
  header.registrations.push_back(
      {"client.admin", "host/tgtd.0", 42, 0xfedcba9876543210, LockMode::kShared});
  return header;
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const auto at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

TEST(ImageHeaderTest, DecodesWhatItEncodes) {
  const ImageHeader header = sample();
  const auto decoded = decode_image_header(encode(header), "0123456789abcdef.header");
  ASSERT_TRUE(decoded) << decoded.error().message;
  EXPECT_EQ(decoded->id, header.id);
  EXPECT_EQ(decoded->name, header.name);
  EXPECT_EQ(decoded->uuid, header.uuid);
  EXPECT_EQ(decoded->size, header.size);
  EXPECT_EQ(decoded->layout, header.layout);
  EXPECT_EQ(decoded->trimmed_from, header.trimmed_from);
  EXPECT_EQ(decoded->registrations, header.registrations);
  EXPECT_EQ(decoded->state, ImageState::kReady);
}

// An entity that may write this header may not write that of another image: what is done to "its"
// image by an administrator must not be done to that one.
TEST(ImageHeaderTest, TheHeaderOfAnotherImageIsRefused) {
  const auto decoded = decode_image_header(encode(sample()), "0123456789abcdee.header");
  ASSERT_FALSE(decoded);
  EXPECT_EQ(decoded.error().code, objecter::OsdErrc::kCorrupt);
  EXPECT_NE(decoded.error().message.find("is of image 0123456789abcdef"), std::string::npos);
}

TEST(ImageHeaderTest, AnotherFormatIsNamedAsSuch) {
  const auto decoded = decode_image_header(
      replaced(encode(sample()), "\"format\": 2", "\"format\": 6"), "0123456789abcdef.header");
  ASSERT_FALSE(decoded);
  EXPECT_EQ(decoded.error().code, objecter::OsdErrc::kIncompatible);
  EXPECT_NE(decoded.error().message.find("format 6"), std::string::npos);
}

TEST(ImageHeaderTest, WhileItIsImportedEarlierBuildsDoNotReadIt) {
  ImageHeader header = sample();
  header.state = ImageState::kImporting;
  EXPECT_NE(encode(header).find("\"format\": 5"), std::string::npos);
  const auto decoded = decode_image_header(encode(header), "0123456789abcdef.header");
  ASSERT_TRUE(decoded) << decoded.error().message;
  EXPECT_EQ(decoded->state, ImageState::kImporting);
}

TEST(ImageHeaderTest, WhileItIsRenamedItHasTwoNamesAndAFormatOfItsOwn) {
  ImageHeader header = sample();
  header.rename_to = "disk-2";
  for (const ImageState state : {ImageState::kRenaming, ImageState::kRenamed}) {
    header.state = state;
    EXPECT_NE(encode(header).find("\"format\": 4"), std::string::npos);
    const auto decoded = decode_image_header(encode(header), "0123456789abcdef.header");
    ASSERT_TRUE(decoded) << decoded.error().message;
    EXPECT_EQ(decoded->state, state);
    EXPECT_EQ(decoded->rename_to, "disk-2");
    EXPECT_TRUE(decoded->has_name("disk-1") && decoded->has_name("disk-2"));
    EXPECT_FALSE(decoded->has_name("disk-3"));
    EXPECT_EQ(decoded->lasting_name(), state == ImageState::kRenamed ? "disk-2" : "disk-1");
  }
}

TEST(ImageHeaderTest, ANameToComeIsAValidOtherOneExactlyWhileItIsRenamed) {
  ImageHeader header = sample();
  header.state = ImageState::kRenaming;
  header.rename_to = "disk-2";
  const std::string good = encode(header);
  for (const std::string& bad :
       {replaced(good, "\"disk-2\"", "\"disk-1\""), replaced(good, "\"disk-2\"", "\".disk\""),
        replaced(good, "\"disk-2\"", "7"), replaced(good, "\"rename_to\"", "\"other\""),
        replaced(good, "\"renaming\"", "\"ready\"")}) {
    const auto decoded = decode_image_header(bad, "0123456789abcdef.header");
    ASSERT_FALSE(decoded) << bad;
    EXPECT_EQ(decoded.error().code, objecter::OsdErrc::kCorrupt) << bad;
  }
}

TEST(ImageHeaderTest, RegistrationsOfFormat1HaveNoCookieAndShare) {
  std::string text = replaced(encode(sample()), "\"format\": 2", "\"format\": 1");
  text = replaced(text, "\"cookie\": \"fedcba9876543210\",", "");
  const auto decoded = decode_image_header(text, "0123456789abcdef.header");
  ASSERT_TRUE(decoded) << decoded.error().message;
  ASSERT_EQ(decoded->registrations.size(), 1u);
  EXPECT_EQ(decoded->registrations[0].cookie, 0u);
  EXPECT_EQ(decoded->registrations[0].lock, LockMode::kShared);
  const auto again = decode_image_header(encode(*decoded), "0123456789abcdef.header");
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(again->registrations, decoded->registrations);
}

TEST(ImageHeaderTest, AnUnknownFeatureIsRefused) {
  const auto decoded = decode_image_header(
      replaced(encode(sample()), "\"features\": []", "\"features\": [\"journal\"]"),
      "0123456789abcdef.header");
  ASSERT_FALSE(decoded);
  EXPECT_EQ(decoded.error().code, objecter::OsdErrc::kIncompatible);
  EXPECT_NE(decoded.error().message.find("journal"), std::string::npos);
}

TEST(ImageHeaderTest, DamageIsCorruptionThatNamesTheObject) {
  const std::string good = encode(sample());
  for (const std::string& bad :
       {std::string(), std::string("{"), std::string("[]"), good.substr(0, good.size() / 2),
        replaced(good, "0123456789abcdef", "0123456789abcdeX"),
        replaced(good, "\"size\": 10485760", "\"size\": 10485761"),
        replaced(good, "\"size\": 10485760", "\"size\": -1"),
        replaced(good, "\"size\": 10485760", "\"size\": \"big\""),
        replaced(good, "\"stripe_count\": 4", "\"stripe_count\": 4294967297"),
        replaced(good, "\"stripe_unit\": 65536", "\"stripe_unit\": 0"),
        replaced(good, "\"ready\"", "\"dreaming\""),
        replaced(good, "\"nonce\": 42", "\"nonce\": []")}) {
    const auto decoded = decode_image_header(bad, "0123456789abcdef.header");
    ASSERT_FALSE(decoded) << bad;
    EXPECT_EQ(decoded.error().code, objecter::OsdErrc::kCorrupt) << bad;
    EXPECT_NE(decoded.error().message.find("0123456789abcdef.header"), std::string::npos);
  }
}

// Whoever may write the header must not end every gateway that reads it.
TEST(ImageHeaderTest, NestingWithoutEndIsCorruption) {
  const std::string deep = std::string(400'000, '[') + std::string(400'000, ']');
  for (const char* member : {"\"features\": []", "\"format\": 2", "\"size\": 10485760"}) {
    const std::string name = std::string(member).substr(0, std::string(member).find(':'));
    const std::string bad = replaced(encode(sample()), member, name + ": [" + deep + "]");
    const auto decoded = decode_image_header(bad, "0123456789abcdef.header");
    ASSERT_FALSE(decoded) << member;
    EXPECT_EQ(decoded.error().code, objecter::OsdErrc::kCorrupt);
    EXPECT_NE(decoded.error().message.find("is nested more than"), std::string::npos);
    EXPECT_LT(decoded.error().message.size(), 300u);
  }
}

TEST(ImageHeaderTest, AFeatureIsNamedInAFewCharacters) {
  const auto decoded =
      decode_image_header(replaced(encode(sample()), "\"features\": []",
                                   "\"features\": [\"" + std::string(100'000, 'x') + "\"]"),
                          "0123456789abcdef.header");
  ASSERT_FALSE(decoded);
  EXPECT_LT(decoded.error().message.size(), 300u);
}

TEST(ImageHeaderTest, ObjectNamesAreFixedWidth) {
  EXPECT_EQ(header_object_name(0xab), "00000000000000ab.header");
  EXPECT_EQ(data_object_name(0xab, 0x10), "00000000000000ab.0000000000000010");
  EXPECT_EQ(data_object_name(0x0123456789abcdef, 0xfedcba9876543210),
            "0123456789abcdef.fedcba9876543210");
}

TEST(ImageSpecTest, TakesPoolAndImage) {
  const auto spec = ImageSpec::parse("lunar/disk.1");
  ASSERT_TRUE(spec);
  EXPECT_EQ(spec->pool, "lunar");
  EXPECT_EQ(spec->image, "disk.1");
}

TEST(ImageSpecTest, RefusesWhatIsNoName) {
  for (const char* bad : {"", "disk", "/disk", "lunar/", "lunar/a b", "lunar/a/b", "lunar/.x",
                          "lunar/-x", "lunar/x@snap"}) {
    EXPECT_FALSE(ImageSpec::parse(bad)) << bad;
  }
  EXPECT_NE(ImageSpec::parse("lunar/x@snap").error().message.find("snapshot"), std::string::npos);
}

TEST(ImageSizeTest, IsAMultipleOfFourKibibytes) {
  EXPECT_TRUE(validate_image_size(4096));
  EXPECT_TRUE(validate_image_size(ImageHeader::kMaxSize));
  EXPECT_FALSE(validate_image_size(0));
  EXPECT_FALSE(validate_image_size(4097));
  EXPECT_FALSE(validate_image_size(ImageHeader::kMaxSize + 4096));
}

TEST(ImageHeaderTest, OneThatIsBeingResizedIsRefusedByEarlierBuildsAndHasItsSmallerSize) {
  ImageHeader header = sample();
  header.state = ImageState::kShrinking;
  header.resize_to = header.size / 2;
  const std::string text = encode(header);
  EXPECT_NE(text.find("\"format\": 3"), std::string::npos);
  const auto decoded = decode_image_header(text, "0123456789abcdef.header");
  ASSERT_TRUE(decoded) << decoded.error().message;
  EXPECT_EQ(decoded->state, ImageState::kShrinking);
  EXPECT_EQ(decoded->size, header.size);
  EXPECT_EQ(decoded->usable_size(), header.size / 2);
  header.state = ImageState::kGrowing;
  header.resize_to = header.size * 2;
  EXPECT_EQ(decode_image_header(encode(header), "0123456789abcdef.header")->usable_size(),
            header.size);
  header.state = ImageState::kReady;
  EXPECT_EQ(encode(header).find("resize_to"), std::string::npos);
  EXPECT_FALSE(
      decode_image_header(replaced(text, "resize_to", "resize_at"), "0123456789abcdef.header"));
}

}  // namespace
}  // namespace lunar::gateway
