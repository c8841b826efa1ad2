// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/clients/session_results.h"

#include <algorithm>

#include "common/check.h"

namespace lunar::osd {
namespace {

std::size_t cost(const OpResult& result) { return 256 + result.data_bytes(); }

}  // namespace

const SessionResults::Entry* SessionResults::find(Tid tid) const {
  const auto at = results_.find(tid);
  return at == results_.end() ? nullptr : &at->second;
}

void SessionResults::remember(Tid tid, Entry entry) {
  const std::size_t bytes = cost(*entry.result);
  const bool is_new = results_.emplace(tid, std::move(entry)).second;
  LUNAR_CHECK(is_new, "two results of one op");
  bytes_ += bytes;
}

void SessionResults::note_attempt(Tid tid, uint32_t attempt) {
  Entry& entry = results_.at(tid);
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
  bytes_ = 0;
}

void SessionResults::forget(Results::iterator at) {
  bytes_ -= cost(*at->second.result);
  results_.erase(at);
}

}  // namespace lunar::osd
