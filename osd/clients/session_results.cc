// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/clients/session_results.h"

#include <algorithm>

#include "common/check.h"

namespace lunar::osd {
namespace {

constexpr std::size_t kOverhead = 256;

std::size_t cost(const OpResult& result) { return kOverhead + result.held_bytes(); }

}  // namespace

SessionResults::SessionResults(Limits limits, std::shared_ptr<msgr::FairShares> shares,
                               std::string_view entity)
    : limits_(limits),
      shares_(std::move(shares)),
      share_(shares_ == nullptr ? nullptr : shares_->open(entity)) {
  if (shares_ != nullptr) held_ = shares_->hold(share_, 0);
}

bool SessionResults::has_share() const noexcept {
  return shares_ == nullptr || shares_->allows(*share_, kOverhead);
}

void SessionResults::count(std::size_t bytes) {
  bytes_ = bytes;
  held_.resize(bytes);
}

const SessionResults::Entry* SessionResults::find(Tid tid) const {
  const auto at = results_.find(tid);
  return at == results_.end() ? nullptr : &at->second;
}

void SessionResults::remember(Tid tid, Entry entry) {
  const std::size_t bytes = cost(*entry.result);
  if (!entry.was_executed) ++unexecuted_;
  const bool is_new = results_.emplace(tid, std::move(entry)).second;
  LUNAR_CHECK(is_new, "two results of one op");
  count(bytes_ + bytes);
}

void SessionResults::note_attempt(Tid tid, uint32_t attempt) {
  Entry& entry = results_.at(tid);
  entry.attempt = std::max(entry.attempt, attempt);
}

void SessionResults::cancel_again(Tid tid, uint32_t attempt) {
  Entry& entry = results_.at(tid);
  if (!entry.may_return) return;
  if (attempt == 0)
    entry.may_return = false;
  else
    entry.attempt = std::max(entry.attempt, attempt);
}

void SessionResults::drop_seen(Tid oldest) {
  if (oldest <= oldest_) return;
  oldest_ = oldest;
  while (!results_.empty() && results_.begin()->first < oldest) forget(results_.begin());
  while (!delivered_.empty() && delivered_.front() < oldest) delivered_.pop_front();
}

bool SessionResults::on_delivered(Tid tid) {
  const auto at = results_.find(tid);
  if (at == results_.end() || at->second.is_delivered) return false;
  at->second.is_delivered = true;
  delivered_.push_back(tid);
  return true;
}

void SessionResults::forget_deliveries() {
  for (const Tid tid : std::exchange(delivered_, {}))
    if (const auto at = results_.find(tid); at != results_.end()) at->second.is_delivered = false;
}

bool SessionResults::has_room() {
  while (is_full() && !delivered_.empty()) {
    const auto at = results_.find(delivered_.front());
    delivered_.pop_front();
    if (at != results_.end() && at->second.is_delivered) forget(at);
  }
  return !is_full();
}

void SessionResults::clear() {
  results_.clear();
  delivered_.clear();
  unexecuted_ = 0;
  count(0);
}

void SessionResults::forget(Results::iterator at) {
  count(bytes_ - cost(*at->second.result));
  if (!at->second.was_executed) --unexecuted_;
  results_.erase(at);
}

}  // namespace lunar::osd
