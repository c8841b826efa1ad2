// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/log.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "common/file.h"
#include "common/log_config.h"
#include "tests/common/temp_folder.h"

namespace lunar {
namespace {

class LogTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(log_open({.file = folder_ / "log", .to_stderr = false}));
    log_set_levels(Subsystem::kMs, {1, 5});
  }
  void TearDown() override {
    log_flush();
    ASSERT_TRUE(log_open({}));
  }
  std::string written() {
    log_flush();
    return folder_.read("log");
  }
  static bool in_memory(const std::string& text) {
    for (const std::string& line : log_recent()) {
      if (line.find(text) != std::string::npos) return true;
    }
    return false;
  }
  test::TempFolder folder_;
};

TEST_F(LogTest, TheFirstLevelGoesToTheFileTheSecondToMemory) {
  LUNAR_LOG(kMs, 1, "to the {}", "file");
  LUNAR_LOG(kMs, 5, "memory only");
  LUNAR_LOG(kMs, 6, "nowhere");
  const std::string text = written();
  EXPECT_NE(text.find(" ms: to the file\n"), std::string::npos) << text;
  EXPECT_EQ(text.find("memory only"), std::string::npos);
  EXPECT_TRUE(in_memory("to the file"));
  EXPECT_TRUE(in_memory("memory only"));
  EXPECT_FALSE(in_memory("nowhere"));
}

TEST_F(LogTest, ALineThatIsNotWantedEvaluatesNothing) {
  int evaluated = 0;
  LUNAR_LOG(kMs, 20, "{}", ++evaluated);
  EXPECT_EQ(evaluated, 0);
}

TEST_F(LogTest, ErrorsAreAlwaysWritten) {
  log_set_levels(Subsystem::kMs, {-1, -1});
  LUNAR_LOG(kMs, 0, "quiet");
  LUNAR_ERROR(kMs, "loud");
  const std::string text = written();
  EXPECT_NE(text.find("-1 ms: loud"), std::string::npos);
  EXPECT_EQ(text.find("quiet"), std::string::npos);
}

TEST_F(LogTest, WhatAPeerSentStaysOnOneLine) {
  LUNAR_LOG(kMs, 0, "name {}", "evil\nfake line\x1b[2J");
  EXPECT_NE(written().find("name evil fake line^[[2J\n"), std::string::npos);
}

TEST_F(LogTest, AVeryLongLineIsCut) {
  LUNAR_LOG(kMs, 0, "{}", std::string(100'000, 'x'));
  EXPECT_LT(written().size(), 10'000u);
}

TEST_F(LogTest, ReopenFollowsTheName) {
  LUNAR_LOG(kMs, 0, "before");
  log_flush();
  std::filesystem::rename(folder_ / "log", folder_ / "log.1");
  ASSERT_TRUE(log_reopen());
  LUNAR_LOG(kMs, 0, "after");
  EXPECT_NE(written().find("after"), std::string::npos);
  EXPECT_EQ(folder_.read("log").find("before"), std::string::npos);
  EXPECT_NE(folder_.read("log.1").find("before"), std::string::npos);
}

TEST_F(LogTest, AFileThatCannotBeOpenedIsNamed) {
  const std::string path = folder_.write("plain", "") + "/log";
  const auto opened = log_open({.file = path, .to_stderr = false});
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().message.rfind("log file " + path, 0), 0u);
  LUNAR_LOG(kMs, 0, "still here");  // the old target stays
  EXPECT_NE(written().find("still here"), std::string::npos);
}

TEST_F(LogTest, AFileThatDoesNotOpenHoldsUpNobodyWhoLogs) {
  const std::string pipe = folder_ / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  std::atomic<pid_t> opener_id{0};
  std::thread opener([&] {
    opener_id = static_cast<pid_t>(::syscall(SYS_gettid));
    EXPECT_TRUE(log_open({.file = pipe, .to_stderr = false}));  // once somebody reads the pipe
  });
  const auto is_opening = [&] {
    const std::string in_openat = std::to_string(SYS_openat) + " ";
    const std::string file = "/proc/self/task/" + std::to_string(opener_id) + "/syscall";
    const auto call = read_file(file, 4096);
    return call && call->starts_with(in_openat);
  };
  while (opener_id == 0 || !is_opening()) std::this_thread::yield();
  LUNAR_LOG(kMs, 0, "meanwhile");
  EXPECT_NE(written().find("meanwhile"), std::string::npos);
  const auto reopened = log_reopen();  // nor anybody who opens another file, or the same again
  ASSERT_FALSE(reopened);
  EXPECT_EQ(reopened.error().code, std::errc::device_or_resource_busy);
  const UniqueFd reader(::open(pipe.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  opener.join();
}

TEST_F(LogTest, ReopeningWaitsForNoFileSystemThatDoesNotAnswer) {
  log_flush();
  const std::string file = folder_ / "log";
  std::filesystem::rename(file, folder_ / "log.1");
  ASSERT_EQ(::mkfifo(file.c_str(), 0600), 0);  // whose open waits for a reader
  for (int i = 0; i < 2; ++i) {
    const auto reopened = log_reopen();
    ASSERT_FALSE(reopened);
    EXPECT_EQ(reopened.error().code, std::errc::device_or_resource_busy);
  }
  LUNAR_LOG(kMs, 0, "meanwhile");
  log_flush();
  EXPECT_NE(folder_.read("log.1").find("meanwhile"), std::string::npos) << "the old file stays";
  const UniqueFd reader(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  std::filesystem::remove(file);
  while (!log_reopen()) std::this_thread::yield();  // until the first one has its pipe
}

TEST_F(LogTest, LinesOfSeveralThreadsAreAllThere) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([t] {
      for (int i = 0; i < 100; ++i) LUNAR_LOG(kMs, 0, "thread {} line {} end", t, i);
    });
  }
  for (auto& thread : threads) thread.join();
  const std::string text = written();
  for (int t = 0; t < 4; ++t) {
    for (int i = 0; i < 100; ++i) {
      EXPECT_NE(text.find(fmt::format("thread {} line {} end\n", t, i)), std::string::npos);
    }
  }
  EXPECT_EQ(log_dropped(), 0u);
}

TEST_F(LogTest, TheRingKeepsTheLastLines) {
  log_set_levels(Subsystem::kMs, {-1, 5});
  for (int i = 0; i < 2500; ++i) LUNAR_LOG(kMs, 5, "ring {} end", i);
  const auto lines = log_recent();
  EXPECT_EQ(lines.size(), 2000u);
  EXPECT_NE(lines.back().find("ring 2499 end"), std::string::npos);
  EXPECT_NE(lines.front().find("ring 500 end"), std::string::npos);
}

// tgtd handles its own signals: none may arrive on a thread of ours.
TEST_F(LogTest, TheWriterThreadBlocksAllSignals) {
  LUNAR_LOG(kMs, 0, "starts the thread");
  // Without a flush, which ends the thread. By then it has its name.
  while (folder_.read("log").find("starts the thread") == std::string::npos)
    std::this_thread::yield();
  int found = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/task")) {
    std::ifstream status(entry.path() / "status");
    std::string line;
    if (!std::getline(status, line) || line != "Name:\tlunar-log") continue;
    ++found;
    while (std::getline(status, line)) {
      if (!line.starts_with("SigBlk:\t")) continue;
      const uint64_t blocked = std::stoull(line.substr(8), nullptr, 16);
      EXPECT_EQ(blocked & (1ull << (SIGTERM - 1)), 1ull << (SIGTERM - 1));
      EXPECT_EQ(blocked & (1ull << (SIGUSR2 - 1)), 1ull << (SIGUSR2 - 1));
    }
  }
  EXPECT_GE(found, 1);
}

TEST_F(LogTest, AConfigSetsTheTargetAndItsLevelsFollow) {
  Config config;
  ASSERT_TRUE(config.set("log_file", folder_ / "other"));
  ASSERT_TRUE(config.set("log_to_stderr", "false"));
  ASSERT_TRUE(config.load_text("no_such_thing = 1\n", "f"));
  config.freeze();
  {
    const auto log = LogConfig::open(config);
    ASSERT_TRUE(log);
    LUNAR_LOG(kObjecter, 3, "too early");
    ASSERT_TRUE(config.set("debug_objecter", "3/10"));
    LUNAR_LOG(kObjecter, 3, "in time");
    EXPECT_EQ(log_levels(Subsystem::kObjecter), (LogLevels{3, 10}));
  }
  log_flush();
  const std::string text = folder_.read("other");
  EXPECT_EQ(text.find("too early"), std::string::npos);
  EXPECT_NE(text.find("in time"), std::string::npos);
  EXPECT_NE(text.find("f:1: unknown option 'no_such_thing'"), std::string::npos);
  log_set_levels(Subsystem::kObjecter, {0, 1});
}

}  // namespace
}  // namespace lunar
