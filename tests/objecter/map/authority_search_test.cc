// SPDX-License-Identifier: LGPL-2.1-or-later
#include "objecter/map/authority_search.h"

#include "objecter/map/map_client.h"
#include "tests/objecter/objecter_fixture.h"

namespace lunar::objecter {
namespace {

// Servers that prove who they are; osd.0 is the authority, and osd.1 is in the hands of a thief.
class AuthoritySearchTest : public ObjecterFixture {
 protected:
  AuthoritySearchTest() {
    for (const char* entity : {"client.test", "osd.0", "osd.1", "osd.2"})
      keyring_.generate(*EntityName::parse(entity));
    server_options.auth_required = client_options.auth_required = true;
    server_keyring = client_keyring = &keyring_;
  }
  void TearDown() override {
    ObjecterFixture::TearDown();
    server_keyring = client_keyring = nullptr;
  }
  // Has the client know osd.1 and osd.2 alone; osd.0 can be found by a map.
  void begin(int count = 3) {
    start_servers(count);
    options.bootstrap = {osd(1).address(), osd(2).address()};
  }
  // A map that sends everything to osd.1, which no later one replaces.
  OsdMap forged() const {
    OsdMap made_up = map;
    made_up.epoch = 99;
    for (PoolInfo::Member& member : made_up.pools[0].members)
      member.weight = member.osd == 1 ? 0x10000 : 0;
    return made_up;
  }
  void lose_authority() {
    faults.target = osd(0).address();
    faults.refuse = true;
    osd(0).drop_sessions();
  }
  void find_authority() { faults.refuse = false; }

  Keyring keyring_;
};

TEST_F(AuthoritySearchTest, TheMapOfTheProvenAuthorityCounts) {
  begin();
  osd(1).map = forged();
  make_objecter();
  settle();
  ASSERT_NE(objecter->map(), nullptr) << "no grace has to end for it";
  EXPECT_EQ(*objecter->map(), map);
}

TEST_F(AuthoritySearchTest, ALaterMapOfAnotherServerIsNotTaken) {
  begin();
  make_objecter();
  settle();
  for (const bool is_authority_away : {false, true}) {
    if (is_authority_away) lose_authority();
    osd(1).map = forged();
    osd(1).push_map();
    pass(10s);
    EXPECT_EQ(*objecter->map(), map) << is_authority_away;
  }
  osd(1).map = osd(2).map = map;
  find_authority();
  pass(20s);
  OsdMap next = map;
  next.epoch = 6;
  osd(0).map = next;
  osd(0).push_map();
  settle();
  EXPECT_EQ(objecter->map()->epoch, 6u) << "the subscription with the authority came back";
}

TEST_F(AuthoritySearchTest, AClientStartsByAnotherServerWhileTheAuthorityIsAway) {
  begin();
  lose_authority();
  make_objecter();
  pass(MapClient::kAuthorityGrace - 100ms);
  EXPECT_EQ(objecter->map(), nullptr);
  pass(200ms);
  ASSERT_NE(objecter->map(), nullptr);
  EXPECT_EQ(*objecter->map(), map);
}

TEST_F(AuthoritySearchTest, ItsWordReplacesWhatOthersSaidWhileItWasAway) {
  begin();
  osd(1).map = osd(2).map = forged();
  osd(1).map->osds[0].addresses = {msgr::Address::loopback(1)};  // so that it is not found
  osd(2).map = osd(1).map;
  lose_authority();
  options.bootstrap.push_back(osd(0).address());
  make_objecter();
  pass(2s);
  ASSERT_NE(objecter->map(), nullptr);
  ASSERT_EQ(objecter->map()->epoch, 99u);
  find_authority();
  pass(20s);
  EXPECT_EQ(*objecter->map(), map) << "although its epoch is a lower one";
}

TEST_F(AuthoritySearchTest, AnAuthorityThatHasMovedIsFoundByTheWordOfAnother) {
  begin();
  make_objecter();
  settle();
  OsdMap elsewhere = map;
  elsewhere.epoch = 6;
  elsewhere.osds[0].addresses = {msgr::Address::loopback(1)};  // nobody is there
  osd(0).map = elsewhere;
  osd(0).push_map();
  settle();
  ASSERT_EQ(objecter->map()->epoch, 6u);
  lose_authority();
  pass(20s);
  OsdMap back = map;
  back.epoch = 7;
  osd(0).map = osd(1).map = back;
  find_authority();
  osd(1).push_map();
  pass(20s);
  EXPECT_EQ(*objecter->map(), back);
}

TEST_F(AuthoritySearchTest, ItIsFoundSoonBehindManyDeadAddresses) {
  begin();
  for (uint16_t port = 1; port <= 32; ++port)
    options.bootstrap.push_back(msgr::Address::loopback(port));
  options.bootstrap.push_back(osd(0).address());
  osd(1).map = forged();
  osd(1).map->osds[0].addresses = {msgr::Address::loopback(1)};  // where it was
  osd(2).map = osd(1).map;
  make_objecter();
  pass(3s);
  ASSERT_NE(objecter->map(), nullptr);
  EXPECT_EQ(*objecter->map(), map);
}

TEST_F(AuthoritySearchTest, WhoIsNotTheConfiguredAuthorityIsNotTakenForIt) {
  begin();
  osd(1).map = forged();
  osd(1).map->authority = 1;
  options.authority = 0;
  make_objecter();
  pass(10s);
  ASSERT_NE(objecter->map(), nullptr);
  EXPECT_EQ(*objecter->map(), map);
}

}  // namespace
}  // namespace lunar::objecter
