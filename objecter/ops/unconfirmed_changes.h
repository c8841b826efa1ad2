// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <vector>

#include "common/unique_function.h"
#include "objecter/ops/op.h"
#include "objecter/protocol/osd_map.h"

namespace lunar::objecter {

// Changes that have ended without a word of their server, which lives and may be executing them
// yet. As long as their objects stay there, later changes queue behind them. If the PG moves to
// another server, which happens in pools in RADOS only, a later change there could be undone: it
// has to wait for that word, or until the server's RADOS client is fenced: it is down, or started
// anew. Bounded: a server that owes kMaxOfServer words is sent no more changes until some have
// come. Loop-bound; shares the map.
class UnconfirmedChanges {
 public:
  static constexpr std::size_t kMaxOfServer = 4096;  // those in flight may come on top
  static constexpr uint32_t kAllSendings = UINT32_MAX;

  // Called when changes that had to wait may go, before any later one can be submitted.
  void set_on_confirmed(UniqueFunction<void()> on_confirmed) {
    on_confirmed_ = std::move(on_confirmed);
  }
  // Who has to wait is to be asked again then, without on_confirmed.
  void set_map(OsdMapRef map);
  // The op ends. Nothing is kept of one whose PG does not move.
  void add(const Op& op);
  // The server's answer to sendings of that op up to this one: it is through with them.
  void on_word(OsdId osd, Tid tid, uint32_t attempt);
  // Those of the server, to ask for its word again.
  std::vector<Tid> tids_of(OsdId osd) const;
  // The server is through with all of them.
  void forget(OsdId osd);
  // Whether a change of this object has to wait before it goes to this server.
  bool must_wait(const ObjectId& object, OsdId osd) const;

 private:
  struct Change {
    ObjectId object;
    uint32_t attempt = 0;  // the last sending
  };
  struct OfServer {
    uint64_t incarnation = 0;  // that they were sent to
    std::map<Tid, Change> changes;
    std::map<ObjectId, uint32_t> objects;  // how many of `changes` each has; none is 0
  };

  OsdMapRef map_;  // null before the first
  std::map<OsdId, OfServer> servers_;
  UniqueFunction<void()> on_confirmed_;
};

}  // namespace lunar::objecter
