// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/sim/sim_gateway.h"

#include <cstring>
#include <utility>

#include "common/check.h"
#include "objecter/protocol/types.h"

namespace lunar::sim {
namespace {

using namespace std::chrono_literals;
using objecter::OsdErrc;

void fill(Bytes block, uint64_t id) {
  for (std::size_t i = 0; i < block.size(); i += sizeof id) {
    const uint64_t word = id == 0 ? 0 : id * 0x9e3779b97f4a7c15U + i;
    std::memcpy(block.data() + i, i == 0 ? &id : &word, sizeof id);
  }
}

uint64_t id_of(ConstBytes block) {
  uint64_t id = 0;
  std::memcpy(&id, block.data(), sizeof id);
  std::vector<std::byte> whole(block.size());
  fill(whole, id);
  return std::memcmp(whole.data(), block.data(), block.size()) == 0 ? id : test::kDamagedContent;
}

// Memory of a command, and what becomes of it. Owns itself: until the command has ended.
struct Command {
  HistoryOp record;
  std::vector<std::byte> data, compare;
  msgr::RegisteredBuffer lease;
  test::History::Handle handle = 0;
  std::function<void(HistoryOutcome)> on_end;
};

HistoryOutcome end_of(const HistoryOp& record, std::error_code error) {
  if (!error) return HistoryOutcome::kGood;
  if (error == OsdErrc::kLostWrites) return HistoryOutcome::kReportedLost;
  if (error == OsdErrc::kMiscompare) return HistoryOutcome::kMiscompare;
  if (record.command == HistoryCommand::kRead || record.command == HistoryCommand::kFlush)
    return HistoryOutcome::kFailed;
  return error == OsdErrc::kInvalid || error == OsdErrc::kReadOnly ? HistoryOutcome::kFailed
                                                                   : HistoryOutcome::kUnknown;
}

}  // namespace

SimGateway::SimGateway(const Place& place, int client, const Workload& workload)
    : place_(place),
      client_(client),
      instance_("gateway." + std::to_string(client)),
      workload_(workload),
      last_read_(workload.image_blocks) {}

void SimGateway::start() {
  if (life_ != nullptr) return;
  msgr::LoopbackOptions network;
  network.one_sided = true;
  life_ = new Life(place_, instance_, network);
  Life& life = *life_;
  life.process.loop.wall_offset = wall_offset_;
  std::string mon_host;
  for (const msgr::Address& server : place_.servers) {
    mon_host += (mon_host.empty() ? "" : ",") + server.to_string();
  }
  for (const auto& [name, value] : {std::pair<const char*, std::string>{"mon_host", mon_host},
                                    {"auth_client_required", "none"},
                                    {"lunar_one_sided_threshold", "8192"},
                                    {"objecter_op_timeout", "10s"}}) {
    const auto set = life.config.set(name, value);
    LUNAR_CHECK(set, "an option of the simulation");
  }
  auto client = gateway::Client::create(life.config, {instance_, 0},
                                        std::make_unique<BorrowedStack>(life.process.stack),
                                        life.process.center(), life.perf);
  LUNAR_CHECK(client, "a client can be made");
  life.client = std::move(*client);
  open(life);
}

void SimGateway::open(Life& life) {
  const auto again = [this, &life](const std::string& why) {
    last_error_ = why;
    if (life_ == &life) life.process.center().run_after(1s, [this, &life] { open(life); });
  };
  life.client->objecter().wait_for_map(20s, [this, &life, again](Outcome<objecter::OsdMapRef> map) {
    if (!map) return again(map.error().message);
    gateway::Image::open(*life.client, {"lunar", "disk"}, {},
                         [this, &life, again](Outcome<std::shared_ptr<gateway::Image>> image) {
                           if (!image) return again(image.error().message);
                           life.image = std::move(*image);
                           for (unsigned i = 0; i < workload_.workers; ++i) work(life);
                         });
  });
}

void SimGateway::kill() {
  if (life_ == nullptr) return;
  Life& life = *std::exchange(life_, nullptr);
  life.process.kill();
  place_.history.client_died(client_);
}

void SimGateway::restart_after(Duration delay) {
  if (std::exchange(is_restart_due_, true)) return;
  place_.host.after(delay, [this] {
    is_restart_due_ = false;
    start();
  });
}

void SimGateway::pause(bool is_paused) {
  if (life_ != nullptr) place_.host.pause(life_->process.loop, is_paused);
}

bool SimGateway::is_idle() const noexcept { return life_ == nullptr || life_->in_flight == 0; }

// --- commands ---

HistoryOp SimGateway::choose() {
  SimHost& host = place_.host;
  HistoryOp record;
  record.num_blocks = static_cast<uint32_t>(1 + host.below(workload_.most_blocks));
  record.lba = host.below(workload_.image_blocks - record.num_blocks + 1);
  const uint64_t dice = host.below(100);
  if (dice < 35) {
    record.command = HistoryCommand::kRead;
  } else if (dice < 70) {
    record.command = HistoryCommand::kWrite;
    record.fua = host.below(6) == 0;
  } else if (dice < 82) {
    record.command = HistoryCommand::kFlush;
    record.lba = 0;
    record.num_blocks = 0;
  } else if (dice < 87) {
    record.command = HistoryCommand::kDiscard;
    if (host.below(2) == 0) {  // an object, whole
      record.num_blocks = static_cast<uint32_t>(workload_.object_blocks);
      record.lba -= record.lba % workload_.object_blocks;
    }
  } else if (dice < 91) {
    record.command = HistoryCommand::kWriteZeroes;
  } else {
    record.command = HistoryCommand::kCompareAndWrite;
    record.num_blocks = 1;
    record.compared = {last_read_[record.lba]};
  }
  if (record.command == HistoryCommand::kWrite ||
      record.command == HistoryCommand::kCompareAndWrite) {
    for (uint64_t i = 0; i < record.num_blocks; ++i) record.ids.push_back(place_.next_id());
  }
  return record;
}

void SimGateway::work(Life& life) {
  const auto later = place_.host.between(1ms, workload_.longest_pause);
  life.process.center().run_after(later, [this, &life] {
    if (life_ != &life || !is_working_) return;
    command(choose(), [this, &life](HistoryOutcome) { work(life); });
  });
}

void SimGateway::command(const HistoryOp& record, std::function<void(HistoryOutcome)> on_end) {
  Life& life = *life_;
  ++commands_;
  ++life.in_flight;
  auto* const command = new Command{record, {}, {}, {}, 0, std::move(on_end)};
  const std::size_t bytes = record.num_blocks * kBlock;
  const uint64_t offset = record.lba * kBlock;
  gateway::IoOptions options;
  options.fua = record.fua;
  Bytes memory;
  if (bytes > 0 && place_.host.below(2) == 0) {
    command->lease = life.client->front_end_buffers().allocate(bytes);
    if (command->lease) {
      memory = command->lease.bytes().subspan(0, bytes);
      options.memory = &command->lease;
    }
  }
  if (memory.empty()) {
    command->data.resize(bytes);
    memory = command->data;
  }
  for (uint64_t i = 0; i < record.num_blocks; ++i) {
    fill(memory.subspan(i * kBlock, kBlock), record.ids.empty() ? 77 : record.ids[i]);
  }
  for (const uint64_t id : record.compared) {
    command->compare.resize(command->compare.size() + kBlock);
    fill(Bytes(command->compare).last(kBlock), id);
  }
  command->handle = place_.history.invoke(client_, record);
  auto done = [this, &life, command, memory](const gateway::IoResult& result) {
    const std::unique_ptr<Command> owned(command);
    const HistoryOutcome how = end_of(command->record, result.error);
    std::vector<uint64_t> ids;
    if (command->record.command == HistoryCommand::kRead && how == HistoryOutcome::kGood) {
      for (uint64_t i = 0; i < command->record.num_blocks; ++i) {
        ids.push_back(id_of(memory.subspan(i * kBlock, kBlock)));
        last_read_[command->record.lba + i] = ids.back();
        place_.host.mix(ids.back());
      }
    }
    place_.host.mix(static_cast<uint64_t>(how));
    if (result.error) last_error_ = result.error.message();
    place_.history.complete(command->handle, how, ids);
    --life.in_flight;
    command->on_end(how);
  };
  gateway::Image& image = *life.image;
  switch (record.command) {
    case HistoryCommand::kRead:
      return image.read(offset, memory, options, std::move(done));
    case HistoryCommand::kWrite:
      return image.write(offset, memory, options, std::move(done));
    case HistoryCommand::kFlush:
      return image.flush(options, std::move(done));
    case HistoryCommand::kDiscard:
      return image.discard(offset, bytes, options, std::move(done));
    case HistoryCommand::kWriteZeroes:
      return image.write_zeroes(offset, bytes, options, std::move(done));
    case HistoryCommand::kCompareAndWrite:
      return image.compare_and_write(offset, command->compare, memory, options, std::move(done));
    case HistoryCommand::kWriteSame:
    case HistoryCommand::kOrwrite:
      LUNAR_CHECK(false, "not of this workload");
  }
}

}  // namespace lunar::sim
