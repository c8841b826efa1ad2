// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The checker on long histories: of a device that is right, and of ones with a flaw.
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <utility>
#include <vector>

#include "tests/history/history_checker.h"

namespace lunar::test {
namespace {

using enum HistoryCommand;
using enum HistoryOutcome;

// A device that is right, with a cache that it loses in power cuts and then tells, under concurrent
// clients. With a flaw it is wrong now and then.
enum class Flaw : uint8_t { kNone, kSkipsWrites, kForgetsToFlush, kForgetsToTell };

class ModelDevice {
 public:
  ModelDevice(uint64_t seed, uint64_t num_blocks, int num_clients, Flaw flaw = Flaw::kNone)
      : random_(seed), num_blocks_(num_blocks), num_clients_(num_clients), flaw_(flaw) {}

  void run(std::size_t num_events, bool does_crash) {
    while (history.events().size() < num_events) {
      if (does_crash && below(1000) == 0) crash();
      if (in_flight_.size() < static_cast<std::size_t>(num_clients_) && below(2) == 0) {
        invoke();
      } else if (!in_flight_.empty()) {
        advance(below(in_flight_.size()));
      }
    }
  }
  History history;

 private:
  struct Running {
    History::Handle handle;
    int client;
    bool is_done = false;
    std::vector<ContentId> read = {};
    HistoryOutcome outcome = kGood;
  };
  // What a block held since it was last durable, that first.
  using Held = std::vector<ContentId>;
  uint64_t below(uint64_t limit) { return random_() % limit; }

  void invoke() {
    const int client = static_cast<int>(below(static_cast<uint64_t>(num_clients_)));
    HistoryOp op;
    const uint64_t dice = below(100);
    op.num_blocks = static_cast<uint32_t>(1 + below(3));
    op.lba = below(num_blocks_ - op.num_blocks);
    if (dice < 45) {
      op.command = kRead;
    } else if (dice < 80) {
      op.command = kWrite;
      op.fua = below(8) == 0;
      op.ids = {++last_id_};
    } else if (dice < 85) {
      op.command = kDiscard;
    } else if (dice < 95) {
      op.command = kCompareAndWrite;
      for (uint32_t i = 0; i < op.num_blocks; ++i) op.compared.push_back(held(op.lba + i).back());
      op.ids = {++last_id_};
    } else {
      op.command = kFlush;
      op.num_blocks = 0;
    }
    in_flight_.push_back({history.invoke(client, op), client});
  }

  // Carries a command out, answers it, or forgets it.
  void advance(std::size_t index) {
    Running& running = in_flight_[index];
    if (!running.is_done && below(50) != 0) return carry_out(running);
    const Running ended = running;
    in_flight_.erase(in_flight_.begin() + static_cast<std::ptrdiff_t>(index));
    if (ended.is_done) {
      history.complete(ended.handle, ended.outcome, ended.read);
      // One that was on its way before the loss tells nothing of what was answered meanwhile.
      const auto owed = owed_.find(ended.client);
      if (ended.outcome == kReportedLost && owed != owed_.end() &&
          history.ops()[ended.handle].invoked > owed->second) {
        owed_.erase(owed);
      }
    } else {
      history.complete(ended.handle, kUnknown);
      if (below(2) == 0) {
        late_.push_back(ended);
      } else {
        history.close_window(ended.handle);
      }
    }
    if (!late_.empty() && below(20) == 0) {
      carry_out(late_.back());
      late_.pop_back();
    }
  }

  void carry_out(Running& running) {
    running.is_done = true;
    const History::Op& op = history.ops()[running.handle];
    if (op.command == kFlush) {
      running.outcome = owed_.contains(running.client) ? kReportedLost : kGood;
      if (running.outcome != kGood || flaw_ == Flaw::kForgetsToFlush) return;
      for (const uint64_t lba : std::exchange(unflushed_, {})) held(lba) = {held(lba).back()};
      return;
    }
    if (op.command == kCompareAndWrite) {
      for (uint32_t i = 0; i < op.num_blocks; ++i) {
        if (held(op.lba + i).back() != op.compared[i]) running.outcome = kMiscompare;
      }
      if (running.outcome == kMiscompare) return;
    }
    const bool is_skipped = flaw_ == Flaw::kSkipsWrites && below(50) == 0;
    for (uint64_t lba = op.lba; lba < op.lba + op.num_blocks; ++lba) {
      Held& held = this->held(lba);
      if (op.command == kRead) {
        running.read.push_back(held.back());
      } else if (!is_skipped) {
        held.push_back(op.ids[0]);
        unflushed_.push_back(lba);
        if (op.fua) held = {op.ids[0]};
      }
    }
  }

  void crash() {
    history.power_cut();
    for (auto& [lba, held] : blocks_) held = {held[below(held.size())]};
    if (flaw_ != Flaw::kForgetsToTell) {
      const auto now = static_cast<History::Position>(history.events().size());
      for (int client = 0; client < num_clients_; ++client) owed_[client] = now;
    }
    // Nobody knows of what was carried out and not answered.
    std::erase_if(in_flight_, [&](const Running& running) {
      const HistoryCommand command = history.ops()[running.handle].command;
      if (!running.is_done || command == kRead || command == kFlush) return false;
      history.complete(running.handle, kUnknown);
      history.close_window(running.handle);
      return true;
    });
  }
  Held& held(uint64_t lba) { return blocks_.try_emplace(lba, Held{kZeroContent}).first->second; }

  std::mt19937_64 random_;
  const uint64_t num_blocks_;
  const int num_clients_;
  const Flaw flaw_;
  ContentId last_id_ = 0;
  std::map<uint64_t, Held> blocks_;  // none is empty
  std::vector<uint64_t> unflushed_;
  std::map<int, History::Position> owed_;  // clients that are to be told of a loss, and of when
  std::vector<Running> in_flight_, late_;
};

TEST(HistoryCheckerModelTest, AcceptsWhatARightDeviceDoes) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    for (const bool does_crash : {false, true}) {
      ModelDevice device(seed, 24, 8);
      device.run(10'000, does_crash);
      const HistoryVerdict verdict = judge(device.history);
      ASSERT_TRUE(verdict.is_clean()) << "seed " << seed << '\n' << verdict.to_string();
    }
  }
}

TEST(HistoryCheckerModelTest, FindsEveryDeviceWithAFlaw) {
  for (const Flaw flaw : {Flaw::kSkipsWrites, Flaw::kForgetsToFlush, Flaw::kForgetsToTell}) {
    for (uint64_t seed = 1; seed <= 10; ++seed) {
      ModelDevice device(seed, 24, 4, flaw);
      device.run(10'000, true);
      EXPECT_FALSE(judge(device.history).is_clean()) << seed << ", " << static_cast<int>(flaw);
    }
  }
}

TEST(HistoryCheckerModelTest, JudgesAMillionEventsInSeconds) {
  ModelDevice device(1, 20'000, 32);
  device.run(1'000'000, false);
  const HistoryVerdict verdict = judge(device.history);
  EXPECT_TRUE(verdict.is_clean()) << verdict.to_string();
}

}  // namespace
}  // namespace lunar::test
