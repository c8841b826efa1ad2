// SPDX-License-Identifier: LGPL-2.1-or-later
#include "bstore_plugin/lun/bs_options.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>

namespace lunar::bstore_plugin {
namespace {

TEST(BsOptionsTest, TakesNamesAndLeavesOptionsForTheConfiguration) {
  const auto options =
      BsOptions::parse("conf=/etc/x.conf;id=gw1;pool=lunar;objecter_op_timeout=3s;");
  ASSERT_TRUE(options);
  EXPECT_EQ(options->conf, "/etc/x.conf");
  EXPECT_EQ(options->id, "gw1");
  EXPECT_EQ(options->pool, "lunar");
  EXPECT_EQ(options->overrides.at("objecter_op_timeout"), "3s");
}

TEST(BsOptionsTest, NothingIsFine) {
  const auto options = BsOptions::parse("");
  ASSERT_TRUE(options);
  EXPECT_EQ(options->id, "admin");
}

TEST(BsOptionsTest, OneFileIsOneClusterHoweverItIsNamed) {
  const std::string folder = ::testing::TempDir();
  const std::string file = folder + "bs_options_test.conf";
  std::ofstream(file) << "[global]\n";
  const auto key = [](const std::string& options) {
    return BsOptions::parse(options)->cluster_key();
  };
  setenv("LUNAR_CONF", file.c_str(), 1);
  EXPECT_EQ(key(""), key("conf=" + file));
  EXPECT_EQ(key("conf=" + file), key("conf=" + folder + "/./bs_options_test.conf"));
  EXPECT_NE(key("conf=" + file), key("conf=" + file + ";id=other"));
  unsetenv("LUNAR_CONF");
  std::remove(file.c_str());
}

TEST(BsOptionsTest, APartWithoutAValueIsNamed) {
  const auto options = BsOptions::parse("conf=/x;readonly");
  ASSERT_FALSE(options);
  EXPECT_NE(options.error().message.find("'readonly'"), std::string::npos);
}

TEST(BsOptionsTest, AKeyIsRefusedWithoutRepeatingIt) {
  const auto options = BsOptions::parse("key=AQBh1x2y");
  ASSERT_FALSE(options);
  EXPECT_EQ(options.error().message.find("AQBh1x2y"), std::string::npos);
}

}  // namespace
}  // namespace lunar::bstore_plugin
