// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/objecter/objecter_fixture.h"

namespace lunar::objecter {
namespace {

using testing::HasSubstr;

class ServerCommandsTest : public ObjecterFixture {
 protected:
  void SetUp() override { start(2); }
  void run(OsdId to, std::string json = "{\"prefix\":\"osd ls\"}",
           std::chrono::nanoseconds timeout = 2s) {
    result.reset();
    objecter->command(to, std::move(json), timeout, [this](Outcome<std::string> answer) {
      EXPECT_FALSE(result) << "done runs once";
      result = std::move(answer);
    });
  }
  std::optional<Outcome<std::string>> result;
};

TEST_F(ServerCommandsTest, GoesToTheAuthorityByDefault) {
  osd(0).on_command = [](const std::string&) { return CommandReply{OsdErrc::kOk, 5, "[0,1]"}; };
  run(-1);
  EXPECT_FALSE(result);
  settle();
  ASSERT_TRUE(result && *result);
  EXPECT_EQ(result->value(), "[0,1]");
  EXPECT_EQ(osd(0).commands, (std::vector<std::string>{"{\"prefix\":\"osd ls\"}"}));
  EXPECT_EQ(counter("command_active"), 0u);
}

TEST_F(ServerCommandsTest, GoesToTheServerThatIsNamed) {
  osd(1).on_command = [](const std::string&) { return CommandReply{OsdErrc::kOk, 0, "{}"}; };
  run(1);
  settle();
  ASSERT_TRUE(result && *result);
  EXPECT_EQ(osd(1).commands.size(), 1u);
}

TEST_F(ServerCommandsTest, AServerThatTakesOnlyOtherModesIsNotWaitedFor) {
  Keyring keyring;  // which a server needs for TLS
  for (const char* entity : {"client.test", "osd.1"}) keyring.generate(*EntityName::parse(entity));
  const msgr::Address address = osd(1).address();
  stop_server(1);
  server_options.modes.service = *msgr::WireModes::parse("secure");
  servers[1] = std::make_unique<test::FakeOsd>(*center, *stack, 1, server_options, &keyring);
  servers[1]->start(address);
  run(1, "{\"prefix\":\"osd ls\"}", 20s);
  pass(1s);
  ASSERT_TRUE(result) << "not after 20 s";
  EXPECT_EQ(result->error().code, make_error_code(msgr::MsgrErrc::kFeatureMismatch));
  EXPECT_THAT(result->error().message, HasSubstr("osd.1"));
  shut_down();  // before the keyring goes
  stop_server(1);
}

// A fence on another store than the one that is written to would protect nothing.
TEST_F(ServerCommandsTest, ForOneServerGoesToNoOtherStore) {
  osd(1).hello.store = Uuid::random();
  run(1);
  pass(3s);
  ASSERT_TRUE(result);
  EXPECT_EQ(result->error().code, make_error_code(OsdErrc::kUnreachable));
  EXPECT_TRUE(osd(1).commands.empty());
}

TEST_F(ServerCommandsTest, ForTheAuthorityReachesItOnANewStore) {
  osd(0).hello.store = Uuid::random();
  restart(0);
  osd(0).on_command = [](const std::string&) { return CommandReply{OsdErrc::kOk, 0, "{}"}; };
  run(-1);
  pass(1s);
  EXPECT_TRUE(result && *result) << "or the map could not be restored";
}

TEST_F(ServerCommandsTest, ErrorCarriesTheServersSentence) {
  osd(0).on_command = [](const std::string&) {
    return CommandReply{OsdErrc::kExists, 0, "pool 'rbd' exists already"};
  };
  run(-1);
  settle();
  ASSERT_TRUE(result);
  EXPECT_EQ(result->error().code, make_error_code(OsdErrc::kExists));
  EXPECT_EQ(result->error().message, "pool 'rbd' exists already");
}

TEST_F(ServerCommandsTest, AnswerComesWithTheMapThatShowsIt) {
  osd(0).on_command = [this](const std::string&) {
    OsdMap changed = map;
    changed.epoch = 6;
    set_map(changed, false);
    return CommandReply{OsdErrc::kOk, 6, "{}"};
  };
  run(-1);
  settle();
  ASSERT_TRUE(result && *result);
  EXPECT_EQ(objecter->map()->epoch, 6u);
}

TEST_F(ServerCommandsTest, SilenceIsExplained) {
  run(-1);
  pass(2100ms);
  ASSERT_TRUE(result);
  EXPECT_EQ(result->error().code, make_error_code(OsdErrc::kTimedOut));
  EXPECT_THAT(result->error().message, HasSubstr("osd.0"));
  EXPECT_THAT(result->error().message, HasSubstr("2s"));
}

TEST_F(ServerCommandsTest, LostConnectionIsNotRetried) {
  run(1, "{}", 20s);
  settle();
  ASSERT_EQ(osd(1).commands.size(), 1u);
  restart(1);
  ASSERT_TRUE(result);
  EXPECT_EQ(result->error().code, make_error_code(OsdErrc::kUnknownOutcome));
  EXPECT_EQ(osd(1).commands.size(), 1u) << "it may have been done";
}

TEST_F(ServerCommandsTest, UnknownServerIsSaid) {
  run(7);
  settle();
  ASSERT_TRUE(result);
  EXPECT_THAT(result->error().message, HasSubstr("no osd.7"));
}

TEST_F(ServerCommandsTest, ServerThatWasNeverUpIsSaid) {
  OsdMap changed = map;
  changed.epoch = 6;
  changed.osds[1].addresses.clear();
  changed.osds[1].up = false;
  set_map(changed);
  settle();
  run(1);
  settle();
  ASSERT_TRUE(result);
  EXPECT_EQ(result->error().code, make_error_code(OsdErrc::kUnreachable));
}

TEST_F(ServerCommandsTest, ShutdownEndsIt) {
  run(-1);
  settle();
  shut_down();
  ASSERT_TRUE(result);
  EXPECT_EQ(result->error().code, make_error_code(OsdErrc::kShutdown));
}

TEST_F(ServerCommandsTest, AnswersNobodyAskedForAreIgnored) {
  std::vector<std::byte> front;
  encode(CommandReply{OsdErrc::kOk, 0, "{}"}, front);
  osd(0).send_raw(MessageType::kCommandReply, front, 4242);
  settle();
  EXPECT_EQ(counter("reply_ignored"), 1u);
}

}  // namespace
}  // namespace lunar::objecter
