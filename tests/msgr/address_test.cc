// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/address.h"

#include <gtest/gtest.h>
#include <netinet/in.h>

namespace lunar::msgr {
namespace {

TEST(AddressTest, ParsesAndPrintsBothFamilies) {
  for (const char* text :
       {"10.0.0.1:6800", "127.0.0.1:1", "[::1]:6800", "[fe80::1]:65535", "0.0.0.0:0", "[::]:0"}) {
    const auto address = Address::parse(text);
    ASSERT_TRUE(address) << text;
    EXPECT_EQ(address->to_string(), text);
  }
  EXPECT_EQ(Address::parse("10.0.0.1")->to_string(), "10.0.0.1:0");
  EXPECT_EQ(Address::parse("::1")->to_string(), "[::1]:0");
  EXPECT_EQ(Address::parse("[::1]")->to_string(), "[::1]:0");
}

TEST(AddressTest, RefusesEverythingElseAndSaysWhatItWas) {
  for (const char* text : {"", ":", ":6800", "localhost:6800", "10.0.0.1:", "10.0.0.1:65536",
                           "10.0.0.1:-1", "10.0.0.1:68x", "10.0.0.256:1", "[::1", "[::1]6800",
                           "[10.0.0.1]:1", "[::1]:", "1:2:3", " 10.0.0.1:1"}) {
    const auto address = Address::parse(text);
    ASSERT_FALSE(address) << text;
    EXPECT_EQ(address.error().code, std::errc::invalid_argument);
    EXPECT_NE(address.error().message.find("'" + std::string(text) + "'"), std::string::npos);
  }
  EXPECT_FALSE(Address::parse(std::string(100'000, '1')));
}

TEST(AddressTest, KnowsLoopbackAndWildcard) {
  EXPECT_TRUE(Address::parse("127.3.2.1:1")->is_loopback());
  EXPECT_TRUE(Address::parse("[::1]:1")->is_loopback());
  EXPECT_TRUE(Address::parse("[::ffff:127.0.0.1]:1")->is_loopback());
  EXPECT_FALSE(Address::parse("10.0.0.1:1")->is_loopback());
  EXPECT_FALSE(Address::parse("[::]:1")->is_loopback());
  EXPECT_TRUE(Address::parse("0.0.0.0:1")->is_wildcard());
  EXPECT_TRUE(Address::parse("[::]:1")->is_wildcard());
  EXPECT_FALSE(Address::parse("127.0.0.1:1")->is_wildcard());
  EXPECT_TRUE(Address().is_unset());
  EXPECT_FALSE(Address().is_wildcard());
  EXPECT_EQ(Address().to_string(), "-");
}

TEST(AddressTest, SurvivesSockaddrAndRawForm) {
  for (const char* text : {"10.1.2.3:6800", "[2001:db8::5]:6801"}) {
    const Address address = *Address::parse(text);
    sockaddr_storage storage;
    const socklen_t length = address.to_sockaddr(storage);
    EXPECT_EQ(length, address.is_ipv6() ? sizeof(sockaddr_in6) : sizeof(sockaddr_in));
    EXPECT_EQ(Address::from_sockaddr(reinterpret_cast<sockaddr*>(&storage)), address);
    EXPECT_EQ(Address::from_raw(address.family(), address.raw(), address.port()), address);
  }
  sockaddr_storage storage;
  Address().to_sockaddr(storage);
  EXPECT_TRUE(Address::from_sockaddr(reinterpret_cast<sockaddr*>(&storage)).is_unset());
}

TEST(AddressTest, RawBytesBeyondAnIpv4AddressDoNotMakeItAnother) {
  std::array<uint8_t, 16> noisy{10, 0, 0, 1, 99, 99};
  EXPECT_EQ(Address::from_raw(Address::Family::kIpv4, noisy, 5), *Address::parse("10.0.0.1:5"));
  EXPECT_TRUE(Address::from_raw(static_cast<Address::Family>(77), noisy, 5).is_unset());
}

}  // namespace
}  // namespace lunar::msgr
