// SPDX-License-Identifier: LGPL-2.1-or-later
#include "objecter/protocol/capabilities.h"

#include <gtest/gtest.h>

namespace lunar::objecter {
namespace {

std::string normal(std::string_view text) {
  const auto capabilities = parse_capabilities(text);
  return capabilities ? to_string(*capabilities) : "! " + capabilities.error().message;
}

TEST(CapabilitiesTest, AreWrittenInOneForm) {
  EXPECT_EQ(normal(""), "");
  EXPECT_EQ(normal("allow r"), "allow r");
  EXPECT_EQ(normal("allow  wr   pool=rbd"), "allow rw pool=rbd");
  EXPECT_EQ(normal("allow * ; allow x"), "allow *, allow x");
  EXPECT_EQ(normal("profile gateway pool=rbd"), "allow rw pool=rbd");
  EXPECT_EQ(normal("profile rbd pool=a,profile rbd-read-only pool=b"),
            "allow rwx pool=a, allow r pool=b");
  EXPECT_EQ(normal("allow r image=disk1 pool=rbd image_id=00c0ffee00c0ffee"),
            "allow r pool=rbd image=disk1 image_id=00c0ffee00c0ffee");
}

TEST(CapabilitiesTest, WhatIsReadIsReadTheSameAgain) {
  const auto once =
      parse_capabilities("allow rw pool=p image=i image_id=0000000000000001, allow x");
  ASSERT_TRUE(once) << once.error().message;
  const auto twice = parse_capabilities(to_string(*once));
  ASSERT_TRUE(twice);
  EXPECT_EQ(*once, *twice);
}

TEST(CapabilitiesTest, NamesTheWordThatIsWrong) {
  for (const char* text : {"r",
                           "allow",
                           "allow rr",
                           "allow rq",
                           "allow r*",
                           "profile",
                           "profile root",
                           "deny r",
                           "allow r pool",
                           "allow r pool=",
                           "allow r pool=a pool=b",
                           "allow r pool=a/b",
                           "allow r image=i",
                           "allow r pool=p image_id=00c0ffee00c0ffee",
                           "allow r pool=p image=i image_id=0",
                           "allow r pool=p image=i image_id=0000000000000000",
                           "allow r pool=p image=i image_id=+0c0ffee00c0ffee",
                           "allow r pool=p image=i image_id=00C0FFEE00C0FFEE",
                           "allow r object=x",
                           "allow r,,allow"})
    EXPECT_EQ(normal(text).substr(0, 15), "! capabilities:") << text << ": " << normal(text);
  EXPECT_NE(normal("allow r pol=rbd").find("'pol=rbd'"), std::string::npos);
  EXPECT_NE(normal("profile rdb").find("'profile rdb'"), std::string::npos);
}

TEST(CapabilitiesTest, AreBounded) {
  std::string many;
  for (std::size_t i = 0; i < Capabilities::kMaxGrants; ++i) many += "allow r,";
  EXPECT_TRUE(parse_capabilities(many));
  EXPECT_FALSE(parse_capabilities(many + "allow r"));
  EXPECT_FALSE(parse_capabilities(std::string(Capabilities::kMaxTextBytes + 1, ' ')));
}

}  // namespace
}  // namespace lunar::objecter
