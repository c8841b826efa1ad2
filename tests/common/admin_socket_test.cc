// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/admin_socket.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <future>
#include <nlohmann/json.hpp>
#include <thread>

#include "common/admin/unix_socket.h"
#include "common/admin_commands.h"
#include "common/config.h"
#include "common/log.h"
#include "common/perf_counters.h"
#include "common/program.h"
#include "tests/common/temp_folder.h"

namespace lunar {
namespace {

using nlohmann::json;

class AdminSocketTest : public testing::Test {
 protected:
  void SetUp() override {
    auto socket = AdminSocket::create(path());
    ASSERT_TRUE(socket) << socket.error().message;
    socket_ = *std::move(socket);
  }
  std::string path() const { return folder_ / "asok"; }
  std::string ask(const std::string& request) {
    const auto answer = admin_socket_request(path(), request);
    return answer ? *answer : "error: " + answer.error().message;
  }
  // Everything a raw client receives until the server closes.
  std::string raw(std::string_view request, bool half_close) {
    const auto fd = connect_unix(path());
    EXPECT_TRUE(fd);
    EXPECT_FALSE(write_all(fd->get(), as_const_bytes(request)));
    if (half_close) ::shutdown(fd->get(), SHUT_WR);
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    std::string received;
    while (wait_ready(fd->get(), POLLIN, deadline)) {
      char chunk[1024];
      const ssize_t got = ::read(fd->get(), chunk, sizeof chunk);
      if (got <= 0) break;
      received.append(chunk, static_cast<std::size_t>(got));
    }
    return received;
  }
  test::TempFolder folder_;
  std::unique_ptr<AdminSocket> socket_;
};

TEST_F(AdminSocketTest, AnswersHelpAndVersion) {
  EXPECT_TRUE(json::parse(ask("help")).contains("version"));
  EXPECT_EQ(json::parse(ask("{\"prefix\": \"version\"}"))["version"], version());
}

TEST_F(AdminSocketTest, SpeaksCephsProtocol) {
  for (const auto& [request, half_close] :
       {std::pair<std::string, bool>{"{\"prefix\": \"version\"}\n", false},
        {std::string("{\"prefix\": \"version\"}\0", 22), false},
        {"version", true}}) {
    const std::string answer = raw(request, half_close);
    ASSERT_GT(answer.size(), 4u);
    EXPECT_EQ(answer.substr(0, 3), std::string(3, '\0'));
    EXPECT_EQ(static_cast<std::size_t>(static_cast<unsigned char>(answer[3])), answer.size() - 4);
    EXPECT_EQ(json::parse(answer.substr(4))["version"], version());
  }
}

TEST_F(AdminSocketTest, OnlyItsOwnerMayConnect) {
  struct stat status {};
  ASSERT_EQ(::stat(path().c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0600u);
}

TEST_F(AdminSocketTest, PlainTextFindsTheLongestCommand) {
  const auto echo = [](const AdminRequest& request, AdminReply reply) {
    std::string text = request.prefix;
    for (const auto& word : request.words()) text += "|" + word;
    reply.send(text);
  };
  const auto perf = socket_->add("perf", "short", echo);
  const auto dump = socket_->add("perf dump", "long", echo);
  EXPECT_EQ(ask("perf dump  osd"), "perf dump|osd");
  EXPECT_EQ(ask("perf other"), "perf|other");
}

TEST_F(AdminSocketTest, JsonArgumentsArriveAsText) {
  const auto show = socket_->add("show", "", [](const AdminRequest& request, AdminReply reply) {
    reply.send(*request.find("a") + "," + *request.find("b") + "," + *request.find("c") + "," +
               (request.find("d") == nullptr ? "none" : "some"));
  });
  EXPECT_EQ(ask(R"({"prefix": "show", "a": "x", "b": 5, "c": ["y", "z"]})"), "x,5,y z,none");
}

TEST_F(AdminSocketTest, AnUnknownCommandIsAnError) {
  EXPECT_EQ(ask("perf dmup"), "error: unknown command 'perf dmup'; 'help' lists what there is");
}

TEST_F(AdminSocketTest, BrokenJsonIsAnError) {
  for (const char* request : {"{", "{}", R"({"prefix": 5})", R"({"prefix": "help")"}) {
    EXPECT_EQ(ask(request).rfind("error: expected a JSON object", 0), 0u) << request;
  }
  EXPECT_EQ(ask("version").front(), '{');  // and the server lives
}

TEST_F(AdminSocketTest, ATooLongRequestIsRefused) {
  EXPECT_NE(raw(std::string(70'000, 'x'), true).find("at most 65536 bytes"), std::string::npos);
  EXPECT_EQ(ask("version").front(), '{');
}

TEST_F(AdminSocketTest, AFailureKeepsItsCodeAndSentence) {
  const auto broken = socket_->add("broken", "", [](const AdminRequest&, AdminReply reply) {
    reply.fail(std::make_error_code(std::errc::no_space_on_device), "disk full; free some");
  });
  const auto answer = admin_socket_request(path(), "broken");
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().message, "disk full; free some");
  EXPECT_TRUE(answer.error().code == std::errc::no_space_on_device);
}

TEST_F(AdminSocketTest, AReplyMayComeLaterFromAnotherThreadWhileOthersAreServed) {
  std::promise<AdminReply> asked;
  const auto slow = socket_->add("slow", "", [&](const AdminRequest&, AdminReply reply) {
    asked.set_value(std::move(reply));
  });
  auto answer = std::async(std::launch::async, [&] { return ask("slow"); });
  AdminReply reply = asked.get_future().get();
  EXPECT_EQ(ask("version").front(), '{');
  reply.send("at last");
  EXPECT_EQ(answer.get(), "at last");
}

TEST_F(AdminSocketTest, ADroppedReplyIsAnswered) {
  const auto forget = socket_->add("forget", "", [](const AdminRequest&, AdminReply) {});
  EXPECT_EQ(ask("forget"), "error: the command was dropped");
}

TEST_F(AdminSocketTest, AReplyMayOutliveTheSocketAndTheClient) {
  std::promise<AdminReply> asked;
  auto slow = socket_->add("slow", "", [&](const AdminRequest&, AdminReply reply) {
    asked.set_value(std::move(reply));
  });
  {
    const auto client = connect_unix(path());
    ASSERT_TRUE(client);
    ASSERT_FALSE(write_all(client->get(), as_const_bytes("slow\n")));
    AdminReply reply = asked.get_future().get();
    socket_.reset();
    reply.send("too late");
  }
  EXPECT_FALSE(std::filesystem::exists(path()));
}

TEST_F(AdminSocketTest, ACommandEndsWithItsHandle) {
  {
    const auto once =
        socket_->add("once", "", [](const AdminRequest&, AdminReply reply) { reply.send("x"); });
    EXPECT_EQ(ask("once"), "x");
  }
  EXPECT_EQ(ask("once").rfind("error: unknown command", 0), 0u);
}

TEST_F(AdminSocketTest, AnAnswerLargerThanTheSocketBufferArrivesWhole) {
  const auto big = socket_->add("big", "", [](const AdminRequest&, AdminReply reply) {
    reply.send(std::string(8 << 20, 'b'));
  });
  EXPECT_EQ(ask("big"), std::string(8 << 20, 'b'));
}

TEST_F(AdminSocketTest, MoreClientsThanPlacesAreAllServed) {
  std::vector<std::future<std::string>> answers;
  for (int i = 0; i < 40; ++i) {
    answers.push_back(std::async(std::launch::async, [&] { return ask("version"); }));
  }
  for (auto& answer : answers) EXPECT_EQ(answer.get().front(), '{');
}

TEST_F(AdminSocketTest, ALiveSocketIsNotReplaced) {
  const auto second = AdminSocket::create(path());
  ASSERT_FALSE(second);
  EXPECT_TRUE(second.error().code == std::errc::address_in_use);
  EXPECT_NE(second.error().message.find("another program is listening there"), std::string::npos);
  EXPECT_EQ(ask("version").front(), '{');
}

TEST(AdminSocketPathTest, TheSocketOfADeadProcessIsReplaced) {
  const test::TempFolder folder;
  const std::string path = folder / "asok";
  { const auto dead = listen_unix(path); }  // closed, the file stays
  ASSERT_TRUE(std::filesystem::exists(path));
  const auto socket = AdminSocket::create(path);
  ASSERT_TRUE(socket) << socket.error().message;
  EXPECT_TRUE(admin_socket_request(path, "version"));
}

TEST(AdminSocketPathTest, AFileInTheWayAndALongPathAreErrors) {
  const test::TempFolder folder;
  const auto file = AdminSocket::create(folder.write("file", "mine"));
  ASSERT_FALSE(file);
  EXPECT_NE(file.error().message.find("is not a socket"), std::string::npos);
  EXPECT_EQ(folder.read("file"), "mine");
  const auto too_long = AdminSocket::create(folder / std::string(120, 'x'));
  ASSERT_FALSE(too_long);
  EXPECT_TRUE(too_long.error().code == std::errc::filename_too_long);
}

TEST(AdminSocketPathTest, NobodyListeningIsAnErrorWithThePath) {
  const auto answer = admin_socket_request("/nowhere/asok", "help");
  ASSERT_FALSE(answer);
  EXPECT_EQ(
      answer.error().message.rfind("/nowhere/asok: cannot connect; is the program running?", 0),
      0u);
}

class StandardCommandsTest : public AdminSocketTest {
 protected:
  void SetUp() override {
    AdminSocketTest::SetUp();
    ASSERT_TRUE(config_.set("mon_host", "10.0.0.1"));
    config_.freeze();
    commands_ = add_standard_commands(*socket_, config_, perf_);
  }
  void TearDown() override { socket_.reset(); }
  Config config_;
  PerfRegistry perf_;
  std::vector<AdminSocket::ServedCommand> commands_;
};

TEST_F(StandardCommandsTest, ConfigIsShownAndSet) {
  EXPECT_EQ(json::parse(ask("config show"))["ms_type"], "async+posix");
  EXPECT_EQ(json::parse(ask("config get debug_ms"))["debug_ms"], "0/5");
  EXPECT_TRUE(json::parse(ask("config set debug_ms 3/9")).contains("success"));
  EXPECT_EQ(config_.get_log_level("debug_ms"), (LogLevels{3, 9}));
  ask(R"({"prefix": "config set", "var": "debug_ms", "val": ["4"]})");
  EXPECT_EQ(config_.get_log_level("debug_ms"), (LogLevels{4, 4}));
  EXPECT_NE(ask("config set ms_type async+posix").find("read at start only"), std::string::npos);
  EXPECT_EQ(ask("config get ms_tpye"), "error: unknown option 'ms_tpye'; did you mean 'ms_type'?");
}

TEST_F(StandardCommandsTest, ConfigDiffShowsWhatWasChanged) {
  const json diff = json::parse(ask("config diff"));
  EXPECT_EQ(diff.size(), 1u);
  EXPECT_EQ(diff["mon_host"]["value"], "10.0.0.1");
  EXPECT_EQ(diff["mon_host"]["source"], "override");
}

TEST_F(StandardCommandsTest, CountersAreDumped) {
  PerfGroup group(perf_, "osd");
  group.counter("op", "ops").add(2);
  group.histogram("lat", "latency");
  EXPECT_EQ(json::parse(ask("perf dump"))["osd"]["op"], 2);
  EXPECT_EQ(json::parse(ask("perf dump nobody")), json::object());
  EXPECT_EQ(json::parse(ask("perf schema osd"))["osd"]["op"]["description"], "ops");
  EXPECT_TRUE(json::parse(ask("perf histogram dump"))["osd"].contains("lat"));
  EXPECT_NE(ask("perf prometheus").find("lunar_osd_op_total{group=\"osd\"} 2"), std::string::npos);
}

TEST_F(StandardCommandsTest, TheLogIsDumped) {
  log_set_levels(Subsystem::kTools, {-1, 5});
  LUNAR_LOG(kTools, 5, "a line for the dump");
  EXPECT_NE(ask("log dump").find("a line for the dump"), std::string::npos);
  EXPECT_EQ(ask("log reopen"), "{}");
}

}  // namespace
}  // namespace lunar
