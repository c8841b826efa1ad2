// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/config.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "tests/common/temp_folder.h"

namespace lunar {
namespace {

using namespace std::chrono_literals;

TEST(EntityNameTest, ParsesTypeDotId) {
  EXPECT_EQ(EntityName::parse("osd.0"), (EntityName{"osd", "0"}));
  EXPECT_EQ(EntityName::parse("client.a.b"), (EntityName{"client", "a.b"}));
  for (const char* bad : {"", "client", ".admin", "client.", "a b.c", "client.a/b", "client.a]"}) {
    EXPECT_FALSE(EntityName::parse(bad)) << bad;
  }
  EXPECT_FALSE(EntityName::parse("client." + std::string(65, 'x')));
}

TEST(ConfigTest, DefaultsAreTyped) {
  const Config config;
  EXPECT_EQ(config.get_string("ms_type"), "async+posix");
  EXPECT_EQ(config.get_uint("ms_bind_port_min"), 6800u);
  EXPECT_EQ(config.get_size("ms_dispatch_throttle_bytes"), 100u << 20);
  EXPECT_EQ(config.get_duration("objecter_op_timeout"), 20s);
  EXPECT_EQ(config.get_duration("lunar_open_timeout"), 2s);
  EXPECT_TRUE(config.get_bool("ms_crc_data"));
  EXPECT_EQ(config.get_double("ms_inject_delay_probability"), 0.0);
  EXPECT_EQ(config.get_log_level("debug_ms"), (LogLevels{0, 5}));
  EXPECT_FALSE(config.is_set("ms_type"));
}

TEST(ConfigDeathTest, ANameOrTypeOfOursThatIsWrongAborts) {
  const Config config;
  EXPECT_DEATH(static_cast<void>(config.get_uint("no_such_option")), "no_such_option");
  EXPECT_DEATH(static_cast<void>(config.get_uint("ms_crc_data")), "ms_crc_data");
}

TEST(ConfigTest, TheMostSpecificSectionWinsWhateverItsPlace) {
  Config config({"osd", "0"});
  ASSERT_TRUE(
      config.load_text("[osd.0]\nosd max write size = 3M\n"
                       "[osd]\nosd_max_write_size = 2M\nms-type = async+posix\n"
                       "[global]\nosd_max_write_size = 1M\nmon_host = a\nmon_host = b\n"
                       "[osd.1]\nosd_max_write_size = 9M\n",
                       "f"));
  EXPECT_EQ(config.get_size("osd_max_write_size"), 3u << 20);
  EXPECT_EQ(config.get_string("mon_host"), "b");  // the later of equals
  EXPECT_TRUE(config.is_set("ms_type"));
}

TEST(ConfigTest, AnOverrideBeatsTheFileEvenIfTheFileComesLater) {
  Config config;
  ASSERT_TRUE(config.set("mon host", "override"));
  ASSERT_TRUE(config.load_text("[client.admin]\nmon_host = file\n", "f"));
  EXPECT_EQ(config.get_string("mon_host"), "override");
}

TEST(ConfigTest, ABadValueNamesFileLineAndWhatIsAccepted) {
  Config config;
  const auto loaded =
      config.load_text("\n[global]\nms_crc_data = maybe\n", "/etc/lunar/lunar.conf");
  ASSERT_FALSE(loaded);
  EXPECT_EQ(loaded.error().message,
            "/etc/lunar/lunar.conf:3: option 'ms_crc_data': 'maybe' is not true or false");
}

TEST(ConfigTest, ABadValueForSomebodyElseIsNotOurs) {
  Config config({"osd", "0"});
  EXPECT_TRUE(config.load_text("[osd.1]\nms_crc_data = maybe\n", "f"));
}

TEST(ConfigTest, UnknownNamesInAFileAreWarnings) {
  Config config;
  ASSERT_TRUE(config.load_text("[global]\nms_tpye = x\n", "f"));
  ASSERT_EQ(config.warnings().size(), 1u);
  EXPECT_EQ(config.warnings()[0], "f:2: unknown option 'ms_tpye'; did you mean 'ms_type'?");
}

TEST(ConfigTest, UnknownNamesInSetAreErrors) {
  Config config;
  const auto set = config.set("objecter_op_timout", "1s");
  ASSERT_FALSE(set);
  EXPECT_EQ(set.error().message,
            "unknown option 'objecter_op_timout'; did you mean 'objecter_op_timeout'?");
}

TEST(ConfigTest, AfterFreezeOnlyRuntimeOptionsChange) {
  Config config;
  config.freeze();
  const auto refused = config.set("ms_type", "async+posix");
  ASSERT_FALSE(refused);
  EXPECT_TRUE(refused.error().code == std::errc::operation_not_permitted);
  EXPECT_NE(refused.error().message.find("ms_type"), std::string::npos);
  EXPECT_TRUE(config.set("debug_ms", "20"));
  EXPECT_EQ(config.get_log_level("debug_ms"), (LogLevels{20, 20}));
}

TEST(ConfigTest, VariablesExpand) {
  Config config({"osd", "7"}, "blue");
  ASSERT_TRUE(config.set("run_dir", "/run/$cluster"));
  EXPECT_EQ(config.get_string("admin_socket"),
            "/run/blue/blue-osd.7." + std::to_string(::getpid()) + ".asok");
  EXPECT_EQ(config.get_string("osd_data"), "/var/lib/lunar/osd/blue-7");
  EXPECT_EQ(config.expand("$type/$id/${name}x/$nothing/${open/$"),
            "osd/7/osd.7x/$nothing/${open/$");
}

TEST(ConfigTest, AVariableThatNamesItselfEnds) {
  Config config;
  ASSERT_TRUE(config.set("run_dir", "a$run_dir"));
  EXPECT_EQ(config.get_string("run_dir"), "aaaaaaaaa$run_dir");
}

TEST(ConfigTest, ShowTellsWhereAValueCameFrom) {
  Config config;
  ASSERT_TRUE(config.load_text("mon_host = h\n", "f"));
  ASSERT_TRUE(config.set("debug_ms", "1/20"));
  EXPECT_EQ(config.show("mon-host")->source, "f:1");
  EXPECT_EQ(config.show("debug_ms")->source, "override");
  EXPECT_EQ(config.show("debug_ms")->value, "1/20");
  EXPECT_EQ(config.show("debug_ms")->default_value, "0/5");
  EXPECT_EQ(config.show("ms_type")->source, "default");
  EXPECT_FALSE(config.show("nothing_like_this_at_all"));
  EXPECT_EQ(config.show().size(), all_options().size());
}

TEST(ConfigTest, ObserversSeeTheNewValueUntilTheyEnd) {
  Config config;
  int level = 0;
  int calls = 0;
  {
    const Config::Observer observer = config.observe("debug_ms", [&](const Config& changed) {
      level = changed.get_log_level("debug_ms").output;
      ++calls;
    });
    ASSERT_TRUE(config.set("debug_ms", "7"));
    ASSERT_TRUE(config.set("debug_osd", "9"));
    EXPECT_FALSE(config.set("debug_ms", "bad"));
  }
  ASSERT_TRUE(config.set("debug_ms", "8"));
  EXPECT_EQ(level, 7);
  EXPECT_EQ(calls, 1);
}

class ConfigFileTest : public testing::Test {
 protected:
  void SetUp() override {
    if (const char* home = std::getenv("HOME")) home_ = home;
    ::setenv("HOME", folder_.path().c_str(), 1);
    ::unsetenv("LUNAR_CONF");
  }
  void TearDown() override {
    ::setenv("HOME", home_.c_str(), 1);
    ::unsetenv("LUNAR_CONF");
  }
  test::TempFolder folder_;
  std::string home_;
};

TEST_F(ConfigFileTest, AnExplicitFileMustExist) {
  Config config;
  const auto loaded = config.load(folder_ / "none.conf");
  ASSERT_FALSE(loaded);
  EXPECT_EQ(loaded.error().message.rfind("configuration file " + folder_.path(), 0), 0u);
}

TEST_F(ConfigFileTest, TheEnvironmentComesBeforeTheHomeFolder) {
  std::filesystem::create_directory(folder_ / ".lunar");
  folder_.write(".lunar/config", "mon_host = home\n");
  // A cluster name of its own keeps a machine's /etc/lunar/lunar.conf out of the test.
  Config at_home({}, "lunar-test-cluster");
  ASSERT_TRUE(at_home.load());
  EXPECT_EQ(at_home.get_string("mon_host"), "home");
  EXPECT_EQ(at_home.file(), folder_ / ".lunar/config");

  ::setenv("LUNAR_CONF", folder_.write("env.conf", "mon_host = env\n").c_str(), 1);
  Config from_environment({}, "lunar-test-cluster");
  ASSERT_TRUE(from_environment.load());
  EXPECT_EQ(from_environment.get_string("mon_host"), "env");

  Config explicitly({}, "lunar-test-cluster");
  ASSERT_TRUE(explicitly.load(folder_.write("c.conf", "mon_host = c\n")));
  EXPECT_EQ(explicitly.get_string("mon_host"), "c");
}

TEST_F(ConfigFileTest, FindingNoFileIsSuccess) {
  Config config({}, "lunar-test-cluster");
  EXPECT_TRUE(config.load());
  EXPECT_EQ(config.file(), "");
}

}  // namespace
}  // namespace lunar
