// SPDX-License-Identifier: LGPL-2.1-or-later
// Watches and notifies, from an Objecter to servers, in time that the test moves.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "msgr/errors.h"
#include "osd/server/osd_server.h"
#include "tests/osd/server/server_fixture.h"

namespace lunar::osd {
namespace {

using namespace std::chrono_literals;
using objecter::NotifyEvent;
using objecter::NotifyReply;
using objecter::NotifyResult;
using objecter::WatcherList;

struct LinkCutter final : msgr::LoopbackInjector {
  Verdict on_connect(const msgr::Address&) override { return verdict(); }
  Verdict on_send(const msgr::Address&, std::size_t) override { return verdict(); }
  Verdict verdict() const {
    Verdict verdict;
    if (cuts) verdict.fail = make_error_code(msgr::MsgrErrc::kInjected);
    return verdict;
  }
  bool cuts = false;  // every link that is used breaks, and no other is made
};

// Owned by a base, so that it is made before the stack.
struct WithLinkCutter {
  LinkCutter links;
  msgr::LoopbackOptions network() {
    msgr::LoopbackOptions options;
    options.injector = &links;
    return options;
  }
};

struct Listener final : objecter::WatchHandler {
  void on_notify(const NotifyEvent& event, NotifyReply ack) override {
    heard.emplace_back(as_text(event.payload));
    if (answers)
      ack(as_const_bytes(reply));
    else
      kept.push_back(std::move(ack));
  }
  void on_watch_lost(std::error_code error) override { lost.push_back(error); }
  bool answers = true;
  std::string reply = "yes";
  std::vector<std::string> heard;
  std::vector<NotifyReply> kept;
  std::vector<std::error_code> lost;
};

class OsdServerWatchesTest : private WithLinkCutter, public ServerFixture {
 protected:
  using WithLinkCutter::links;
  OsdServerWatchesTest() : ServerFixture(network()) {}
  ~OsdServerWatchesTest() override {
    links.cuts = false;
    for (auto& [name, other] : others) end(*other);
    if (client) {
      end(*client);
      client.reset();
    }
    for (auto at = osds.rbegin(); at != osds.rend(); ++at) end(at->first);
  }
  void SetUp() override {
    start(0);
    connect_client();
    make_pool();
    ASSERT_FALSE(write("header", "content"));
    object = {client->map()->pools.at(0).id, "header"};
  }

  void pass(std::chrono::milliseconds duration) { time.pass(*center, duration); }
  void end(objecter::Objecter& ended) {
    bool is_down = false;
    ended.shutdown([&] { is_down = true; });
    EXPECT_TRUE(until([&] { return is_down; }));
  }
  void end(OsdId id) {
    Osd& osd = osds[id];
    if (!osd.server) return;
    bool stopped = false;
    osd.server->shutdown([&] { stopped = true; });
    EXPECT_TRUE(until([&] { return stopped; }));
    osd.server.reset();
  }
  objecter::Objecter& other(const std::string& name) {
    auto& made = others[name];
    if (made == nullptr) {
      auto first = std::move(client);
      connect_client(name);
      made = std::move(client);
      client = std::move(first);
    }
    return *made;
  }

  std::error_code watch(objecter::Objecter& by, uint64_t cookie, Listener& listener) {
    std::error_code result = make_error_code(OsdErrc::kBusy);
    by.watch(object, cookie, listener, [&](std::error_code error) { result = error; });
    turn();
    return result;
  }
  WatcherList list() {
    WatcherList listed;
    bool is_done = false;
    client->list_watchers(object, [&](Result<WatcherList> result) {
      ASSERT_TRUE(result) << result.error().message();
      listed = std::move(*result);
      is_done = true;
    });
    EXPECT_TRUE(until([&] { return is_done; }));
    return listed;
  }
  uint64_t expired() {
    return nlohmann::json::parse(osds[0].perf->dump("osd_watch"))
        .at("osd_watch")
        .at("watch_expired");
  }
  struct Told {
    bool is_done = false;
    std::error_code error;
    NotifyResult result;
  };
  std::shared_ptr<Told> notify(const std::string& text, std::chrono::milliseconds timeout = 5s) {
    auto told = std::make_shared<Told>();
    const ConstBytes bytes = as_const_bytes(text);
    client->notify(object, {bytes.begin(), bytes.end()}, timeout,
                   [told](Result<NotifyResult> result) {
                     told->is_done = true;
                     if (result)
                       told->result = std::move(*result);
                     else
                       told->error = result.error();
                   });
    turn();
    return told;
  }

  std::map<std::string, std::unique_ptr<objecter::Objecter>> others;
  objecter::ObjectId object;
};

TEST_F(OsdServerWatchesTest, ANotifyReachesEveryWatcherAndGathersTheAcks) {
  Listener a;
  Listener b;
  b.reply = "me too";
  ASSERT_FALSE(watch(*client, 1, a));
  ASSERT_FALSE(watch(other("b"), 2, b));
  const auto told = notify("news");
  ASSERT_TRUE(told->is_done);
  EXPECT_FALSE(told->error) << told->error.message();
  EXPECT_EQ(a.heard, std::vector<std::string>{"news"});
  EXPECT_EQ(b.heard, std::vector<std::string>{"news"});
  ASSERT_EQ(told->result.acks.size(), 2u);
  std::map<uint64_t, std::string> replies;
  for (const auto& ack : told->result.acks) replies[ack.who.cookie] = as_text(ack.reply);
  EXPECT_EQ(replies[1], "yes");
  EXPECT_EQ(replies[2], "me too");
  EXPECT_TRUE(told->result.missed.empty());
}

TEST_F(OsdServerWatchesTest, ANotifyNamesThoseThatDoNotAnswerInTime) {
  Listener quick;
  Listener silent;
  silent.answers = false;
  ASSERT_FALSE(watch(*client, 1, quick));
  ASSERT_FALSE(watch(other("b"), 2, silent));
  const auto told = notify("news", 5s);
  pass(4s);
  EXPECT_FALSE(told->is_done);
  pass(1500ms);
  ASSERT_TRUE(told->is_done);
  EXPECT_FALSE(told->error);
  ASSERT_EQ(told->result.missed.size(), 1u);
  EXPECT_EQ(told->result.missed[0].client.instance, "b");
  EXPECT_EQ(told->result.acks.size(), 1u);
  silent.kept.at(0)(as_const_bytes(std::string_view("late")));  // harmless
  turn();
}

TEST_F(OsdServerWatchesTest, AnAckMayComeLaterThanTheCall) {
  Listener slow;
  slow.answers = false;
  ASSERT_FALSE(watch(*client, 1, slow));
  const auto told = notify("news");
  pass(2s);
  slow.kept.at(0)(as_const_bytes(std::string_view("done")));
  turn();
  ASSERT_TRUE(told->is_done);
  ASSERT_EQ(told->result.acks.size(), 1u);
  EXPECT_EQ(as_text(told->result.acks[0].reply), "done");
}

TEST_F(OsdServerWatchesTest, ANotifyWithoutWatchersEndsAtOnce) {
  const auto told = notify("news");
  EXPECT_TRUE(told->is_done);
  EXPECT_FALSE(told->error);
  EXPECT_TRUE(told->result.acks.empty());
}

TEST_F(OsdServerWatchesTest, AnAbsentObjectCannotBeWatched) {
  object.name = "nothing";
  Listener listener;
  EXPECT_EQ(watch(*client, 1, listener), OsdErrc::kNoSuchObject);
  EXPECT_EQ(notify("news")->error, OsdErrc::kNoSuchObject);
}

TEST_F(OsdServerWatchesTest, ACookieIsTakenOncePerObjectAndClient) {
  Listener a;
  Listener b;
  ASSERT_FALSE(watch(*client, 1, a));
  EXPECT_EQ(watch(*client, 1, b), OsdErrc::kExists);
  EXPECT_FALSE(watch(other("b"), 1, b));
  EXPECT_EQ(list().watchers.size(), 2u);
}

TEST_F(OsdServerWatchesTest, UnwatchEndsAWatchAndNobodyIsTold) {
  Listener listener;
  ASSERT_FALSE(watch(*client, 1, listener));
  std::error_code result = make_error_code(OsdErrc::kBusy);
  client->unwatch(object, 1, [&](std::error_code error) { result = error; });
  turn();
  EXPECT_FALSE(result);
  EXPECT_TRUE(list().watchers.empty());
  notify("news");
  EXPECT_TRUE(listener.heard.empty());
  EXPECT_TRUE(listener.lost.empty());
  // The cookie is free again.
  EXPECT_FALSE(watch(*client, 1, listener));
}

TEST_F(OsdServerWatchesTest, AListSaysWhoIsConnectedAndWhetherItIsSettled) {
  Listener listener;
  ASSERT_FALSE(watch(other("b"), 7, listener));
  WatcherList listed = list();
  ASSERT_EQ(listed.watchers.size(), 1u);
  EXPECT_EQ(listed.watchers[0].id.client.entity, "client.admin");
  EXPECT_EQ(listed.watchers[0].id.client.instance, "b");
  EXPECT_NE(listed.watchers[0].id.client.nonce, 0u);
  EXPECT_EQ(listed.watchers[0].id.cookie, 7u);
  EXPECT_TRUE(listed.watchers[0].is_connected);
  EXPECT_EQ(listed.settling.timeout, 30s);
  EXPECT_FALSE(listed.settling.is_settled());
  pass(31s);
  listed = list();
  EXPECT_TRUE(listed.settling.is_settled());
  EXPECT_EQ(listed.watchers.size(), 1u);
  EXPECT_TRUE(listener.lost.empty());
}

TEST_F(OsdServerWatchesTest, AWatchOutlivesItsClientByTheTimeoutAndNoLonger) {
  Listener listener;
  ASSERT_FALSE(watch(other("b"), 7, listener));
  end(other("b"));
  others.clear();
  pass(20s);
  WatcherList listed = list();
  ASSERT_EQ(listed.watchers.size(), 1u);
  EXPECT_FALSE(listed.watchers[0].is_connected);
  EXPECT_GE(listed.watchers[0].disconnected_for, 19s);
  pass(12s);
  EXPECT_TRUE(list().watchers.empty());
}

TEST_F(OsdServerWatchesTest, WatchesSurviveARestartOfTheServer) {
  Listener a;
  Listener b;
  ASSERT_FALSE(watch(*client, 1, a));
  ASSERT_FALSE(watch(other("b"), 2, b));
  pass(60s);
  end(OsdId{0});
  pass(2s);  // so that no pause before a reconnect is long
  start(0);
  pass(12s);
  const WatcherList listed = list();
  EXPECT_EQ(listed.watchers.size(), 2u);
  EXPECT_FALSE(listed.settling.is_settled());
  EXPECT_EQ(notify("news")->result.acks.size(), 2u);
  pass(60s);
  EXPECT_EQ(list().watchers.size(), 2u);
  EXPECT_TRUE(a.lost.empty());
  EXPECT_TRUE(b.lost.empty());
}

TEST_F(OsdServerWatchesTest, AWatcherHearsOfALossBeforeTheRestartedServerIsSettled) {
  Listener listener;
  ASSERT_FALSE(watch(*client, 1, listener));
  pass(60s);
  end(OsdId{0});
  pass(26s);
  ASSERT_EQ(listener.lost.size(), 1u);
  EXPECT_EQ(listener.lost[0], OsdErrc::kTimedOut);
  start(0);
  pass(5s);
  EXPECT_TRUE(list().watchers.empty());
  EXPECT_FALSE(list().settling.is_settled());
  EXPECT_EQ(listener.lost.size(), 1u);
}

TEST_F(OsdServerWatchesTest, AWatchSurvivesAShortLossOfTheLinks) {
  Listener listener;
  ASSERT_FALSE(watch(*client, 1, listener));
  pass(60s);
  links.cuts = true;
  pass(8s);
  links.cuts = false;
  pass(10s);
  EXPECT_EQ(list().watchers.size(), 1u);
  EXPECT_EQ(notify("news")->result.acks.size(), 1u);
  pass(60s);
  EXPECT_TRUE(listener.lost.empty());
}

TEST_F(OsdServerWatchesTest, AWatcherThatIsCutOffHearsItBeforeTheServerForgetsIt) {
  Listener listener;
  ASSERT_FALSE(watch(*client, 1, listener));
  pass(60s);
  links.cuts = true;
  pass(26s);
  EXPECT_EQ(listener.lost.size(), 1u);
  EXPECT_EQ(expired(), 0u);
  pass(10s);
  EXPECT_EQ(expired(), 1u);
  links.cuts = false;
  pass(10s);
  EXPECT_TRUE(list().watchers.empty());
  EXPECT_EQ(listener.lost.size(), 1u);
}

// Between the two ends of a watch, 250 s and 300 s after the cut, fits the longest pause before a
// reconnect.
class LongWatchesTest : public OsdServerWatchesTest {
 protected:
  LongWatchesTest() { options.watches.timeout = 300s; }
};

TEST_F(LongWatchesTest, AWatchThatWasGivenUpIsTakenFromTheServerToo) {
  Listener listener;
  ASSERT_FALSE(watch(*client, 1, listener));
  pass(60s);
  links.cuts = true;
  pass(251s);
  ASSERT_EQ(listener.lost.size(), 1u);
  links.cuts = false;
  pass(20s);
  EXPECT_TRUE(list().watchers.empty());
  EXPECT_EQ(expired(), 0u) << "nobody took it away";
  Listener again;
  EXPECT_FALSE(watch(*client, 1, again));
  pass(60s);
  EXPECT_TRUE(again.lost.empty());
}

TEST_F(OsdServerWatchesTest, AFencedClientLosesItsWatchesAtOnce) {
  Listener listener;
  ASSERT_FALSE(watch(other("b"), 1, listener));
  const auto reply =
      command(R"({"prefix": "osd fence", "entity": "client.admin", "instance": "b"})", 0);
  ASSERT_EQ(reply.error, OsdErrc::kOk) << reply.text;
  EXPECT_TRUE(list().watchers.empty());
  ASSERT_EQ(listener.lost.size(), 1u);
  EXPECT_EQ(listener.lost[0], OsdErrc::kFenced);
  EXPECT_EQ(watch(other("b"), 2, listener), OsdErrc::kFenced);
}

TEST_F(OsdServerWatchesTest, ADeletedObjectIsToldToItsWatchers) {
  Listener listener;
  ASSERT_FALSE(watch(*client, 1, listener));
  const auto deleted = submit("header", OpCode::kDelete, 0, 0);
  turn();
  ASSERT_FALSE(deleted->error);
  ASSERT_EQ(listener.lost.size(), 1u);
  EXPECT_EQ(listener.lost[0], OsdErrc::kNoSuchObject);
}

TEST_F(OsdServerWatchesTest, AThousandWatchesOfOneObject) {
  constexpr std::size_t kWatches = 1000;
  Listener listener;
  std::size_t made = 0;
  for (uint64_t cookie = 1; cookie <= kWatches; ++cookie)
    client->watch(object, cookie, listener, [&](std::error_code error) { made += !error; });
  turn();
  EXPECT_EQ(made, kWatches);
  EXPECT_EQ(list().watchers.size(), kWatches);
  EXPECT_EQ(notify("news")->result.acks.size(), kWatches);
  pass(35s);
  EXPECT_TRUE(listener.lost.empty());
}

TEST_F(OsdServerWatchesTest, ADumpNamesTheWatchers) {
  Listener listener;
  ASSERT_FALSE(watch(*client, 5, listener));
  const auto reply = command(R"({"prefix": "dump_watchers"})", 0);
  ASSERT_EQ(reply.error, OsdErrc::kOk) << reply.text;
  const auto json = nlohmann::json::parse(reply.text);
  ASSERT_EQ(json.at("watchers").size(), 1u);
  EXPECT_EQ(json.at("watchers")[0].at("object"), "header");
  EXPECT_EQ(json.at("watchers")[0].at("cookie"), 5);
  EXPECT_EQ(json.at("watchers")[0].at("connected"), true);
}

TEST_F(OsdServerWatchesTest, AServerThatStopsAnswersNotifies) {
  Listener silent;
  silent.answers = false;
  ASSERT_FALSE(watch(*client, 1, silent));
  const auto told = notify("news", 60s);
  end(OsdId{0});
  pass(1s);
  ASSERT_TRUE(told->is_done);
  EXPECT_EQ(told->error, OsdErrc::kShutdown);
}

class BoundedWatchesTest : public OsdServerWatchesTest {
 protected:
  BoundedWatchesTest() {
    options.watches.max_watches_of_object = 4;
    options.watches.notifies.slots.max_of_object = 1;
  }
};

// Whoever may only read an image must not keep its gateway from watching it.
TEST_F(BoundedWatchesTest, AnEntityLeavesRoomForAnother) {
  Listener silent;
  for (uint64_t cookie = 1; cookie < 9; ++cookie) watch(*client, cookie, silent);
  auto first = std::move(client);
  connect_client("other", "client.other");
  EXPECT_FALSE(watch(*client, 1, silent));
  end(*client);
  client = std::move(first);
}

TEST_F(BoundedWatchesTest, TooManyWatchesOrNotifiesAreRefused) {
  Listener silent;
  silent.answers = false;
  EXPECT_FALSE(watch(*client, 1, silent));
  EXPECT_FALSE(watch(*client, 2, silent));
  EXPECT_EQ(watch(*client, 3, silent), OsdErrc::kBusy);
  const auto first = notify("news");
  const auto second = notify("more");
  EXPECT_FALSE(first->is_done);
  ASSERT_TRUE(second->is_done);
  EXPECT_EQ(second->error, OsdErrc::kBusy);
  pass(6s);
  EXPECT_TRUE(first->is_done);
}

}  // namespace
}  // namespace lunar::osd
