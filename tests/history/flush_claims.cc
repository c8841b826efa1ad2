// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/history/flush_claims.h"

#include <algorithm>

namespace lunar::test {

using Position = History::Position;

void FlushClaims::Flushes::add(Position invoked, Position at, History::Handle which) {
  ended.push_back(at);
  const bool is_later = last.empty() || invoked > last.back();
  last.push_back(is_later ? invoked : last.back());
  handle.push_back(is_later ? which : handle.back());
}

Position FlushClaims::Flushes::last_invoked(Position at) const {
  const auto end = std::lower_bound(ended.begin(), ended.end(), at);
  return end == ended.begin() ? 0 : last[static_cast<std::size_t>(end - ended.begin()) - 1];
}

History::Handle FlushClaims::Flushes::last_handle(Position at) const {
  const auto end = std::lower_bound(ended.begin(), ended.end(), at);
  return handle[static_cast<std::size_t>(end - ended.begin()) - 1];
}

std::size_t FlushClaims::slot_of(int client) {
  const auto found = std::find(clients_.begin(), clients_.end(), client);
  if (found != clients_.end()) return static_cast<std::size_t>(found - clients_.begin());
  clients_.push_back(client);
  good_.emplace_back();
  return clients_.size() - 1;
}

FlushClaims::FlushClaims(const History& history) {
  bool is_in_loss = false;
  for (std::size_t i = 0; i < history.events().size(); ++i) {
    const History::Event& event = history.events()[i];
    const auto at = static_cast<Position>(i + 1);
    switch (event.kind) {
      case History::Event::Kind::kLoss:
        if (!is_in_loss) losses_.push_back({at, at, event.server, event.is_partial});
        if (event.server != History::kEveryServer &&
            std::find(servers_.begin(), servers_.end(), event.server) == servers_.end()) {
          servers_.push_back(event.server);
        }
        break;
      case History::Event::Kind::kLossBegan:
        if (!is_in_loss) losses_.push_back({at, History::kNever});
        is_in_loss = true;
        break;
      case History::Event::Kind::kLossEnded:
        if (is_in_loss) losses_.back().ends = at;
        is_in_loss = false;
        break;
      case History::Event::Kind::kComplete: {
        const History::Op& op = history.ops()[event.op];
        if (op.outcome == HistoryOutcome::kReportedLost) {
          tellings_.push_back({op.client, op.sent, at});
        }
        if (op.command != HistoryCommand::kFlush || op.outcome != HistoryOutcome::kGood) break;
        all_good_.add(op.invoked, at, event.op);
        good_[slot_of(op.client)].add(op.invoked, at, event.op);
        break;
      }
      default:
        break;
    }
  }
}

std::optional<History::Handle> FlushClaims::untold(std::size_t loss, int client,
                                                   Position acknowledged) const {
  Position told_itself = History::kNever;
  Position told_anybody = History::kNever;
  for (const Telling& telling : tellings_) {
    if (telling.ended < losses_[loss].begins) continue;
    told_anybody = std::min(told_anybody, telling.sent);
    if (telling.client == client && telling.sent > acknowledged) {
      told_itself = std::min(told_itself, telling.sent);
    }
  }
  for (std::size_t slot = 0; slot < good_.size(); ++slot) {
    const Position until = clients_[slot] == client ? told_itself : told_anybody;
    if (good_[slot].last_invoked(until) > acknowledged) return good_[slot].last_handle(until);
  }
  return std::nullopt;
}

}  // namespace lunar::test
