// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/objecter/objecter_fixture.h"

namespace lunar::objecter {
namespace {

using testing::HasSubstr;

class BootstrapTest : public ObjecterFixture {
 protected:
  void wait(std::chrono::nanoseconds timeout) {
    objecter->wait_for_map(timeout, [this](Outcome<OsdMapRef> map) { outcome = std::move(map); });
  }
  std::optional<Outcome<OsdMapRef>> outcome;
};

TEST_F(BootstrapTest, MapComesFromTheFirstServer) {
  start_servers(3);
  make_objecter();
  wait(2s);
  EXPECT_FALSE(outcome);
  settle();
  ASSERT_TRUE(outcome);
  ASSERT_TRUE(*outcome);
  EXPECT_EQ(***outcome, map);
  EXPECT_EQ(osd(0).subscriptions, (std::vector<Epoch>{0}));
  EXPECT_EQ(osd(1).sessions, 0u) << "nobody else was needed";
  EXPECT_EQ(counter("map_epoch"), 5u);
}

TEST_F(BootstrapTest, WhoeverWaitsLaterHasItAtOnce) {
  start(1);
  wait(1ns);
  EXPECT_FALSE(outcome) << "never inside the call";
  settle();
  ASSERT_TRUE(outcome);
  EXPECT_TRUE(*outcome);
}

TEST_F(BootstrapTest, DeadAddressesAreSteppedOver) {
  start_servers(2);
  options.bootstrap = {msgr::Address::loopback(1), msgr::Address::loopback(2), osd(1).address()};
  make_objecter();
  wait(2s);
  pass(500ms);
  ASSERT_TRUE(outcome) << "one stagger per dead address";
  EXPECT_TRUE(*outcome);
}

TEST_F(BootstrapTest, SilentServerIsSteppedOver) {
  start_servers(2);
  osd(0).says_hello = false;
  options.bootstrap = {osd(0).address(), osd(1).address()};
  make_objecter();
  wait(2s);
  pass(500ms);
  ASSERT_TRUE(outcome);
  EXPECT_TRUE(*outcome);
}

TEST_F(BootstrapTest, ManyDeadAddressesAreTriedInTurn) {
  start_servers(1);
  options.bootstrap.clear();
  for (uint16_t port = 1; port <= 32; ++port)
    options.bootstrap.push_back(msgr::Address::loopback(port));
  options.bootstrap.push_back(osd(0).address());
  make_objecter();
  wait(60s);
  pass(3s);
  ASSERT_TRUE(outcome);
  EXPECT_TRUE(*outcome);
}

TEST_F(BootstrapTest, NobodyThereIsExplainedAndTryingGoesOn) {
  start_servers(1);
  faults.target = osd(0).address();
  faults.refuse = true;
  options.bootstrap = {osd(0).address(), msgr::Address::loopback(1)};
  make_objecter();
  wait(2s);
  pass(2100ms);
  ASSERT_TRUE(outcome);
  ASSERT_FALSE(*outcome);
  EXPECT_EQ(outcome->error().code, make_error_code(OsdErrc::kUnreachable));
  EXPECT_THAT(outcome->error().message, HasSubstr(osd(0).address().to_string()));
  EXPECT_THAT(outcome->error().message, HasSubstr("127.0.0.1:1 "));
  EXPECT_THAT(outcome->error().message, HasSubstr("2s"));
  EXPECT_THAT(outcome->error().message, HasSubstr("mon_host"));
  faults.refuse = false;
  outcome.reset();
  wait(20s);
  pass(20s);
  ASSERT_TRUE(outcome);
  EXPECT_TRUE(*outcome);
}

TEST_F(BootstrapTest, OpsSubmittedBeforeTheMapWaitForIt) {
  start_servers(2);
  osd(0).answers_subscriptions = false;
  make_objecter();
  auto data = pattern(64);
  Ended ended;
  submit(write_op(object_on(1), data), ended);
  settle();
  EXPECT_FALSE(ended.is_done);
  osd(0).push_map();
  settle();
  ASSERT_EQ(osd(1).ops.size(), 1u);
  osd(1).reply_next();
  settle();
  EXPECT_FALSE(ended.reply.error);
  EXPECT_TRUE(ended.is_done);
}

TEST_F(BootstrapTest, ServerWithoutAMapIsSaidToBe) {
  start_servers(1);
  osd(0).map.reset();
  make_objecter();
  wait(1s);
  pass(1100ms);
  ASSERT_TRUE(outcome);
  ASSERT_FALSE(*outcome);
  EXPECT_THAT(outcome->error().message, HasSubstr("it has no map"));
}

TEST_F(BootstrapTest, IncompatibleMapIsExplained) {
  start_servers(1);
  osd(0).answers_subscriptions = false;
  make_objecter();
  wait(1s);
  settle();
  osd(0).send_raw(MessageType::kMap, pattern(100));
  pass(1100ms);
  ASSERT_TRUE(outcome);
  ASSERT_FALSE(*outcome);
  EXPECT_THAT(outcome->error().message, HasSubstr("not a cluster map"));
}

TEST_F(BootstrapTest, AMapThatWasRefusedIsSaidWhateverOthersLack) {
  start_servers(2);
  osd(0).answers_subscriptions = false;
  osd(1).map.reset();
  options.bootstrap = {osd(0).address(), osd(1).address()};
  make_objecter();
  wait(2s);
  settle();
  osd(0).send_raw(MessageType::kMap, pattern(100));
  pass(2100ms);  // osd.1 says that it has none
  ASSERT_TRUE(outcome);
  ASSERT_FALSE(*outcome);
  EXPECT_THAT(outcome->error().message, HasSubstr("not a cluster map"));
}

TEST_F(BootstrapTest, WrongKeyIsExplained) {
  const EntityName client = *EntityName::parse("client.test");
  Keyring theirs, ours;
  theirs.generate(client);
  theirs.generate(*EntityName::parse("osd.0"));
  ours.generate(client);  // another key
  server_options.auth_required = client_options.auth_required = true;
  server_keyring = &theirs;
  client_keyring = &ours;
  start_servers(1);
  make_objecter();
  wait(2s);
  pass(2100ms);
  ASSERT_TRUE(outcome);
  ASSERT_FALSE(*outcome);
  EXPECT_EQ(outcome->error().code, make_error_code(msgr::MsgrErrc::kAuthFailed));
  EXPECT_THAT(outcome->error().message, HasSubstr("client.test"));
  EXPECT_THAT(outcome->error().message, HasSubstr("key"));
  EXPECT_THAT(outcome->error().message, HasSubstr(osd(0).address().to_string()));
  shut_down();  // before the keyrings go
  stop_server(0);
}

TEST_F(BootstrapTest, NoModeInCommonIsExplained) {
  const EntityName client = *EntityName::parse("client.test");
  Keyring keyring;
  keyring.generate(client);
  keyring.generate(*EntityName::parse("osd.0"));
  server_keyring = client_keyring = &keyring;
  server_options.modes.service = *msgr::WireModes::parse("secure");
  client_options.modes.client = *msgr::WireModes::parse("crc");
  start_servers(1);
  make_objecter();
  wait(1s);
  pass(1100ms);
  ASSERT_TRUE(outcome);
  ASSERT_FALSE(*outcome);
  EXPECT_EQ(outcome->error().code, make_error_code(msgr::MsgrErrc::kFeatureMismatch));
  EXPECT_THAT(outcome->error().message, HasSubstr("ms_client_mode"));
  EXPECT_THAT(outcome->error().message, HasSubstr(osd(0).address().to_string()));
  shut_down();  // before the keyring goes
  stop_server(0);
}

TEST_F(BootstrapTest, AServerThatIsAnotherThanItHasProvenIsIgnored) {
  Keyring keyring;
  for (const char* entity : {"client.test", "osd.0"}) keyring.generate(*EntityName::parse(entity));
  server_options.auth_required = client_options.auth_required = true;
  server_keyring = client_keyring = &keyring;
  start_servers(1);
  osd(0).hello.osd = 1;
  make_objecter();
  wait(2s);
  settle();
  EXPECT_EQ(osd(0).sessions, 1u);
  osd(0).push_map();
  std::vector<std::byte> front;
  encode(map, front);
  osd(0).send_raw(MessageType::kMap, front);
  pass(2100ms);
  EXPECT_TRUE(osd(0).subscriptions.empty());
  ASSERT_TRUE(outcome);
  EXPECT_FALSE(*outcome);
  EXPECT_EQ(objecter->map(), nullptr);
  shut_down();  // before the keyring goes
  stop_server(0);
}

TEST_F(BootstrapTest, WaitingEndsAtShutdown) {
  start_servers(1);
  osd(0).says_hello = false;
  make_objecter();
  wait(60s);
  std::optional<std::error_code> epoch_error;
  objecter->wait_for_epoch(9, 60s, [&](std::error_code error) { epoch_error = error; });
  settle();
  shut_down();
  ASSERT_TRUE(outcome);
  EXPECT_EQ(outcome->error().code, make_error_code(OsdErrc::kShutdown));
  EXPECT_EQ(epoch_error, make_error_code(OsdErrc::kShutdown));
}

}  // namespace
}  // namespace lunar::objecter
