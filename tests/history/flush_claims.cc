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
  std::vector<std::pair<Position, const History::Op*>> tellings;  // by the end
  bool is_in_loss = false;
  for (std::size_t i = 0; i < history.events().size(); ++i) {
    const History::Event& event = history.events()[i];
    const auto at = static_cast<Position>(i + 1);
    switch (event.kind) {
      case History::Event::Kind::kLoss:
        if (!is_in_loss) losses_.push_back({at, at});
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
          slot_of(op.client);
          tellings.emplace_back(at, &op);
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
  // From the last loss to the first: the earliest invocation of a telling that ends after it.
  AfterLoss after;
  for (const int client : clients_) after.of.push_back({client});
  afterwards_.resize(losses_.size());
  std::size_t next = tellings.size();
  for (std::size_t loss = losses_.size(); loss-- > 0;) {
    for (; next > 0 && tellings[next - 1].first > losses_[loss].begins; --next) {
      const History::Op& op = *tellings[next - 1].second;
      after.told_anybody = std::min(after.told_anybody, op.invoked);
      for (Claim& claim : after.of) {
        if (claim.client == op.client) claim.told_itself = std::min(claim.told_itself, op.invoked);
      }
    }
    afterwards_[loss] = after;
  }
}

std::optional<History::Handle> FlushClaims::untold(std::size_t loss, int client,
                                                   Position acknowledged) const {
  const AfterLoss& after = afterwards_[loss];
  for (std::size_t slot = 0; slot < good_.size(); ++slot) {
    const Position until =
        after.of[slot].client == client ? after.of[slot].told_itself : after.told_anybody;
    if (good_[slot].last_invoked(until) > acknowledged) return good_[slot].last_handle(until);
  }
  return std::nullopt;
}

}  // namespace lunar::test
