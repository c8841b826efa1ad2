// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/address_codec.h"

#include <gtest/gtest.h>

#include <vector>

namespace lunar::msgr {
namespace {

std::vector<std::byte> written(const Address& address) {
  std::vector<std::byte> out;
  ByteWriter writer(out);
  put_address(writer, address);
  return out;
}

// Whether these bytes are an address, and which.
bool is_address(const std::vector<std::byte>& bytes, bool may_be_unset, Address* found = nullptr) {
  ByteReader reader(bytes);
  const Address address = get_address(reader, may_be_unset);
  if (found != nullptr) *found = address;
  EXPECT_TRUE(reader.ok() || address.is_unset());
  return reader.is_finished();
}

TEST(AddressCodecTest, KeepsBothFamiliesAndThePort) {
  for (const char* text : {"10.0.0.1:6800", "[fe80::1]:65535", "[::]:0"}) {
    const Address address = *Address::parse(text);
    const auto bytes = written(address);
    EXPECT_EQ(bytes.size(), Address::kWireBytes);
    Address found;
    EXPECT_TRUE(is_address(bytes, false, &found)) << text;
    EXPECT_EQ(found, address);
  }
}

TEST(AddressCodecTest, AnUnsetOneIsReadWhereItMayBeUnset) {
  const auto bytes = written(Address());
  Address found = Address::loopback(1);
  EXPECT_TRUE(is_address(bytes, true, &found));
  EXPECT_TRUE(found.is_unset());
  EXPECT_FALSE(is_address(bytes, false));
}

TEST(AddressCodecTest, WhatIsNoAddressIsRefused) {
  auto other_family = written(Address::loopback(1));
  other_family[0] = std::byte{5};
  EXPECT_FALSE(is_address(other_family, true));
  auto long_ipv4 = written(Address::loopback(1));
  long_ipv4[16] = std::byte{1};
  EXPECT_FALSE(is_address(long_ipv4, true));
  auto short_one = written(Address::loopback(1));
  short_one.pop_back();
  EXPECT_FALSE(is_address(short_one, true));
}

}  // namespace
}  // namespace lunar::msgr
