// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/objecter/objecter_fixture.h"

namespace lunar::objecter {
namespace {

using testing::HasSubstr;

TEST(ObjecterOptionsTest, ComeFromTheConfig) {
  Config config;
  ASSERT_TRUE(config.set("mon_host", "127.0.0.1:6800, [::1]:6801 10.0.0.3:6802"));
  ASSERT_TRUE(config.set("objecter_op_timeout", "2s"));
  ASSERT_TRUE(config.set("objecter_inflight_ops", "7"));
  ASSERT_TRUE(config.set("objecter_inflight_op_bytes", "2M"));
  const auto options = Objecter::Options::from_config(config);
  ASSERT_TRUE(options) << options.error().message;
  EXPECT_EQ(options->op_timeout, 2s);
  EXPECT_EQ(options->max_in_flight_ops, 7u);
  EXPECT_EQ(options->max_in_flight_bytes, 2u << 20);
  ASSERT_EQ(options->bootstrap.size(), 3u);
  EXPECT_EQ(options->bootstrap[1].to_string(), "[::1]:6801");
}

TEST(ObjecterOptionsTest, BadServersAreNamed) {
  Config config;
  ASSERT_TRUE(config.set("mon_host", "127.0.0.1:6800,elsewhere:1"));
  auto options = Objecter::Options::from_config(config);
  ASSERT_FALSE(options);
  EXPECT_THAT(options.error().message, HasSubstr("mon_host"));
  EXPECT_THAT(options.error().message, HasSubstr("elsewhere"));
  ASSERT_TRUE(config.set("mon_host", "127.0.0.1"));
  options = Objecter::Options::from_config(config);
  ASSERT_FALSE(options);
  EXPECT_THAT(options.error().message, HasSubstr("needs a port"));
}

TEST_F(ObjecterFixture, WithoutServersItCannotBeMade) {
  const auto made = Objecter::create(*center, *stack, client_options, options, nullptr, nullptr);
  ASSERT_FALSE(made);
  EXPECT_EQ(made.error().code, make_error_code(OsdErrc::kUnreachable));
  EXPECT_THAT(made.error().message, HasSubstr("mon_host"));
}

}  // namespace
}  // namespace lunar::objecter
