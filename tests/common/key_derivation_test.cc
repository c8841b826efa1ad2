// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/key_derivation.h"

#include <gtest/gtest.h>

#include <vector>

namespace lunar {
namespace {

std::string hex(ConstBytes bytes) {
  std::string text;
  for (const std::byte byte : bytes) {
    text += "0123456789abcdef"[static_cast<int>(byte) >> 4];
    text += "0123456789abcdef"[static_cast<int>(byte) & 15];
  }
  return text;
}

TEST(KeyDerivationTest, IsHkdfOfSha256) {
  // RFC 5869, test case 3: the first 32 of its 42 bytes.
  const std::vector<std::byte> input(22, std::byte{0x0b});
  const Secret derived = derive_key(Secret::copy_of(input), "");
  EXPECT_EQ(hex(derived.bytes()),
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d");
}

TEST(KeyDerivationTest, EachPurposeHasAKeyOfItsOwn) {
  Secret key(Keyring::kKeyBytes);
  const Secret one = derive_key(key, "one");
  EXPECT_EQ(one.size(), Keyring::kKeyBytes);
  EXPECT_TRUE(one.equals(derive_key(key, "one").bytes()));
  EXPECT_FALSE(one.equals(derive_key(key, "two").bytes()));
  EXPECT_FALSE(one.equals(derive_key(one, "one").bytes()));
}

}  // namespace
}  // namespace lunar
