// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string_view>
#include <utility>

#include "msgr/fair_shares.h"
#include "osd/ops/client_op.h"

namespace lunar::osd {

// The results of one start of a client that are remembered, so that a resend is answered by what
// became of its op, and not executed again. A result goes when the client says that it has seen it
// (oldest_tid) or, at the limit, when its messenger has acknowledged the reply. What all starts of
// an entity have is bounded, too, by shares.
// Not thread-safe. Shares the results.
class SessionResults {
 public:
  struct Limits {
    std::size_t max_results = 4096;    // beyond which no op is to begin
    std::size_t max_bytes = 8u << 20;  // … and the data of them
  };
  struct Entry {
    OpResultRef result;         // never null
    uint32_t attempt = 0;       // the newest that it answered; 0 if the op has not come yet
    bool was_executed = false;  // the result is of the store; false for one that a cancel made
    bool is_delivered = false;  // the peer's messenger has the reply
    // A cancel made it, of the sendings up to `attempt`: a newer one is an op that has come back.
    bool may_return = false;
    bool is_answer_to(uint32_t sending) const noexcept { return !may_return || sending <= attempt; }
  };

  // `shares` is of the results of all sessions, in bytes; null: only the limits count.
  explicit SessionResults(Limits limits, std::shared_ptr<msgr::FairShares> shares = nullptr,
                          std::string_view entity = {});

  // Null if none is remembered. Valid until the next call that is not const.
  const Entry* find(Tid tid) const;
  // REQUIRES: none is remembered for this tid.
  void remember(Tid tid, Entry entry);
  // As remember(), for a cancel, which nothing has admitted before. False, and nothing is
  // remembered, at twice max_results, or if kFewUnexecuted of these are remembered and the entity's
  // share is full.
  bool try_remember(Tid tid, Entry entry) {
    const bool has_room = unexecuted_ < kFewUnexecuted || has_share();
    if (!has_room || results_.size() >= 2 * limits_.max_results) return false;
    remember(tid, std::move(entry));
    return true;
  }
  // A newer attempt of the op is answered by it too. REQUIRES: it is remembered.
  void note_attempt(Tid tid, uint32_t attempt);

  // Another cancel of it, up to this sending, or of all if it is 0: what an earlier one made
  // answers those as well. Nothing if the result is no cancel's, or of all already. REQUIRES: it is
  // remembered.
  void cancel_again(Tid tid, uint32_t attempt);

  // REQUIRES: it is remembered.
  void forget(Tid tid) { forget(results_.find(tid)); }

  // The client has seen the results of all ops below `oldest`: forgets those. Nothing if it has
  // said as much before.
  void drop_seen(Tid oldest);
  // The peer's messenger has the reply. False if that is known, or nothing is remembered.
  bool on_delivered(Tid tid);
  // Another connection is answered on: what was delivered on the one before is not known any more.
  void forget_deliveries();
  // The entity has room for one more.
  bool has_share() const noexcept;
  // There is room for one more, after results that were delivered were forgotten as needed.
  bool has_room();
  // Forgets all results.
  void clear();

  std::size_t size() const noexcept { return results_.size(); }
  std::size_t bytes() const noexcept { return bytes_; }  // as counted for max_bytes
  Tid oldest() const noexcept { return oldest_; }        // of drop_seen(); 0 before the first

 private:
  using Results = std::map<Tid, Entry>;
  static constexpr std::size_t kFewUnexecuted = 64;

  void forget(Results::iterator at);
  bool is_full() const noexcept {
    return results_.size() >= limits_.max_results || bytes_ >= limits_.max_bytes || !has_share();
  }
  void count(std::size_t bytes);

  const Limits limits_;
  const std::shared_ptr<msgr::FairShares> shares_;  // may be null
  const msgr::FairShares::ShareRef share_;          // null exactly if shares_ is
  msgr::FairShares::Held held_;                     // bytes_, of the share
  Results results_;
  std::deque<Tid> delivered_;   // in order of delivery; what is forgotten goes when it is first
  std::size_t bytes_ = 0;       // of results_, with an overhead for each
  std::size_t unexecuted_ = 0;  // of results_, those that are not was_executed
  Tid oldest_ = 0;
};

}  // namespace lunar::osd
