// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/program.h"

#include <gtest/gtest.h>
#include <sys/prctl.h>

#include "common/log.h"
#include "tests/common/temp_folder.h"

namespace lunar {
namespace {

// The configuration is always given, so that none of the machine's is found.
class ProgramTest : public testing::Test {
 protected:
  Outcome<std::unique_ptr<Program>> start(std::vector<std::string> arguments,
                                          ProgramDefaults defaults = {.name = "lunar-test"}) {
    arguments.insert(arguments.begin(), {"lunar-test", "-c", conf_});
    std::vector<const char*> argv;
    for (const auto& argument : arguments) argv.push_back(argument.c_str());
    return Program::start(static_cast<int>(argv.size()), argv.data(), std::move(defaults));
  }
  std::string error_of(std::vector<std::string> arguments) {
    const auto program = start(std::move(arguments));
    return program ? "" : program.error().message;
  }
  test::TempFolder folder_;
  std::string conf_ =
      folder_.write("lunar.conf", "[global]\nmon_host = file\n[osd.3]\nosd_max_write_size = 2M\n");
};

TEST_F(ProgramTest, TakesTheCommonArgumentsAndLeavesTheRest) {
  const auto program =
      start({"create", "--mon-host", "cli", "pool/image", "--size=10G", "--ms_crc_data=off", "-x"});
  ASSERT_TRUE(program) << program.error().message;
  EXPECT_EQ((*program)->arguments(),
            (std::vector<std::string>{"create", "pool/image", "--size=10G", "-x"}));
  EXPECT_EQ((*program)->config().get_string("mon_host"), "cli");
  EXPECT_FALSE((*program)->config().get_bool("ms_crc_data"));
  EXPECT_EQ((*program)->config().name(), (EntityName{"client", "admin"}));
  EXPECT_EQ((*program)->admin_socket(), nullptr);
}

TEST_F(ProgramTest, ABoolWithoutAValueIsTrue) {
  const auto program = start({"--ms-crc-data", "word"});
  ASSERT_TRUE(program);
  EXPECT_TRUE((*program)->config().get_bool("ms_crc_data"));
  EXPECT_EQ((*program)->arguments(), std::vector<std::string>{"word"});
}

TEST_F(ProgramTest, NothingIsTakenAfterTwoDashes) {
  const auto program = start({"--", "--mon-host", "x"});
  ASSERT_TRUE(program);
  EXPECT_EQ((*program)->arguments(), (std::vector<std::string>{"--", "--mon-host", "x"}));
  EXPECT_EQ((*program)->config().get_string("mon_host"), "file");
}

TEST_F(ProgramTest, TheNameChoosesTheSection) {
  const auto by_id = start({"-i", "3"}, {.name = "lunar-osd", .entity_type = "osd"});
  ASSERT_TRUE(by_id);
  EXPECT_EQ((*by_id)->config().get_size("osd_max_write_size"), 2u << 20);
  const auto by_name = start({"--name", "osd.3"});
  ASSERT_TRUE(by_name);
  EXPECT_EQ((*by_name)->config().get_size("osd_max_write_size"), 2u << 20);
}

TEST_F(ProgramTest, BadArgumentsAreExplained) {
  EXPECT_EQ(error_of({"--name", "admin"}),
            "'admin' is not a name; it takes TYPE.ID, such as client.admin or osd.0");
  EXPECT_EQ(error_of({"--mon-host"}), "'--mon-host' needs a value after it");
  EXPECT_EQ(error_of({"--ms-crc-data=maybe"}),
            "command line: option 'ms_crc_data': 'maybe' is not true or false");
  EXPECT_EQ(error_of({"--cluster", "a/b"}), "'a/b' is not the name of a cluster");
  EXPECT_EQ(error_of({"-c", folder_ / "none"}).rfind("configuration file ", 0), 0u);
}

TEST_F(ProgramTest, ServesAnAdminSocketWhereTheOptionSays) {
  const std::string path = folder_ / "run/x.asok";
  const auto program =
      start({"--admin-socket", path, "--log-file", folder_ / "log"},
            {.name = "lunar-osd", .serves_admin_socket = true, .log_to_stderr = false});
  ASSERT_TRUE(program) << program.error().message;
  EXPECT_FALSE((*program)->config().get_bool("log_to_stderr"));
  const auto answer = admin_socket_request(path, "config get mon_host");
  ASSERT_TRUE(answer) << answer.error().message;
  EXPECT_NE(answer->find("\"file\""), std::string::npos);
}

TEST_F(ProgramTest, ADaemonIsNotDumpable) {
  EXPECT_EXIT(
      {
        const auto program = start({}, {.name = "lunar-osd", .is_daemon = true});
        ::_exit(program && ::prctl(PR_GET_DUMPABLE) == 0 ? 7 : 1);
      },
      testing::ExitedWithCode(7), "");
}

TEST(VersionTest, ALineNamesProgramAndVersion) {
  EXPECT_EQ(version_line("lunar-osd"), "lunar-osd (Lunar) " + std::string(version()));
  EXPECT_FALSE(version().empty());
}

}  // namespace
}  // namespace lunar
