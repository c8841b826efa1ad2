// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <optional>
#include <vector>

#include "tests/history/history.h"

namespace lunar::test {

// What the flushes of a history claim, and when something may be lost. Immutable.
class FlushClaims {
 public:
  // A stretch of time in which unflushed writes may go at any moment; of one event, usually.
  struct Loss {
    History::Position begins = 0;
    History::Position ends = 0;  // kNever: until the end
    int server = History::kEveryServer;
    bool is_partial = false;
    // Whether it concerns the blocks of that one.
    bool is_of(int which) const { return server == History::kEveryServer || server == which; }
  };

  // Borrows nothing.
  explicit FlushClaims(const History& history);

  const std::vector<Loss>& losses() const { return losses_; }  // in order; they do not overlap

  const std::vector<int>& servers() const { return servers_; }  // with losses of their own

  // Whether a flush has made durable, before `at`, what was acknowledged at `acknowledged`.
  bool is_durable(History::Position acknowledged, History::Position at) const {
    return all_good_.last_invoked(at) > acknowledged;
  }

  // The flush that claims, untold, that a write survived losses()[loss]: of `client`, acknowledged
  // at `acknowledged` and not flushed before the loss. To `client` a telling counts if it was
  // sent after that: one that was on its way already says nothing of a write that was not done. To
  // other clients any telling after the loss counts, as with errors of fsync(2).
  std::optional<History::Handle> untold(std::size_t loss, int client,
                                        History::Position acknowledged) const;

 private:
  // GOOD flushes in the order of their ends.
  struct Flushes {
    std::vector<History::Position> ended;
    std::vector<History::Position> last;  // the greatest invocation up to here …
    std::vector<History::Handle> handle;  // … and whose it is
    void add(History::Position invoked, History::Position at, History::Handle which);
    // Of those that ended before `at`; 0 if there is none.
    History::Position last_invoked(History::Position at) const;
    History::Handle last_handle(History::Position at) const;
  };
  struct Telling {  // a flush that answered kReportedLost
    int client = 0;
    History::Position sent = 0;  // for the last time
    History::Position ended = 0;
  };
  std::size_t slot_of(int client);

  std::vector<Loss> losses_;
  std::vector<int> servers_;
  Flushes all_good_;
  std::vector<int> clients_;       // by slot
  std::vector<Flushes> good_;      // by slot
  std::vector<Telling> tellings_;  // by the end
};

}  // namespace lunar::test
