// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "objecter/ops/op.h"
#include "objecter/protocol/osd_map.h"

namespace lunar::objecter {

// Changes that have ended without a word of their server, which lives and may be executing them
// yet. As long as their objects stay there, later changes queue behind them. If the PG moves to
// another server, which happens in pools in RADOS only, a later change there could be undone: it
// has to wait for that word, or until the server's RADOS client is fenced: it is down, or started
// anew. Loop-bound; shares the map. Bounded: of a server with too many of them any object may be
// changed.
class UnconfirmedChanges {
 public:
  static constexpr std::size_t kMaxOfServer = 4096;
  static constexpr uint32_t kAllSendings = UINT32_MAX;

  void set_map(OsdMapRef map);
  // The op ends. Nothing is kept of one whose PG does not move.
  void add(const Op& op);
  // The server's answer to sendings of that op up to this one: it is through with them.
  void on_word(OsdId osd, Tid tid, uint32_t attempt);
  // Those of the server, to ask for its word again.
  std::vector<Tid> tids_of(OsdId osd) const;
  // The server is through with all of them.
  void forget(OsdId osd) { servers_.erase(osd); }
  // Whether a change of this object, by another server, could be undone.
  bool may_undo(const ObjectId& object, OsdId by) const;

 private:
  struct Change {
    ObjectId object;
    uint32_t attempt = 0;  // the last sending
  };
  struct OfServer {
    uint64_t incarnation = 0;  // that they were sent to
    std::map<Tid, Change> changes;
    bool are_too_many = false;
  };

  bool may_be_executing(OsdId osd, uint64_t incarnation) const;

  OsdMapRef map_;  // null before the first
  std::map<OsdId, OfServer> servers_;
};

}  // namespace lunar::objecter
