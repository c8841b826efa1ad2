// SPDX-License-Identifier: LGPL-2.1-or-later
//
// A read never changes a state, so it is put into the order as soon as it fits, in every state.
// Only commands that write branch. An unanswered one need not take effect, so it is tried only when
// a command that waits for its end has seen its content; or always, if a loss may show later what
// was written over it. What nobody ever sees is left out from the beginning.
#include "tests/history/block_check.h"

#include <algorithm>
#include <unordered_set>
#include <utility>

namespace lunar::test {
namespace {

constexpr std::size_t kMaxStates = 50'000;  // of one search; beyond it the block is undecided

uint64_t hash_of(uint64_t done, uint32_t command, ContentId content, bool has_survived) {
  uint64_t x = (done + (has_survived ? 1 : 0)) * 0x9e3779b97f4a7c15ull ^
               (content + command * 0xbf58476d1ce4e5b9ull);
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  return x ^ (x >> 29);
}

}  // namespace

BlockCheck::BlockCheck(const History& history, const FlushClaims& claims, const Seen& seen)
    : history_(history), claims_(claims), seen_(seen) {}

void BlockCheck::collect(uint64_t block, std::span<const History::Handle> ops) {
  commands_.clear();
  has_or_ = false;
  for (const History::Handle handle : ops) {
    const History::Op& op = history_.ops()[handle];
    Command command;
    command.handle = handle;
    command.invoked = op.invoked;
    const bool has_window = op.outcome == HistoryOutcome::kGood && !leniency_.windows_stay_open;
    command.ends = has_window ? std::min(op.ended, op.closed) : op.ended;
    command.is_fua = op.fua;
    if (op.command == HistoryCommand::kRead) {
      if (op.outcome != HistoryOutcome::kGood) continue;
      command.content = content_at(op.ids, op, block);
      commands_.push_back(command);
      continue;
    }
    command.content = content_at(op.ids, op, block);
    command.role = Role::kSet;
    if (op.command == HistoryCommand::kOrwrite) command.role = Role::kOr;
    if (op.command == HistoryCommand::kCompareAndWrite && !leniency_.compares_nothing) {
      command.role = Role::kSwap;
      command.compared = content_at(op.compared, op, block);
    }
    switch (op.outcome) {
      case HistoryOutcome::kGood:
        command.acknowledged = op.ended;
        break;
      case HistoryOutcome::kMiscompare:
      case HistoryOutcome::kFailed:
        if (leniency_.failures_take_effect) {
          command.is_optional = true;
          command.ends = History::kNever;
        } else if (op.outcome == HistoryOutcome::kMiscompare) {
          command.role = Role::kMiscompare;
        } else {
          continue;
        }
        break;
      case HistoryOutcome::kUnknown:
      case HistoryOutcome::kReportedLost: {
        command.is_optional = true;
        command.ends = leniency_.windows_stay_open ? History::kNever : op.closed;
        const auto seen = seen_.find(handle);
        if (seen != seen_.end() && !leniency_.tears_compare_and_write) {
          command.is_optional = false;
          command.ends = std::min(command.ends, seen->second.by);
        }
        break;
      }
    }
    if (history_.may_writes_repeat() && command.role == Role::kSet) {
      command.repeats_until = op.ended;
    }
    has_or_ |= command.role == Role::kOr;
    commands_.push_back(command);
  }
}

// Until when somebody may see each content.
void BlockCheck::note_readers() {
  seen_until_.clear();
  bool has_doubtful_miscompare = false;
  for (const Command& command : commands_) {
    const bool is_read = command.role == Role::kRead;
    has_doubtful_miscompare |= command.role == Role::kMiscompare && !command.is_explained;
    if (!is_read && command.role != Role::kSwap) continue;
    Position& until = seen_until_[is_read ? command.content : command.compared];
    until = std::max(until, command.ends);
  }
  // These see whatever is there.
  sees_everything_ = has_or_ || has_doubtful_miscompare;
}

bool BlockCheck::is_seen_after(ContentId content, Position at) const {
  if (sees_everything_) return true;
  const auto found = seen_until_.find(content);
  return found != seen_until_.end() && found->second > at;
}

// Leaves out what need not take effect and what nobody sees, and says which of the rest a loss may
// uncover.
void BlockCheck::drop_useless() {
  bool has_optional = false;
  for (Command& miscompare : commands_) {
    has_optional |= miscompare.is_optional;
    if (miscompare.role != Role::kMiscompare) continue;
    // What is written at the same time, or perhaps so, may be the reason of it.
    for (const Command& other : commands_) {
      if (other.role == Role::kRead || other.role == Role::kMiscompare) continue;
      miscompare.is_explained |= other.content != miscompare.compared &&
                                 other.invoked < miscompare.ends && other.ends > miscompare.invoked;
    }
  }
  if (!has_optional) return;
  std::unordered_map<ContentId, Position> wanted;  // until when
  for (const Command& command : commands_) {
    const bool is_read = command.role == Role::kRead;
    if (!is_read && command.role != Role::kSwap) continue;
    Position& until = wanted[is_read ? command.content : command.compared];
    until = std::max(until, command.ends);
  }
  if (has_or_) {
    for (Command& command : commands_) {
      command.is_always_tried = command.is_seen_later = command.is_optional;
    }
    return;
  }
  // A MISCOMPARE sees every content but one.
  for (const Command& miscompare : commands_) {
    if (miscompare.role != Role::kMiscompare || miscompare.is_explained) continue;
    for (const Command& command : commands_) {
      if (!command.is_optional || command.content == miscompare.compared) continue;
      Position& until = wanted[command.content];
      until = std::max(until, miscompare.ends);
    }
  }
  std::erase_if(commands_, [&](const Command& command) {
    const auto found = wanted.find(command.content);
    return command.is_optional && (found == wanted.end() || found->second < command.invoked);
  });
  for (Command& command : commands_) {
    if (!command.is_optional) continue;
    const Position until = wanted[command.content];
    command.is_seen_later = until > command.ends;
    for (const FlushClaims::Loss& loss : claims_.losses()) {
      if (!loss.is_of(server_)) continue;
      command.is_always_tried |= loss.ends > command.invoked && loss.begins < until;
    }
  }
}

BlockCheck::Result BlockCheck::run(uint64_t block, std::span<const History::Handle> ops,
                                   const Leniency& leniency) {
  leniency_ = leniency;
  if (const std::optional<int> server = history_.server_of(block)) {
    return run_on(*server, block, ops);
  }
  std::vector<int> servers = claims_.servers();
  servers.push_back(History::kEveryServer);  // one that did not crash by itself
  bool is_undecided = false;
  int furthest = servers.front();
  Position reached = 0;
  for (const int server : servers) {
    const Result result = run_on(server, block, ops);
    if (result == Result::kExplained) return result;
    is_undecided |= result == Result::kUndecided;
    const Position ended = history_.ops()[culprit_].ended;
    if (result == Result::kUnexplained && ended > reached) {
      reached = ended;
      furthest = server;
    }
  }
  if (is_undecided) return Result::kUndecided;
  if (furthest == server_) return Result::kUnexplained;
  return run_on(furthest, block, ops);
}

BlockCheck::Result BlockCheck::run_on(int server, uint64_t block,
                                      std::span<const History::Handle> ops) {
  server_ = server;
  possible_.clear();
  untold_.reset();
  miscompares_.clear();
  collect(block, ops);
  drop_useless();
  note_readers();
  steps_.clear();
  for (uint32_t i = 0; i < commands_.size(); ++i) {
    const Command& command = commands_[i];
    steps_.push_back({command.invoked, StepKind::kBegin, i});
    if (command.ends != History::kNever) {
      steps_.push_back({command.ends, StepKind::kEnd, i});
    }
    if (command.is_optional && command.repeats_until > 0 && command.repeats_until < command.ends) {
      steps_.push_back({command.repeats_until, StepKind::kLastRepeat, i});
    }
  }
  std::sort(steps_.begin(), steps_.end());
  layers_.assign(1, {});
  layers_[0].has_survived = true;
  links_.clear();
  states_.assign(1, {});
  pending_.clear();
  free_slots_ = ~uint64_t{0};
  is_undecided_ = false;
  next_loss_ = 0;
  is_on_disk_ = true;
  Position last = 0;
  for (const Step& each : steps_) {
    const auto& losses = claims_.losses();
    for (; next_loss_ < losses.size() && losses[next_loss_].begins < each.at; ++next_loss_) {
      if (!losses[next_loss_].is_of(server_)) continue;
      try_all();
      if (is_undecided_) return Result::kUndecided;
      const bool goes_on = losses[next_loss_].ends > each.at;
      if (!is_on_disk_) lose(next_loss_, std::max(last, losses[next_loss_].begins), goes_on);
      if (goes_on) break;
    }
    last = each.at;
    now_ = each.at;
    if (each.kind == StepKind::kBegin) {
      begin(each.command);
    } else if (each.kind == StepKind::kLastRepeat) {
      repeat(each.command);
    } else if (!end(each.command)) {
      culprit_ = commands_[each.command].handle;
      return is_undecided_ ? Result::kUndecided : Result::kUnexplained;
    }
    if (is_undecided_) return Result::kUndecided;
  }
  return Result::kExplained;
}

void BlockCheck::begin(uint32_t which) {
  Command& command = commands_[which];
  if (command.role != Role::kMiscompare) {
    if (free_slots_ == 0) {
      is_undecided_ = true;
      return;
    }
    command.slot = __builtin_ctzll(free_slots_);
    free_slots_ &= free_slots_ - 1;
  }
  pending_.push_back(which);
  for (BlockState& state : states_) saw(state);
}

bool BlockCheck::end(uint32_t which) {
  Command& command = commands_[which];
  if (command.role == Role::kMiscompare) {
    if (command.is_explained) miscompares_.push_back(command.handle);
  } else if (command.is_optional) {
    let_go(which);
  } else if (!force(which)) {
    return false;
  }
  release(which);
  return true;
}

// The window of an optional command closes. Others that were begun may have come before it,
// although nothing has forced them yet.
void BlockCheck::let_go(uint32_t which) {
  const Command& command = commands_[which];
  begin_search();
  for (const BlockState& state : states_) add(state);
  const std::size_t num_before = found_.size();
  if (command.is_always_tried || command.is_seen_later) {
    for (std::size_t i = 0; i < found_.size() && found_.size() <= kMaxStates; ++i) {
      const BlockState state = found_[i];
      if ((state.done & command.bit()) != 0 && now_ > command.repeats_until) continue;
      for (const uint32_t each : pending_) {
        if (each == which ? fits(state, command)
                          : can_step(state, commands_[each]) && !has_better_twin(state, each)) {
          step(state, each);
        }
      }
    }
    is_undecided_ = found_.size() > kMaxStates;
  }
  // Those that were found on the way, and not with the command, are found again when they are
  // forced.
  std::vector<BlockState> all(found_.begin(), found_.begin() + num_before);
  for (std::size_t i = num_before; i < found_.size(); ++i) {
    if ((found_[i].done & command.bit()) != 0) all.push_back(found_[i]);
  }
  // Without its bit some are the same.
  begin_search();
  for (BlockState& state : all) {
    state.done &= ~command.bit();
    add(state);
  }
  states_ = found_;
}

// Keeps the states in which the command is in the order, and those that can be reached by putting
// it there. False if there are none.
bool BlockCheck::force(uint32_t which) {
  const uint64_t bit = commands_[which].bit();
  const bool is_all_done = std::all_of(states_.begin(), states_.end(),
                                       [&](const BlockState& state) { return state.done & bit; });
  if (!is_all_done || commands_[which].repeats_until > 0) {
    begin_search();
    for (const BlockState& state : states_) add(state);
    std::vector<BlockState> kept;
    for (std::size_t i = 0; i < found_.size(); ++i) {
      const BlockState state = found_[i];
      if (state.done & bit) {
        kept.push_back(state);
        if (commands_[which].repeats_until == 0) continue;  // else it may come behind others again
      }
      for (const uint32_t each : pending_) {
        if (can_step(state, commands_[each]) && !has_better_twin(state, each)) step(state, each);
      }
      if (found_.size() > kMaxStates) {
        is_undecided_ = true;
        return false;
      }
    }
    if (kept.empty()) {
      for (const BlockState& state : states_) {
        if (std::find(possible_.begin(), possible_.end(), state.content) == possible_.end()) {
          possible_.push_back(state.content);
        }
      }
      return false;
    }
    states_ = std::move(kept);
  }
  for (BlockState& state : states_) state.done &= ~bit;
  return true;
}

// The last moment at which a command whose outcome is not known takes effect once more.
void BlockCheck::repeat(uint32_t which) {
  const Command& command = commands_[which];
  begin_search();
  for (const BlockState& state : states_) add(state);
  for (std::size_t i = 0; i < found_.size(); ++i) {
    const BlockState state = found_[i];
    if ((state.done & command.bit()) == 0) continue;
    if (fits(state, command)) step(state, which);
    for (const uint32_t each : pending_) {
      if (can_step(state, commands_[each]) && !has_better_twin(state, each)) step(state, each);
    }
    if (found_.size() > kMaxStates) break;
  }
  is_undecided_ = found_.size() > kMaxStates;
  states_ = found_;
}

// Puts into the order, or not, all that may be there already: before a loss, which may undo what
// somebody has seen.
void BlockCheck::try_all() {
  const bool can_write = std::any_of(pending_.begin(), pending_.end(), [&](uint32_t which) {
    const Role role = commands_[which].role;
    return role != Role::kRead && role != Role::kMiscompare;
  });
  if (!can_write) return;
  begin_search();
  for (const BlockState& state : states_) add(state);
  for (std::size_t i = 0; i < found_.size() && found_.size() <= kMaxStates; ++i) {
    const BlockState state = found_[i];
    for (const uint32_t each : pending_) {
      if (can_step(state, commands_[each]) && !has_better_twin(state, each)) step(state, each);
    }
  }
  is_undecided_ = found_.size() > kMaxStates;
  states_ = found_;
}

bool BlockCheck::fits(const BlockState& state, const Command& command) const {
  if (command.role == Role::kRead || command.role == Role::kMiscompare) return false;
  if ((state.done & command.bit()) != 0) {
    return now_ <= command.repeats_until && state.content != command.content;
  }
  return command.role != Role::kSwap || state.content == command.compared;
}

bool BlockCheck::can_step(const BlockState& state, const Command& command) const {
  if (!fits(state, command)) return false;
  return !command.is_optional || command.is_always_tried || is_wanted(state, command.content);
}

// Whether a command waits to see that content.
bool BlockCheck::is_wanted(const BlockState& state, ContentId content) const {
  return std::any_of(pending_.begin(), pending_.end(), [&](uint32_t which) {
    const Command& command = commands_[which];
    if ((state.done & command.bit()) != 0) return false;
    return (command.role == Role::kRead && command.content == content) ||
           (command.role == Role::kSwap && command.compared == content);
  });
}

// Of several optional writes of the same content, the one whose window closes first is taken.
bool BlockCheck::has_better_twin(const BlockState& state, uint32_t which) const {
  const Command& command = commands_[which];
  if (!command.is_optional || command.role != Role::kSet) return false;
  return std::any_of(pending_.begin(), pending_.end(), [&](uint32_t other) {
    const Command& twin = commands_[other];
    return other != which && twin.is_optional && twin.role == Role::kSet &&
           twin.content == command.content && (state.done & twin.bit()) == 0 &&
           std::pair(twin.ends, other) < std::pair(command.ends, which);
  });
}

// Puts a command into the order behind `state`, among what was found.
void BlockCheck::step(const BlockState& state, uint32_t which) {
  const Command& command = commands_[which];
  BlockState next;
  next.done = state.done | command.bit();
  next.content = command.role == Role::kOr ? state.content | command.content : command.content;
  saw(next);
  is_on_disk_ = false;
  const bool may_be_uncovered = next_loss_ < claims_.losses().size();
  const uint32_t known = find_known(next.done, which, next.content, false);
  if (known != kNone) {
    if (may_be_uncovered) put_link(found_[known].layer, state.layer);
    return;
  }
  next.layer = static_cast<uint32_t>(layers_.size());
  Layer& layer = layers_.emplace_back();
  layer.command = which;
  layer.content = next.content;
  if (may_be_uncovered) layer.below = state.layer;
  known_.emplace(hash_of(next.done, which, next.content, false), found_.size());
  found_.push_back(next);
}

// What waits and fits this state is in the order.
void BlockCheck::saw(BlockState& state) {
  for (const uint32_t which : pending_) {
    Command& command = commands_[which];
    if (command.role == Role::kRead && command.content == state.content) {
      state.done |= command.bit();
    } else if (command.role == Role::kMiscompare && command.compared != state.content) {
      command.is_explained = true;
    }
  }
}

void BlockCheck::begin_search() {
  found_.clear();
  known_.clear();
}

uint32_t BlockCheck::find_known(uint64_t done, uint32_t command, ContentId content,
                                bool has_survived) const {
  const auto [from, to] = known_.equal_range(hash_of(done, command, content, has_survived));
  for (auto at = from; at != to; ++at) {
    const BlockState& state = found_[at->second];
    if (state.done == done && state.content == content && layers_[state.layer].command == command) {
      return at->second;
    }
  }
  return kNone;
}

void BlockCheck::add(const BlockState& state) {
  const Layer from = layers_[state.layer];
  const uint32_t known = find_known(state.done, from.command, state.content, from.has_survived);
  if (known == kNone) {
    known_.emplace(hash_of(state.done, from.command, state.content, from.has_survived),
                   found_.size());
    found_.push_back(state);
    return;
  }
  const uint32_t into = found_[known].layer;
  if (into == state.layer) return;
  if (from.below != kNone) put_link(into, from.below);
  for (uint32_t at = from.more_below; at != kNone; at = links_[at].next) {
    put_link(into, links_[at].layer);
  }
}

void BlockCheck::put_link(uint32_t layer, uint32_t below) {
  Layer& into = layers_[layer];
  if (into.below == below || layer == below) return;
  if (into.below == kNone) {
    into.below = below;
    return;
  }
  for (uint32_t at = into.more_below; at != kNone; at = links_[at].next) {
    if (links_[at].layer == below) return;
  }
  links_.push_back({below, into.more_below});
  into.more_below = static_cast<uint32_t>(links_.size() - 1);
}

void BlockCheck::release(uint32_t which) {
  Command& command = commands_[which];
  free_slots_ |= command.bit();
  command.slot = -1;
  std::erase(pending_, which);
}

bool BlockCheck::may_be_lost(const Layer& layer, std::size_t loss, Position at) {
  if (layer.has_survived || layer.command == kNone) return false;
  const Command& command = commands_[layer.command];
  if (leniency_.flushed_may_go || command.acknowledged > at) return true;
  if (command.is_fua || claims_.is_durable(command.acknowledged, at)) return false;
  return is_told(command, loss);
}

bool BlockCheck::is_told(const Command& command, std::size_t loss) {
  if (leniency_.losses_need_no_telling) return true;
  const int client = history_.ops()[command.handle].client;
  const auto flush = claims_.untold(loss, client, command.acknowledged);
  if (flush) untold_ = flush;
  return !flush;
}

// A loss has left that layer.
void BlockCheck::keep(uint32_t index, uint64_t done, bool is_decided) {
  const Layer layer = layers_[index];
  BlockState left;
  left.done = done;
  left.content = layer.content;
  saw(left);
  const bool has_survived = is_decided || layer.has_survived;
  // One that is not on disk may go by the next loss: what is below the two is different.
  if (has_survived && find_known(left.done, layer.command, left.content, true) != kNone) return;
  left.layer = index;
  if (has_survived && !layer.has_survived) {
    left.layer = static_cast<uint32_t>(layers_.size());
    Layer& on_disk = layers_.emplace_back();
    on_disk.command = layer.command;
    on_disk.content = layer.content;
    on_disk.has_survived = true;
  }
  add(left);
}

// Every state becomes all those that may be left of it; itself too, if the loss goes on.
void BlockCheck::lose(std::size_t loss, Position at, bool goes_on) {
  const bool is_decided = !claims_.losses()[loss].is_partial;  // what is left is on disk
  begin_search();
  if (goes_on) {
    for (const BlockState& state : states_) add(state);
  }
  std::vector<std::pair<uint32_t, uint64_t>> todo;  // layer, done
  std::unordered_map<uint64_t, std::vector<uint64_t>> visited;
  std::unordered_set<uint64_t> unseen_on_disk;  // done
  for (const BlockState& state : states_) {
    todo.emplace_back(state.layer, state.done);
    while (!todo.empty()) {
      const auto [index, done] = todo.back();
      todo.pop_back();
      std::vector<uint64_t>& before = visited[index];
      if (std::find(before.begin(), before.end(), done) != before.end()) continue;
      before.push_back(done);
      const Layer layer = layers_[index];
      const bool is_lost_too = may_be_lost(layer, loss, at);
      // If nobody sees it and its command is over, all that can follow from it can follow as well
      // from what is below; and if it is on disk, from another one that nobody sees.
      const bool is_over = layer.command == kNone || commands_[layer.command].bit() == 0;
      bool is_of_use = true;
      if (is_over && !is_seen_after(layer.content, at)) {
        const bool is_on_disk = layer.has_survived || is_decided;
        if (is_lost_too && layer.below != kNone) {
          is_of_use = false;
        } else if (is_on_disk) {
          is_of_use = unseen_on_disk.insert(done).second;
        }
      }
      if (is_of_use) keep(index, done, is_decided);
      if (!is_lost_too) continue;
      // In flight: it may be done again; or this part of it was done, and is lost, while others are
      // not done yet.
      const Command& command = commands_[layer.command];
      const bool is_in_flight = command.acknowledged > at && command.acknowledged < History::kNever;
      std::vector<uint64_t> afterwards{done & ~command.bit()};
      if (is_in_flight && !command.is_fua && is_told(command, loss)) afterwards.push_back(done);
      for (const uint64_t each : afterwards) {
        if (layer.below != kNone) todo.emplace_back(layer.below, each);
        for (uint32_t link = layer.more_below; link != kNone; link = links_[link].next) {
          todo.emplace_back(links_[link].layer, each);
        }
      }
    }
  }
  states_ = found_;
  is_on_disk_ = is_decided && !goes_on;
}

}  // namespace lunar::test
