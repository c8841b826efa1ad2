// SPDX-License-Identifier: LGPL-2.1-or-later
#include "objecter/cluster/mon_host.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "objecter/protocol/types.h"

namespace lunar::objecter {
namespace {

using testing::HasSubstr;

TEST(MonHostTest, AddressesAreSeparatedByCommasBlanksAndTabs) {
  const auto addresses = parse_mon_host(" 127.0.0.1:6800,\t[::1]:6801  10.0.0.3:6802,");
  ASSERT_TRUE(addresses) << addresses.error().message;
  ASSERT_EQ(addresses->size(), 3u);
  EXPECT_EQ((*addresses)[0].to_string(), "127.0.0.1:6800");
  EXPECT_EQ((*addresses)[1].to_string(), "[::1]:6801");
  EXPECT_EQ((*addresses)[2].to_string(), "10.0.0.3:6802");
}

TEST(MonHostTest, NothingIsNobody) {
  for (const char* value : {"", "  ", ",\t,"}) {
    const auto addresses = parse_mon_host(value);
    ASSERT_TRUE(addresses);
    EXPECT_TRUE(addresses->empty()) << value;
  }
}

TEST(MonHostTest, AWordThatIsNoAddressIsNamed) {
  const auto addresses = parse_mon_host("127.0.0.1:6800,elsewhere:1");
  ASSERT_FALSE(addresses);
  EXPECT_THAT(addresses.error().message, HasSubstr("mon_host"));
  EXPECT_THAT(addresses.error().message, HasSubstr("elsewhere"));
}

TEST(MonHostTest, AnAddressWithoutAPortIsInvalid) {
  const auto addresses = parse_mon_host("127.0.0.1:6800 127.0.0.2");
  ASSERT_FALSE(addresses);
  EXPECT_EQ(addresses.error().code, make_error_code(OsdErrc::kInvalid));
  EXPECT_THAT(addresses.error().message, HasSubstr("'127.0.0.2' needs a port"));
}

TEST(MonHostTest, TheAuthorityIsAServerOrNobody) {
  const auto named = parse_map_authority("osd.12");
  ASSERT_TRUE(named);
  EXPECT_EQ(*named, OsdId{12});
  const auto nobody = parse_map_authority("");
  ASSERT_TRUE(nobody);
  EXPECT_EQ(*nobody, std::nullopt);
  for (const char* wrong : {"12", "osd.", "osd.-1", "osd.1x", "osd.4294967296", "client.12"}) {
    const auto authority = parse_map_authority(wrong);
    ASSERT_FALSE(authority) << wrong;
    EXPECT_THAT(authority.error().message, HasSubstr("map_authority")) << wrong;
  }
}

}  // namespace
}  // namespace lunar::objecter
