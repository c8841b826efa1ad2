// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/map/authority_link.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <vector>

#include "msgr/loopback/loopback_stack.h"
#include "tests/support/fake_osd.h"
#include "tests/support/manual_clock.h"

namespace lunar::osd {
namespace {

using namespace std::chrono_literals;
using objecter::OsdBootReply;
using objecter::OsdErrc;
using objecter::OsdMap;
using objecter::OsdMapRef;
using testing::HasSubstr;

// Servers 0 … 2 of which osd.0 is the authority, and osd.7 that boots.
class AuthorityLinkTest : public testing::Test, private msgr::Dispatcher, private BootingServer {
 protected:
  // With authentication, if these are entities.
  explicit AuthorityLinkTest(std::initializer_list<const char*> entities = {}) {
    for (const char* entity : entities) keyring.generate(*EntityName::parse(entity));
    const Keyring* keys = entities.size() == 0 ? nullptr : &keyring;
    msgr::MessengerOptions server_options = test::without_authentication();
    server_options.auth_required = keys != nullptr;
    msgr::EventCenter::Options options;
    options.time = &clock;
    center = std::move(*msgr::EventCenter::create(options));
    cluster.fsid = fsid;
    cluster.epoch = 5;
    for (objecter::OsdId id = 0; id < 3; ++id) {
      servers.push_back(std::make_unique<test::FakeOsd>(*center, stack, id, server_options, keys));
      cluster.osds.push_back({id, Uuid::random(), {servers.back()->start()}, true});
      servers.back()->hello.fsid = fsid;
    }
    for (auto& server : servers) server->map = cluster;
    msgr::MessengerOptions messenger_options;
    messenger_options.auth_required = keys != nullptr;
    messenger_options.entity = messenger_options.instance = "osd.7";
    messenger_options.inject_seed = 7;  // back-off jitter that repeats
    messenger = std::move(*msgr::Messenger::create(*center, stack, messenger_options, keys, nullptr,
                                                   static_cast<msgr::Dispatcher*>(this)));
  }
  ~AuthorityLinkTest() override {
    link.reset();
    opened.reset();
    int left = 1 + static_cast<int>(servers.size());
    messenger->shutdown([&] { --left; });
    for (auto& server : servers) server->stop([&] { --left; });
    for (int i = 0; i < 100 && left > 0; ++i) pass(50ms);
    EXPECT_EQ(left, 0);
  }
  void start(std::vector<int> bootstrap) {
    std::vector<msgr::Address> addresses;
    for (const int id : bootstrap) addresses.push_back(osd(id).address());
    start_at(addresses);
  }
  void start_at(const std::vector<msgr::Address>& addresses) {
    link = std::make_unique<AuthorityLink>(*center, *messenger, static_cast<BootingServer&>(*this),
                                           AuthorityLink::Places{addresses, named},
                                           AuthorityLink::Pace{1s, heartbeat});
    link->start();
    pass(0s);
  }
  test::FakeOsd& osd(int id) { return *servers.at(static_cast<std::size_t>(id)); }
  void pass(std::chrono::nanoseconds time) {
    center->run_until_idle();
    for (; time.count() > 0; time -= 10ms) {
      clock.advance(10ms);
      center->run_until_idle();
    }
  }

  Keyring keyring;
  const Uuid fsid = Uuid::random();
  const Uuid store_ = Uuid::random();  // ours
  std::chrono::nanoseconds heartbeat{1h};
  test::ManualClock clock;
  std::unique_ptr<msgr::EventCenter> center;
  msgr::LoopbackStack stack{{}};
  std::vector<std::unique_ptr<test::FakeOsd>> servers;
  std::unique_ptr<msgr::Messenger> messenger;
  std::unique_ptr<AuthorityLink> link;
  OsdMap cluster;
  std::optional<OsdId> named;  // the authority by configuration
  // What the server knows and was told.
  OsdMapRef ours;
  std::vector<objecter::Epoch> booted;
  std::optional<OsdErrc> refused;
  std::string sentence;
  msgr::ConnectionRef opened;  // the session that was opened last
  objecter::OsdBoot make_boot() override {
    objecter::OsdBoot boot;
    boot.osd = 7;
    boot.fsid = fsid;
    boot.store = store_;
    boot.incarnation = 9;
    boot.epoch = ours ? ours->epoch : 0;
    boot.addresses = {msgr::Address::loopback(6807)};
    return boot;
  }

 private:
  const OsdMapRef& map() const noexcept override { return ours; }
  void on_newer_map(OsdMap map) override { ours = std::make_shared<const OsdMap>(std::move(map)); }
  void on_booted(objecter::Epoch epoch) override { booted.push_back(epoch); }
  void on_refused(OsdErrc error, std::string why) override {
    refused = error;
    sentence = std::move(why);
  }
  void on_open(msgr::Connection& connection) override {
    opened = connection.shared_from_this();
    if (link && link->owns(connection)) link->on_open(connection);
  }
  void on_message(msgr::Connection& connection, msgr::InMessage message) override {
    if (link && link->owns(connection)) link->on_message(connection, message);
  }
  void on_reset(msgr::Connection& connection, std::error_code why) override {
    if (link && link->owns(connection)) link->on_reset(connection, why);
  }
};

TEST_F(AuthorityLinkTest, BootsWithTheAuthorityAndTakesItsMap) {
  start({0});
  EXPECT_TRUE(link->is_booted());
  EXPECT_EQ(booted, (std::vector<objecter::Epoch>{5}));
  ASSERT_EQ(osd(0).boots.size(), 1u);
  EXPECT_EQ(osd(0).boots[0].osd, 7);
  EXPECT_EQ(osd(0).subscriptions, (std::vector<objecter::Epoch>{0}));
  ASSERT_NE(ours, nullptr);
  EXPECT_EQ(*ours, cluster);
  pass(10s);
  EXPECT_EQ(osd(0).boots.size(), 1u) << "once is enough";
}

// What comes behind its last field is refused by a release that does not know it.
TEST_F(AuthorityLinkTest, AnAuthorityOfAnEarlierReleaseIsToldWhatItReads) {
  objecter::OsdBoot boot = make_boot();
  boot.kind = objecter::StoreKind::kFile;
  boot.next_pool_id = 7;
  const auto sent_to = [&](bool follows_moves, bool reads_pool_ids) {
    msgr::PeerIdentity authority;
    authority.follows_moves = follows_moves;
    authority.reads_pool_ids = reads_pool_ids;
    std::vector<std::byte> bytes;
    objecter::encode(boot_for(authority, boot), bytes);
    return bytes.size();
  };
  const std::size_t first = sent_to(false, false);
  EXPECT_EQ(sent_to(true, false), first + 5) << "a kind, and an empty string";
  EXPECT_EQ(sent_to(true, true), first + 13) << "and a pool id";
}

TEST_F(AuthorityLinkTest, FindsTheAuthorityByAServerThatIsNot) {
  osd(1).on_boot = [](const objecter::OsdBoot&) {
    return OsdBootReply{OsdErrc::kStaleMap, 0, "osd.1 is not the map authority"};
  };
  start({1});
  EXPECT_FALSE(link->is_booted());
  ASSERT_NE(ours, nullptr) << "but it has the map";
  pass(3s);
  EXPECT_TRUE(link->is_booted());
  EXPECT_EQ(osd(0).boots.size(), 1u);
  EXPECT_EQ(osd(1).boots.size(), 1u) << "once the authority is known, nobody else is told";
}

TEST_F(AuthorityLinkTest, SteppedOverIfItIsSilent) {
  osd(1).says_hello = false;
  start({1, 0});
  pass(190ms);
  EXPECT_EQ(osd(0).sessions, 0u);
  pass(20ms);
  EXPECT_TRUE(link->is_booted());
}

TEST_F(AuthorityLinkTest, TheAuthorityIsFoundSoonBehindManyDeadAddresses) {
  std::vector<msgr::Address> addresses;
  for (uint16_t port = 1; port <= 32; ++port) addresses.push_back(msgr::Address::loopback(port));
  addresses.push_back(osd(0).address());
  start_at(addresses);
  pass(3s);
  EXPECT_TRUE(link->is_booted());
}

TEST_F(AuthorityLinkTest, ItIsToldByOneOfItsAddressesAtATime) {
  test::FakeOsd other_address(*center, stack, 0, test::without_authentication());
  other_address.start();
  other_address.hello = osd(0).hello;
  other_address.map = cluster;
  for (test::FakeOsd* each : {&osd(0), &other_address}) each->says_hello = false;
  start_at({osd(0).address(), other_address.address()});
  pass(300ms);
  for (test::FakeOsd* each : {&osd(0), &other_address}) each->say_hello();  // at once
  pass(0s);
  EXPECT_TRUE(link->is_booted());
  EXPECT_EQ(osd(0).boots.size() + other_address.boots.size(), 1u);
  bool is_stopped = false;
  other_address.stop([&] { is_stopped = true; });
  for (int i = 0; i < 100 && !is_stopped; ++i) pass(50ms);
}

TEST_F(AuthorityLinkTest, ServerOfAnotherClusterIsNotTold) {
  osd(1).map.reset();
  osd(1).hello.fsid = Uuid::random();
  start({1, 0});
  pass(900ms);
  EXPECT_TRUE(osd(1).boots.empty());
  EXPECT_TRUE(osd(1).subscriptions.empty());
  pass(200ms);
  EXPECT_TRUE(link->is_booted());
}

TEST_F(AuthorityLinkTest, BusyAuthorityIsAskedAgain) {
  bool is_busy = true;
  osd(0).on_boot = [&](const objecter::OsdBoot&) {
    return is_busy ? OsdBootReply{OsdErrc::kBusy, 0, "busy"} : OsdBootReply{OsdErrc::kOk, 6, ""};
  };
  start({0});
  EXPECT_FALSE(link->is_booted());
  is_busy = false;
  pass(1100ms);
  EXPECT_TRUE(link->is_booted());
  EXPECT_EQ(booted, (std::vector<objecter::Epoch>{6}));
  EXPECT_EQ(osd(0).sessions, 1u) << "on the same session";
}

TEST_F(AuthorityLinkTest, RefusalIsPassedOn) {
  osd(0).on_boot = [](const objecter::OsdBoot&) {
    return OsdBootReply{OsdErrc::kExists, 0, "there is another osd.7"};
  };
  start({0});
  EXPECT_FALSE(link->is_booted());
  EXPECT_EQ(refused, OsdErrc::kExists);
  EXPECT_EQ(sentence, "there is another osd.7");
}

TEST_F(AuthorityLinkTest, NewSessionIsBootedAnew) {
  start({0});
  osd(0).drop_sessions();
  pass(5s);
  EXPECT_TRUE(link->is_booted());
  EXPECT_EQ(osd(0).boots.size(), 2u);
  EXPECT_EQ(booted.size(), 2u);
}

TEST_F(AuthorityLinkTest, BootsAgainOnTheSameSessionWhenTold) {
  start({0});
  link->boot_again();
  EXPECT_FALSE(link->is_booted());
  pass(0s);
  EXPECT_TRUE(link->is_booted());
  EXPECT_EQ(osd(0).boots.size(), 2u);
  EXPECT_EQ(osd(0).sessions, 1u);
}

TEST_F(AuthorityLinkTest, AsksForANewerMapWhenTold) {
  start({0});
  link->want_map();
  pass(0s);
  EXPECT_EQ(osd(0).subscriptions, (std::vector<objecter::Epoch>{0, 5}));
}

TEST_F(AuthorityLinkTest, OlderMapsAndThoseOfOthersAreIgnored) {
  start({0});
  OsdMap other = cluster;
  other.epoch = 9;
  other.fsid = Uuid::random();
  OsdMap older = cluster;
  older.epoch = 4;
  for (const OsdMap& bad : {other, older}) {
    osd(0).map = bad;
    osd(0).push_map();
    pass(0s);
    EXPECT_EQ(*ours, cluster);
  }
}

// The authority's disk was lost, and a new cluster map was made with the same fsid.
// The same backup restored on two stores, one after the other.
TEST_F(AuthorityLinkTest, AnotherMapOfTheSameEpochHasToBecomeLater) {
  ours = std::make_shared<const OsdMap>(cluster);
  osd(0).hello.store = Uuid::random();
  start({0});
  EXPECT_TRUE(osd(0).boots.empty());
  ASSERT_GE(osd(0).subscriptions.size(), 2u);
  EXPECT_EQ(osd(0).subscriptions.front(), 5u);
  EXPECT_EQ(osd(0).subscriptions.back(), 6u) << "so that it makes a later one";
  EXPECT_LE(osd(0).subscriptions.size(), 4u) << "and is not flooded";
  OsdMap restored = cluster;
  restored.epoch = 1'000'006;
  restored.osds[0].store = osd(0).hello.store;
  restored.osds.push_back({7, store_, {}, false});
  osd(0).map = restored;
  pass(3s);
  EXPECT_TRUE(link->is_booted());
  EXPECT_EQ(*ours, restored);
}

TEST_F(AuthorityLinkTest, AnAuthorityOnAnotherStoreIsNotBootedWithUntilItsMapKnowsUs) {
  ours = std::make_shared<const OsdMap>(cluster);
  osd(0).hello.store = Uuid::random();
  OsdMap fresh = cluster;
  fresh.epoch = 9;
  fresh.osds.resize(1);
  fresh.osds[0].store = osd(0).hello.store;
  osd(0).map = fresh;
  start({0});
  pass(5s);
  EXPECT_TRUE(osd(0).boots.empty());
  EXPECT_FALSE(refused) << "it waits for the map to be restored";
  EXPECT_EQ(*ours, cluster);
  OsdMap restored = cluster;
  restored.epoch = 1'000'010;
  restored.osds[0].store = osd(0).hello.store;
  restored.osds.push_back({7, store_, {}, false});
  osd(0).map = restored;
  osd(0).push_map();
  pass(2s);
  EXPECT_EQ(*ours, restored);
  EXPECT_TRUE(link->is_booted());
}

// Each server proves who it is.
class ProvenAuthorityTest : public AuthorityLinkTest {
 protected:
  ProvenAuthorityTest() : AuthorityLinkTest({"osd.0", "osd.1", "osd.2", "osd.7"}) {
    for (int id : {1, 2}) {
      osd(id).on_boot = [](const objecter::OsdBoot&) {
        return OsdBootReply{OsdErrc::kStaleMap, 0, "not the map authority"};
      };
    }
  }
  // A map by which a server gives up all that it has.
  OsdMap forged() const {
    OsdMap map = cluster;
    map.epoch = 99;
    map.next_pool_id = 50;
    return map;
  }
};

TEST_F(ProvenAuthorityTest, MapsOfOthersAreNotTaken) {
  ours = std::make_shared<const OsdMap>(cluster);
  osd(0).says_hello = false;
  osd(1).map = forged();
  osd(2).map = forged();
  osd(2).map->authority = 2;
  start({1, 2});
  pass(5s);
  EXPECT_FALSE(osd(1).subscriptions.empty());
  EXPECT_FALSE(osd(2).subscriptions.empty());
  osd(1).push_map();
  osd(2).push_map();
  pass(0s);
  EXPECT_EQ(*ours, cluster);
  EXPECT_FALSE(link->is_booted());
}

TEST_F(ProvenAuthorityTest, ThoseOfTheAuthorityAre) {
  ours = std::make_shared<const OsdMap>(cluster);
  osd(0).map->epoch = 7;
  start({1});
  pass(3s);
  EXPECT_TRUE(link->is_booted());
  EXPECT_EQ(ours->epoch, 7u);
}

TEST_F(ProvenAuthorityTest, TheFirstMapIsOfTheAuthorityThatItNames) {
  start({1});
  EXPECT_EQ(ours, nullptr) << "it says where the authority is, and no more";
  pass(3s);
  EXPECT_TRUE(link->is_booted());
  ASSERT_NE(ours, nullptr);
  EXPECT_EQ(*ours, cluster);
}

TEST_F(ProvenAuthorityTest, WhoIsNotTheConfiguredAuthorityIsNeitherBootedWithNorHeard) {
  named = 0;
  osd(1).map = forged();
  osd(1).map->authority = 1;
  osd(1).on_boot = [](const objecter::OsdBoot&) {
    return OsdBootReply{OsdErrc::kExists, 0, "go away"};
  };
  start({1, 0});
  pass(3s);
  EXPECT_FALSE(refused) << sentence;
  EXPECT_TRUE(osd(1).boots.empty());
  EXPECT_TRUE(link->is_booted());
  ASSERT_NE(ours, nullptr);
  EXPECT_EQ(*ours, cluster);
}

TEST_F(ProvenAuthorityTest, OthersSayWhereItHasGone) {
  OsdMap old = cluster;
  old.epoch = 3;
  old.osds[0].addresses = {msgr::Address::loopback(1)};
  ours = std::make_shared<const OsdMap>(old);
  start({1});
  pass(8s);
  EXPECT_TRUE(link->is_booted());
  EXPECT_EQ(*ours, cluster);
}

TEST_F(ProvenAuthorityTest, WhoSaysThatItIsTheAuthorityHasToProveIt) {
  ours = std::make_shared<const OsdMap>(cluster);
  osd(0).says_hello = false;
  osd(1).hello.osd = 0;
  osd(1).map = forged();
  osd(1).on_boot = nullptr;
  start({1});
  pass(3s);
  EXPECT_TRUE(osd(1).boots.empty());
  EXPECT_TRUE(osd(1).subscriptions.empty());
  EXPECT_EQ(*ours, cluster);
}

TEST_F(ProvenAuthorityTest, NobodyElseRefusesOrAcceptsUs) {
  ours = std::make_shared<const OsdMap>(cluster);
  osd(0).says_hello = false;
  start({1});
  pass(3s);
  ASSERT_GT(osd(1).sessions, 0u);
  for (const OsdErrc error : {OsdErrc::kOk, OsdErrc::kExists}) {
    std::vector<std::byte> front;
    objecter::encode(OsdBootReply{error, 9, "so says osd.1"}, front);
    osd(1).send_raw(objecter::MessageType::kOsdBootReply, front);
    osd(1).send_raw(objecter::MessageType::kMap, std::vector<std::byte>(100));
    pass(0s);
  }
  EXPECT_FALSE(refused);
  EXPECT_FALSE(link->is_booted());
}

TEST_F(AuthorityLinkTest, StopEndsTheSession) {
  start({0});
  EXPECT_EQ(osd(0).peers(), 1u);
  link->stop();
  pass(100ms);
  EXPECT_EQ(osd(0).peers(), 0u);
  EXPECT_FALSE(link->is_booted());
  pass(10s);
  EXPECT_EQ(osd(0).sessions, 1u);
}

TEST_F(AuthorityLinkTest, SendsHeartbeatsFromItsBootOn) {
  heartbeat = 1s;
  start({0});
  ASSERT_TRUE(link->is_booted());
  ASSERT_EQ(osd(0).subscriptions.size(), 1u);
  pass(5s);
  EXPECT_EQ(osd(0).subscriptions.size(), 6u);
  EXPECT_EQ(osd(0).subscriptions.back(), 5u);
  EXPECT_EQ(osd(0).boots.size(), 1u);
  link->stop();
  pass(5s);
  EXPECT_EQ(osd(0).subscriptions.size(), 6u);
}

// They would all be sent when there is a link again, and say nothing then.
TEST_F(AuthorityLinkTest, SendsNoHeartbeatsWhileTheSessionHasNoLink) {
  heartbeat = 1s;
  start({0});
  ASSERT_TRUE(link->is_booted());
  link->on_link(*opened, false);
  pass(5s);
  EXPECT_EQ(osd(0).subscriptions.size(), 1u);
  link->on_link(*opened, true);
  pass(1s);
  EXPECT_EQ(osd(0).subscriptions.size(), 2u);
}

}  // namespace
}  // namespace lunar::osd
