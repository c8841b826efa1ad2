// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/history/history_checker.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <span>
#include <utility>

#include "common/check.h"
#include "tests/history/block_check.h"
#include "tests/history/flush_claims.h"

namespace lunar::test {
namespace {

using Handle = History::Handle;
using Position = History::Position;

constexpr std::size_t kMaxExplained = 10;       // violations
constexpr std::size_t kMaxExplainedLines = 40;  // of one

// The commands on each block, in the order of their invocations.
class CommandsByBlock {
 public:
  explicit CommandsByBlock(const History& history) : history_(history) {
    for (const History::Op& op : history.ops()) {
      if (op.num_blocks > 0) ranges_.push_back({op.lba, op.lba + op.num_blocks, 0});
    }
    merge();
    begin_.assign(num_blocks_ + 1, 0);
    for_each([&](std::size_t block, Handle) { ++begin_[block + 1]; });
    for (std::size_t i = 0; i < num_blocks_; ++i) begin_[i + 1] += begin_[i];
    handles_.resize(begin_.back());
    std::vector<uint64_t> next(begin_.begin(), begin_.end() - 1);
    for_each([&](std::size_t block, Handle handle) { handles_[next[block]++] = handle; });
  }

  // Calls `visit(lba, commands)` for each block that a command touches.
  template <typename Visit>
  void visit(Visit visit) const {
    for (const Range& range : ranges_) {
      for (uint64_t lba = range.begin; lba < range.end; ++lba) visit(lba, at(lba));
    }
  }
  // REQUIRES: a command touches it.
  std::span<const Handle> at(uint64_t lba) const {
    const std::size_t index = index_of(lba);
    return std::span(handles_).subspan(begin_[index], begin_[index + 1] - begin_[index]);
  }
  uint64_t num_blocks() const { return num_blocks_; }

 private:
  struct Range {
    uint64_t begin, end;  // blocks
    std::size_t first;    // index of the first
  };
  void merge() {
    std::sort(ranges_.begin(), ranges_.end(),
              [](const Range& a, const Range& b) { return a.begin < b.begin; });
    std::vector<Range> merged;
    for (const Range& range : ranges_) {
      if (!merged.empty() && range.begin <= merged.back().end) {
        merged.back().end = std::max(merged.back().end, range.end);
      } else {
        merged.push_back(range);
      }
    }
    for (Range& range : merged) {
      range.first = num_blocks_;
      num_blocks_ += range.end - range.begin;
    }
    ranges_ = std::move(merged);
  }
  std::size_t index_of(uint64_t lba) const {
    const auto after =
        std::upper_bound(ranges_.begin(), ranges_.end(), lba,
                         [](uint64_t value, const Range& range) { return value < range.begin; });
    const Range& range = *(after - 1);
    return range.first + (lba - range.begin);
  }
  template <typename Each>
  void for_each(Each each) const {
    for (Handle handle = 0; handle < history_.ops().size(); ++handle) {
      const History::Op& op = history_.ops()[handle];
      if (op.num_blocks == 0) continue;
      const std::size_t first = index_of(op.lba);
      for (std::size_t i = 0; i < op.num_blocks; ++i) each(first + i, handle);
    }
  }
  const History& history_;
  std::vector<Range> ranges_;  // sorted; neither overlap nor touch
  std::size_t num_blocks_ = 0;
  std::vector<uint64_t> begin_;  // by index of block: its first in handles_
  std::vector<Handle> handles_;
};

// What an op waited for in a block, if it was answered as expected: a sighting of that content.
std::optional<ContentId> seen_content(const History::Op& op, uint64_t block) {
  if (op.outcome != HistoryOutcome::kGood) return std::nullopt;
  if (op.command == HistoryCommand::kRead) return BlockCheck::content_at(op.ids, op, block);
  if (op.command != HistoryCommand::kCompareAndWrite) return std::nullopt;
  return BlockCheck::content_at(op.compared, op, block);
}

bool writes(const History::Op& op) {
  return op.command != HistoryCommand::kRead && op.command != HistoryCommand::kFlush;
}

class Judge {
 public:
  explicit Judge(const History& history)
      : history_(history), claims_(history), blocks_(history), check_(history, claims_, seen_) {}

  HistoryVerdict run() {
    find_seen_compare_and_writes();
    verdict_.num_blocks = blocks_.num_blocks();
    std::set<Handle> explained_miscompares;
    std::set<uint64_t> not_explained;  // blocks
    blocks_.visit([&](uint64_t lba, std::span<const Handle> ops) {
      const BlockCheck::Result result = check_.run(lba, ops);
      const auto& miscompares = check_.explained_miscompares();
      explained_miscompares.insert(miscompares.begin(), miscompares.end());
      if (result != BlockCheck::Result::kExplained) not_explained.insert(lba);
      if (result == BlockCheck::Result::kUndecided) verdict_.undecided.push_back(lba);
      if (result == BlockCheck::Result::kUnexplained) accuse(lba, ops);
    });
    for (Handle handle = 0; handle < history_.ops().size(); ++handle) {
      const History::Op& op = history_.ops()[handle];
      if (op.outcome != HistoryOutcome::kMiscompare || explained_miscompares.contains(handle)) {
        continue;
      }
      const auto bad = not_explained.lower_bound(op.lba);
      if (bad != not_explained.end() && *bad < op.lba + op.num_blocks) continue;
      accuse_of(HistoryFault::kFalseMiscompare, op.lba, handle,
                fmt::format("block {}: {} was MISCOMPARE, and its blocks held what it compares "
                            "with all the time",
                            op.lba, describe(history_, handle)));
    }
    std::stable_sort(verdict_.violations.begin(), verdict_.violations.end(),
                     [&](const HistoryViolation& a, const HistoryViolation& b) {
                       return history_.ops()[a.op].ended < history_.ops()[b.op].ended;
                     });
    return std::move(verdict_);
  }

 private:
  // Unanswered COMPARE AND WRITEs of several blocks whose content somebody saw in one of them.
  void find_seen_compare_and_writes() {
    for (Handle handle = 0; handle < history_.ops().size(); ++handle) {
      const History::Op& op = history_.ops()[handle];
      const bool is_unanswered = op.outcome == HistoryOutcome::kUnknown;
      if (op.command != HistoryCommand::kCompareAndWrite || !is_unanswered) continue;
      if (op.num_blocks < 2) continue;
      SeenCompareAndWrite first{History::kNever};
      for (uint64_t lba = op.lba; lba < op.lba + op.num_blocks; ++lba) {
        const ContentId content = BlockCheck::content_at(op.ids, op, lba);
        const auto is_written_by_another = [&](Handle other) {
          const History::Op& writer = history_.ops()[other];
          return other != handle && writes(writer) &&
                 BlockCheck::content_at(writer.ids, writer, lba) == content;
        };
        if (content == kZeroContent ||
            std::ranges::any_of(blocks_.at(lba), is_written_by_another)) {
          continue;
        }
        for (const Handle other : blocks_.at(lba)) {
          const History::Op& reader = history_.ops()[other];
          if (other == handle || seen_content(reader, lba) != content) continue;
          if (reader.ended < first.by) first = {reader.ended, other, lba};
        }
      }
      const bool is_lost_between = std::ranges::any_of(claims_.losses(), [&](const auto& loss) {
        return loss.ends > op.invoked && loss.begins < first.by;
      });
      if (first.by != History::kNever && !is_lost_between) seen_.emplace(handle, first);
    }
  }

  void accuse(uint64_t lba, std::span<const Handle> ops) {
    const Handle culprit = check_.culprit();
    const std::optional<Handle> untold = check_.untold_flush();
    std::vector<ContentId> possible = check_.possible();
    const HistoryFault fault = classify(lba, ops, culprit);
    if (verdict_.violations.size() >= kMaxExplained) return count();
    const History::Op& op = history_.ops()[culprit];
    std::string text = fmt::format("block {}: {} ", lba, describe(history_, culprit));
    const std::optional<ContentId> seen = seen_content(op, lba);
    if (op.command == HistoryCommand::kRead) {
      text += fmt::format("found {}", name_of_content(*seen));
    } else if (seen) {
      text += fmt::format("was GOOD, which means that it found {}", name_of_content(*seen));
    } else {
      text += "must have taken effect, and cannot have";
    }
    std::string allowed;
    for (const ContentId id : possible) {
      allowed += (allowed.empty() ? "" : " or ") + name_of_content(id);
    }
    text += fmt::format("; it can only have held {}", allowed);
    text += ": " + reason(fault, lba, ops, culprit, untold);
    text += tell(lba, ops, culprit);
    accuse_of(fault, lba, culprit, std::move(text));
  }

  void count() { ++verdict_.num_violations; }
  void accuse_of(HistoryFault fault, uint64_t lba, Handle handle, std::string text) {
    count();
    if (verdict_.violations.size() >= kMaxExplained) return;
    verdict_.violations.push_back({fault, lba, handle, std::move(text)});
  }

  HistoryFault classify(uint64_t lba, std::span<const Handle> ops, Handle culprit) {
    const History::Op& op = history_.ops()[culprit];
    const std::optional<ContentId> seen = seen_content(op, lba);
    if (seen == kDamagedContent) return HistoryFault::kDamagedContent;
    if (op.command == HistoryCommand::kRead && seen != kZeroContent &&
        !is_ever_written(lba, ops, *seen)) {
      return HistoryFault::kForeignContent;
    }
    if (seen && is_written_by_failures(lba, ops, *seen)) return HistoryFault::kFailedTookEffect;
    const auto holds_with = [&](Leniency leniency) {
      if (check_.run(lba, ops, leniency) != BlockCheck::Result::kUnexplained) return true;
      return history_.ops()[check_.culprit()].ended > op.ended;  // at least this far
    };
    if (op.command == HistoryCommand::kRead && goes_back(lba, ops, culprit)) {
      return HistoryFault::kWentBack;
    }
    if (holds_with({.windows_stay_open = true})) return HistoryFault::kLateEffect;
    if (holds_with({.failures_take_effect = true})) return HistoryFault::kFailedTookEffect;
    if (holds_with({.losses_need_no_telling = true})) return HistoryFault::kUntoldLoss;
    if (holds_with({.tears_compare_and_write = true})) return HistoryFault::kTornCompareAndWrite;
    if (holds_with({.flushed_may_go = true})) return HistoryFault::kFlushedLost;
    if (holds_with({.compares_nothing = true})) return HistoryFault::kCompareAndWrite;
    return HistoryFault::kStale;
  }

  bool is_ever_written(uint64_t lba, std::span<const Handle> ops, ContentId content) const {
    return std::ranges::any_of(ops, [&](Handle handle) {
      const History::Op& op = history_.ops()[handle];
      if (!writes(op)) return false;
      const ContentId written = BlockCheck::content_at(op.ids, op, lba);
      return written == content || op.command == HistoryCommand::kOrwrite;
    });
  }

  // Whether all who might have written it say that they have not.
  bool is_written_by_failures(uint64_t lba, std::span<const Handle> ops, ContentId content) const {
    bool is_written = false;
    for (const Handle handle : ops) {
      const History::Op& op = history_.ops()[handle];
      if (!writes(op) || BlockCheck::content_at(op.ids, op, lba) != content) continue;
      if (op.outcome != HistoryOutcome::kFailed && op.outcome != HistoryOutcome::kMiscompare) {
        return false;
      }
      is_written = true;
    }
    return is_written;
  }

  // Whether the read before found something else, after a loss, and nothing was written since.
  bool goes_back(uint64_t lba, std::span<const Handle> ops, Handle culprit) const {
    const History::Op& op = history_.ops()[culprit];
    const History::Op* before = nullptr;
    for (const Handle handle : ops) {
      const History::Op& other = history_.ops()[handle];
      if (!seen_content(other, lba) || writes(other) || other.ended >= op.invoked) continue;
      if (!before || other.ended > before->ended) before = &other;
    }
    if (!before || seen_content(*before, lba) == seen_content(op, lba)) return false;
    const FlushClaims::Loss* loss = nullptr;  // the last one before
    for (const FlushClaims::Loss& each : claims_.losses()) {
      const bool decides = each.is_of(check_.server()) && !each.is_partial;
      if (decides && each.begins < before->invoked) loss = &each;
    }
    if (!loss) return false;
    return std::ranges::none_of(ops, [&](Handle handle) {
      const History::Op& other = history_.ops()[handle];
      return writes(other) && other.invoked < op.ended && other.closed > loss->begins &&
             other.outcome != HistoryOutcome::kFailed;
    });
  }

  std::string reason(HistoryFault fault, uint64_t lba, std::span<const Handle> ops, Handle culprit,
                     std::optional<Handle> untold) const {
    switch (fault) {
      case HistoryFault::kDamagedContent:
        return "the block is torn, or mixed from several writes";
      case HistoryFault::kForeignContent:
        return "nobody wrote that to this block" + writer_elsewhere(lba, culprit);
      case HistoryFault::kFailedTookEffect:
        return "a command that was refused, or miscompared, was carried out all the same";
      case HistoryFault::kLateEffect:
        return "a command took effect after it was said to be over";
      case HistoryFault::kFlushedLost:
        return "a write that was durable is lost";
      case HistoryFault::kUntoldLoss:
        return untold ? fmt::format("a write was lost, and {} was GOOD before the loss was told",
                                    describe(history_, *untold))
                      : "a write was lost, and a flush was GOOD before the loss was told";
      case HistoryFault::kWentBack:
        return "after a loss a read has decided what the block holds, and nobody has written since";
      case HistoryFault::kCompareAndWrite:
        return "a COMPARE AND WRITE was GOOD although the block held something else";
      case HistoryFault::kFalseMiscompare:
        break;
      case HistoryFault::kTornCompareAndWrite: {
        for (const Handle handle : ops) {
          const auto seen = seen_.find(handle);
          if (seen == seen_.end()) continue;
          return fmt::format("{} was carried out in block {}, where {} found it, and not here",
                             describe(history_, handle), seen->second.block,
                             describe(history_, seen->second.witness));
        }
        break;
      }
      case HistoryFault::kStale:
        return "an acknowledged write is gone, or commands came out of order";
    }
    return name_of(fault);
  }

  std::string writer_elsewhere(uint64_t lba, Handle culprit) const {
    const ContentId content = *seen_content(history_.ops()[culprit], lba);
    for (Handle handle = 0; handle < history_.ops().size(); ++handle) {
      const History::Op& op = history_.ops()[handle];
      if (!writes(op) || std::ranges::find(op.ids, content) == op.ids.end()) continue;
      return fmt::format("; {} wrote it", describe(history_, handle));
    }
    return "";
  }

  // The events of the block up to the culprit's end, from the last write before that is sure.
  std::string tell(uint64_t lba, std::span<const Handle> ops, Handle culprit) const {
    const History::Op& op = history_.ops()[culprit];
    const std::optional<ContentId> seen = seen_content(op, lba);
    std::map<Position, std::string> lines;
    Position from = 0;
    for (const Handle handle : ops) {
      const History::Op& other = history_.ops()[handle];
      if (other.invoked > op.ended) continue;
      lines[other.invoked] = line_of(handle, lba, true);
      if (other.ended <= op.ended) lines[other.ended] = line_of(handle, lba, false);
      // Who wrote what was found: the story begins there.
      if (seen && writes(other) && handle != culprit &&
          BlockCheck::content_at(other.ids, other, lba) == *seen) {
        from = other.invoked;
      }
    }
    // Of the flushes that were GOOD, the first after each command on the block says enough.
    bool is_flush_shown = false;
    std::set<Handle> shown;
    for (Position at = from + 1; at <= op.ended; ++at) {
      const History::Event& event = history_.events()[at - 1];
      const bool is_end = event.kind == History::Event::Kind::kComplete;
      if (!is_end && event.kind != History::Event::Kind::kInvoke) {
        lines[at] = event.text;
        is_flush_shown = false;
      } else if (history_.ops()[event.op].command != HistoryCommand::kFlush) {
        if (lines.contains(at)) is_flush_shown = false;
      } else if (is_end) {
        const bool is_good = history_.ops()[event.op].outcome == HistoryOutcome::kGood;
        if (!is_good || shown.contains(event.op)) lines[at] = line_of(event.op, lba, false);
      } else if (!std::exchange(is_flush_shown, true)) {
        lines[at] = line_of(event.op, lba, true);
        shown.insert(event.op);
      }
    }
    lines.erase(lines.begin(), lines.lower_bound(from));
    std::string text = "\n  In order (position, time in s):";
    const std::size_t half = kMaxExplainedLines / 2;
    std::size_t index = 0;
    for (const auto& [at, line] : lines) {
      const bool is_left_out = index >= half && index + half < lines.size();
      if (index == half && is_left_out) {
        text += fmt::format("\n    … {} more …", lines.size() - 2 * half);
      }
      ++index;
      if (is_left_out) continue;
      const double seconds = static_cast<double>(history_.events()[at - 1].time_ns) / 1e9;
      text += fmt::format("\n    {:>8} {:>12.6f}  {}", at, seconds, line);
    }
    return text;
  }

  std::string line_of(Handle handle, uint64_t lba, bool is_begin) const {
    const History::Op& op = history_.ops()[handle];
    std::string text = describe(history_, handle);
    if (!is_begin) {
      text += fmt::format(": {}", name_of(op.outcome));
      if (op.command == HistoryCommand::kRead && op.outcome == HistoryOutcome::kGood) {
        text += ", found " + name_of_content(BlockCheck::content_at(op.ids, op, lba));
      }
      return text;
    }
    if (!op.compared.empty()) {
      text += fmt::format(", compares with {}",
                          name_of_content(BlockCheck::content_at(op.compared, op, lba)));
    }
    if (writes(op)) {
      text += fmt::format(", writes {}", name_of_content(BlockCheck::content_at(op.ids, op, lba)));
    }
    return text + ": begins";
  }

  const History& history_;
  const FlushClaims claims_;
  const CommandsByBlock blocks_;
  BlockCheck::Seen seen_;
  BlockCheck check_;
  HistoryVerdict verdict_;
};

}  // namespace

const char* name_of(HistoryFault fault) {
  static constexpr const char* kNames[] = {"damaged content",
                                           "foreign content",
                                           "failed command took effect",
                                           "late effect",
                                           "flushed write lost",
                                           "untold loss",
                                           "went back after a loss",
                                           "COMPARE AND WRITE without a match",
                                           "false MISCOMPARE",
                                           "torn COMPARE AND WRITE",
                                           "unexplained read"};
  return kNames[static_cast<std::size_t>(fault)];
}

std::string HistoryVerdict::to_string() const {
  if (is_clean()) return fmt::format("clean: {} blocks", num_blocks);
  std::string text = fmt::format("{} of {} blocks are not explained", num_violations, num_blocks);
  if (!undecided.empty()) {
    text += fmt::format(", {} are undecided, block {} first", undecided.size(), undecided.front());
  }
  for (const HistoryViolation& violation : violations) {
    text += fmt::format("\n[{}] {}", name_of(violation.fault), violation.explanation);
  }
  return text;
}

HistoryVerdict judge(const History& history) { return Judge(history).run(); }

}  // namespace lunar::test
