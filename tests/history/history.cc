// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/history/history.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "common/check.h"

namespace lunar::test {

std::vector<History::Handle>& History::open_of(int client) {
  for (std::size_t i = 0; i < clients_.size(); ++i) {
    if (clients_[i] == client) return open_[i];
  }
  clients_.push_back(client);
  return open_.emplace_back();
}

History::Position History::add(Event::Kind kind, Handle op, std::string text) {
  events_.push_back({.kind = kind, .op = op, .time_ns = time_ns_, .text = std::move(text)});
  return static_cast<Position>(events_.size());
}

History::Handle History::invoke(int client, HistoryOp op) {
  const auto handle = static_cast<Handle>(ops_.size());
  Op& added = ops_.emplace_back();
  static_cast<HistoryOp&>(added) = std::move(op);
  if (added.command == HistoryCommand::kDiscard || added.command == HistoryCommand::kWriteZeroes) {
    added.ids = {kZeroContent};
  }
  const auto fits = [&](const std::vector<ContentId>& ids, bool is_needed) {
    return is_needed ? ids.size() == 1 || ids.size() == added.num_blocks : ids.empty();
  };
  const bool writes =
      added.command != HistoryCommand::kRead && added.command != HistoryCommand::kFlush;
  LUNAR_CHECK(fits(added.ids, writes), "one content for all blocks, or one for each");
  LUNAR_CHECK(fits(added.compared, added.command == HistoryCommand::kCompareAndWrite),
              "one compared content for all blocks, or one for each");
  added.client = client;
  added.invoked = add(Event::Kind::kInvoke, handle);
  added.sent = added.invoked;
  open_of(client).push_back(handle);
  return handle;
}

void History::send_again(Handle handle) { ops_[handle].sent = events_.size() + 1; }

void History::complete(Handle handle, HistoryOutcome outcome, std::vector<ContentId> read) {
  Op& op = ops_.at(handle);
  LUNAR_CHECK(op.ended == kNever, "a command is completed once");
  if (op.command == HistoryCommand::kRead && outcome == HistoryOutcome::kGood) {
    LUNAR_CHECK(read.size() == 1 || read.size() == op.num_blocks,
                "one content for all blocks, or one for each");
    op.ids = std::move(read);
  }
  op.outcome = outcome;
  op.ended = add(Event::Kind::kComplete, handle);
  if (outcome == HistoryOutcome::kUnknown && op.closed == kNever) return;
  op.closed = std::min(op.closed, op.ended);
  std::erase(open_of(op.client), handle);
}

void History::close_window(Handle handle) {
  Op& op = ops_.at(handle);
  if (op.closed != kNever) return;
  op.closed = add(Event::Kind::kWindowsClosed, handle,
                  fmt::format("#{} cannot take effect any more", handle));
  std::erase(open_of(op.client), handle);
}

void History::close_windows(int client, const std::string& why) {
  const Position now = add(Event::Kind::kWindowsClosed, 0,
                           fmt::format("unanswered commands of client {} cannot take effect any "
                                       "more{}{}",
                                       client, why.empty() ? "" : ": ", why));
  for (const Handle handle : std::exchange(open_of(client), {})) ops_[handle].closed = now;
}

void History::client_died(int client) {
  add(Event::Kind::kClientDied, 0, fmt::format("client {} died", client));
}

void History::server_crashed(int server, bool loses_cache) {
  add(loses_cache ? Event::Kind::kLoss : Event::Kind::kNote, 0,
      fmt::format("server {} crashed{}", server,
                  loses_cache ? "; unflushed writes may be lost" : "; its page cache stayed"));
  events_.back().server = server;
}

void History::sync_failed(int server) {
  add(Event::Kind::kLoss, 0,
      fmt::format("a sync of server {} failed; some unflushed writes may be lost", server));
  events_.back().server = server;
  events_.back().is_partial = true;
}

std::optional<int> History::server_of(uint64_t lba) const {
  const auto found = places_.find(lba);
  if (found == places_.end()) return std::nullopt;
  return found->second;
}

void History::power_cut(const std::string& what) {
  add(Event::Kind::kLoss, 0, fmt::format("power cut of {}; unflushed writes may be lost", what));
}

void History::begin_loss(const std::string& why) {
  add(Event::Kind::kLossBegan, 0, why + ": unflushed writes may be lost from here on");
}

void History::end_loss() { add(Event::Kind::kLossEnded, 0, "nothing is lost from here on"); }

void History::note(const std::string& text) { add(Event::Kind::kNote, 0, text); }

const char* name_of(HistoryCommand command) {
  static constexpr const char* kNames[] = {
      "READ",   "WRITE", "FLUSH", "DISCARD", "WRITE SAME", "WRITE ZEROES", "COMPARE AND WRITE",
      "ORWRITE"};
  return kNames[static_cast<std::size_t>(command)];
}

const char* name_of(HistoryOutcome outcome) {
  static constexpr const char* kNames[] = {"GOOD", "FAILED", "UNKNOWN", "LOST WRITES",
                                           "MISCOMPARE"};
  return kNames[static_cast<std::size_t>(outcome)];
}

std::string name_of_content(ContentId id) {
  if (id == kZeroContent) return "zeroes";
  if (id == kDamagedContent) return "damaged content";
  if (id == kMisplacedContent) return "content of another place";
  if ((id & kSetOfBits) != 0) return fmt::format("bits {:x}h", id & ~kSetOfBits);
  return fmt::format("content {}", id);
}

std::string describe(const History& history, History::Handle handle) {
  const History::Op& op = history.ops().at(handle);
  std::string text = fmt::format("#{} {}{}", handle, name_of(op.command), op.fua ? " FUA" : "");
  if (op.num_blocks == 1) text += fmt::format(" of block {}", op.lba);
  if (op.num_blocks > 1) {
    text += fmt::format(" of blocks {}..{}", op.lba, op.lba + op.num_blocks - 1);
  }
  return text + fmt::format(" by client {}", op.client);
}

}  // namespace lunar::test
