// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <algorithm>
#include <list>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "osd/clients/client_sessions.h"
#include "tests/osd/ops/executor_fixture.h"
#include "tests/support/inert_connection.h"

namespace lunar::osd {

class FakeConnection final : public test::InertConnection {
 public:
  FakeConnection(msgr::EventCenter& center, std::string entity, uint64_t nonce,
                 std::string instance)
      : test::InertConnection(center) {
    msgr::PeerIdentity peer;
    peer.entity = std::move(entity);
    peer.instance = std::move(instance);
    peer.nonce = nonce;
    set_peer(peer);
  }
};

// Executes nothing: the test ends each op.
class ClientSessionsTest : public StoreFixture, public ClientSessionsHost {
 protected:
  struct Reply {
    const msgr::Connection* connection;
    Tid tid;
    uint32_t attempt;
    OsdErrc error;
    friend bool operator==(const Reply&, const Reply&) = default;
  };

  ClientSessionsTest() { make_sessions({}); }
  ~ClientSessionsTest() override { turn(); }
  void make_sessions(ClientSessions::Options options) {
    sessions.reset();
    if (!fences) fences = std::move(*FenceTable::load(*store));
    sessions = std::make_unique<ClientSessions>(*this, *fences, options);
  }
  FakeConnection& connect(std::string entity, uint64_t nonce, std::string instance = "host") {
    FakeConnection& connection = *connections.emplace_back(
        std::make_shared<FakeConnection>(*center, std::move(entity), nonce, std::move(instance)));
    ids[&connection] = sessions->open(connection);
    return connection;
  }
  void disconnect(FakeConnection& connection) {
    sessions->close(connection, ids.at(&connection), {});
  }
  void submit(FakeConnection& connection, Vector vector) {
    sessions->submit(connection, ids.at(&connection), vector.op());
    turn();  // a first change is recorded before it is executed
  }
  void write(FakeConnection& connection, Tid tid, Tid oldest = 1, uint32_t attempt = 1) {
    submit(connection, Vector("a").write(0, "x").tid(tid, oldest).attempt(attempt));
  }
  void end(Tid tid, OsdErrc error = OsdErrc::kOk) {
    const auto at = std::find_if(running.begin(), running.end(),
                                 [&](const ClientOpRef& op) { return op->header.tid == tid; });
    ASSERT_NE(at, running.end());
    const ClientOpRef op = *at;
    running.erase(at);
    auto result = std::make_shared<OpResult>();
    result->header.tid = tid;
    result->header.error = error;
    sessions->on_executed(op, result);
    turn();
  }
  std::vector<Tid> running_tids() const {
    std::vector<Tid> tids;
    for (const ClientOpRef& op : running) tids.push_back(op->header.tid);
    return tids;
  }

  void execute(ClientOpRef op) override { running.push_back(std::move(op)); }
  std::vector<ClientOpRef> take_back(const std::vector<ClientOpRef>& ops) override {
    ++times_taken_back;
    std::vector<ClientOpRef> taken;
    for (const ClientOpRef& op : ops) {
      if (!queued.contains(op->header.tid)) continue;
      std::erase(running, op);
      taken.push_back(op);
    }
    return taken;
  }
  void send_reply(msgr::Connection& connection, const ClientOp& op, OpResultRef result) override {
    replies.push_back({&connection, op.header.tid, op.header.attempt, result->header.error});
    if (!is_reading) unread.push_back(op.reply_share);
  }
  void send_cancelled(msgr::Connection&, const objecter::CancelNote& note) override {
    cancelled.push_back(note.tid);
    given_up.push_back(note.attempt);
  }

  std::unique_ptr<FenceTable> fences;
  std::unique_ptr<ClientSessions> sessions;
  std::list<std::shared_ptr<FakeConnection>> connections;
  std::map<const FakeConnection*, ClientSessions::SessionId> ids;
  std::vector<ClientOpRef> running;
  std::set<Tid> queued;  // of those, not begun
  int times_taken_back = 0;
  std::vector<Reply> replies;
  bool is_reading = true;  // else what replies hold stays in `unread`
  std::vector<std::shared_ptr<msgr::FairShares::Held>> unread;
  std::vector<Tid> cancelled;
  std::vector<uint32_t> given_up;  // CancelNote::attempt of each of them
};

}  // namespace lunar::osd
