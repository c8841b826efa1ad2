// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/sim/sim_gateway.h"

#include <fmt/core.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "bstore_plugin/scsi/scsi_command.h"
#include "gateway/splitter.h"
#include "objecter/protocol/image_objects.h"
#include "objecter/protocol/placement.h"
#include "objecter/protocol/types.h"
#include "tests/sim/sim_operator.h"

namespace lunar::sim {
namespace {

using namespace std::chrono_literals;
using objecter::OsdErrc;

constexpr unsigned kRepeats = 5;  // of Linux's sd
constexpr Duration kRepeatPause = 100ms;
constexpr Duration kImpatience = 3s;  // after which some commands are aborted

}  // namespace

// A command of the initiator, over all times that it is sent. Freed when it has ended; left behind
// with a life that was killed.
struct SimGateway::Command {
  SimGateway& gateway;
  Life& life;
  HistoryOp op;
  ScsiRequest request{};
  std::vector<std::byte> plain{};  // the data, if it is not in a buffer of the client's
  Bytes data{};
  test::History::Handle handle = 0;
  std::function<void(HistoryOutcome)> on_end{};
  bool is_impatient = false;
  bool has_lock = false;  // its gateway, when it began
  bool is_aborted = false;
  unsigned sent = 0;
  std::shared_ptr<gateway::Image> image{};  // that it was sent to
  msgr::TimerId timer = msgr::TimerId::kNone;
};

SimGateway::SimGateway(const Place& place, int client, const Workload& workload)
    : place_(place),
      client_(client),
      instance_("gateway." + std::to_string(client)),
      workload_(workload),
      last_read_(workload.image_blocks) {}

void SimGateway::start() {
  if (life_ != nullptr || is_retired_) return;
  msgr::LoopbackOptions network;
  network.one_sided = true;
  life_ = new Life({place_.host, place_.wire, place_.servers}, instance_, network);
  Life& life = *life_;
  life.process.loop.wall_offset = wall_offset_;
  life.start({{"lunar_one_sided_threshold", "8192"}});
  life.buffers.emplace(life.client->front_end_buffers(), life.perf);
  life.commands.emplace(
      bstore_plugin::CommandPlace{scsi_host(), life.process.center(), *life.client, &*life.buffers},
      life);
  open(life);
}

void SimGateway::open(Life& life) {
  const auto again = [this, &life](const std::string& why) {
    last_error_ = why;
    if (life_ == &life) life.process.center().run_after(1s, [this, &life] { open(life); });
  };
  life.client->objecter().wait_for_map(20s, [this, &life, again](Outcome<objecter::OsdMapRef> map) {
    if (!map) return again(map.error().message);
    gateway::Image::open(*life.client, {kPool, kNames[has_other_name_ ? 1 : 0]},
                         {.lock = choose_lock()},
                         [this, &life, again](Outcome<std::shared_ptr<gateway::Image>> image) {
                           if (!image) {
                             if (image.error().code == OsdErrc::kNoSuchObject)
                               has_other_name_ = !has_other_name_;
                             return again(image.error().message);
                           }
                           take_image(life, std::move(*image));
                           on_open(life);
                         });
  });
}

gateway::OpenLock SimGateway::choose_lock() {
  if (!workload_.is_exclusive) return gateway::OpenLock::kShared;
  const bool takes_over = place_.host.below(20) == 0;
  return takes_over ? gateway::OpenLock::kTakeover : gateway::OpenLock::kExclusive;
}

void SimGateway::take_image(Life& life, std::shared_ptr<gateway::Image> image) {
  if (life.reach != nullptr) life.reach->end();
  life.reach = std::make_shared<bstore_plugin::Reach>(image);
  life.cached = std::make_shared<bstore_plugin::CachedWrites>();
  life.image = std::move(image);
}

// What the gateway before has sent has been carried out by now, or never will be.
void SimGateway::on_open(Life& life) {
  if (workload_.is_exclusive) {
    set_time();
    place_.owner = client_;
    for (int each = 1; each <= workload_.gateways; ++each) {
      if (each != client_) place_.history.close_windows(each, instance_ + " has the lock");
    }
  }
  for (unsigned i = 0; i < workload_.workers; ++i) work(life);
}

void SimGateway::reopen() {
  if (!has_image()) return;
  Life& life = *life_;
  gateway::Image::open(*life.client, {kPool, kNames[has_other_name_ ? 1 : 0]},
                       {.lock = choose_lock()},
                       [this, &life](Outcome<std::shared_ptr<gateway::Image>> image) {
                         if (!image) {
                           last_error_ = image.error().message;
                           return;
                         }
                         const auto before = life.image;
                         take_image(life, std::move(*image));
                         before->close([](Outcome<void>) {});
                       });
}

// Somebody else has the image. A tgtd is started again by whoever looks after it.
void SimGateway::on_fenced(Life& life) {
  if (life_ != &life || is_restart_due_) return;
  life.process.center().run_after(1s, [this, &life] {
    if (life_ != &life) return;
    kill();
    restart_after(1s);
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

objecter::OsdId SimGateway::server_of(uint64_t block) const {
  const gateway::Image& image = *life_->image;
  const uint64_t object_no =
      gateway::ExtentCursor(image.layout(), block * kBlock, kBlock).next().object_no;
  const objecter::OsdMapRef map = life_->client->objecter().map();
  const objecter::PoolInfo& pool = *map->find_pool(image.pool());
  return objecter::osd_of_pg(
      pool, objecter::pg_of_object(pool, objecter::data_object_name(image.id(), object_no)));
}

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
  } else if (dice < 90) {
    record.command = HistoryCommand::kWriteZeroes;
  } else if (dice < 92) {
    record.command = HistoryCommand::kWriteSame;
    record.ids = {place_.next_id()};
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

void SimGateway::command(const HistoryOp& op, std::function<void(HistoryOutcome)> on_end) {
  Life& life = *life_;
  ++commands_;
  ++life.in_flight;
  auto* const command = new Command{.gateway = *this, .life = life, .op = op};
  command->on_end = std::move(on_end);
  command->is_impatient = place_.host.below(4) == 0;
  command->has_lock = !workload_.is_exclusive || place_.owner == client_;
  command->request = request_of(op, place_.host.random()());
  const ScsiRequest& request = command->request;
  const std::size_t bytes = request.data_out.size() + request.data_in_bytes;
  void* const registered =
      bytes > 0 && place_.host.below(2) == 0 ? life.buffers->allocate(bytes) : nullptr;
  if (registered == nullptr) command->plain.resize(bytes);
  command->data = registered == nullptr ? Bytes(command->plain)
                                        : Bytes(static_cast<std::byte*>(registered), bytes);
  std::copy(request.data_out.begin(), request.data_out.end(), command->data.begin());
  set_time();
  command->handle = place_.history.invoke(client_, op);
  send(life, *command);
}

void SimGateway::set_time() {
  place_.history.set_time(std::chrono::nanoseconds(place_.host.elapsed()).count());
}

const lunar_host& SimGateway::scsi_host() {
  static const lunar_host host = [] {
    lunar_host made{};
    made.complete = [](void* handle, const lunar_scsi_result* result) {
      auto& command = *static_cast<Command*>(handle);
      command.gateway.on_done(command.life, command, *result);
    };
    made.is_aborted = [](const void* handle) {
      return static_cast<const Command*>(handle)->is_aborted ? 1 : 0;
    };
    return made;
  }();
  return host;
}

void SimGateway::send(Life& life, Command& command) {
  if (++command.sent > 1) place_.history.send_again(command.handle);
  command.is_aborted = false;
  command.image = life.image;
  if (command.is_impatient) {
    command.timer = life.process.center().run_after(kImpatience, [&command] {
      command.timer = msgr::TimerId::kNone;
      command.is_aborted = true;
    });
  }
  bstore_plugin::LunLimits limits;
  limits.block_shift = __builtin_ctz(kBlock);
  limits.max_compare_and_write_bytes = kBlock;
  limits.max_unmap_bytes = limits.max_write_same_bytes = workload_.image_blocks * kBlock;
  const auto bytes = static_cast<uint32_t>(command.data.size());
  lunar_scsi_command scsi{};
  scsi.handle = &command;
  scsi.cdb = command.request.cdb.data();
  scsi.cdb_bytes = static_cast<uint32_t>(command.request.cdb.size());
  if (command.request.data_in_bytes > 0) {
    scsi.data_in = command.data.data();
    scsi.data_in_bytes = bytes;
  } else {
    scsi.data_out = command.data.data();
    scsi.data_out_bytes = bytes;
  }
  scsi.is_thin = 1;
  bstore_plugin::ScsiCommand::start(*life.commands, life.image, life.reach, life.cached, limits,
                                    scsi);
}

void SimGateway::on_done(Life& life, Command& command, const lunar_scsi_result& result) {
  life.process.center().cancel(std::exchange(command.timer, msgr::TimerId::kNone));
  if (result.status != 0) {
    last_error_ = fmt::format("status {:02x} sense {:x}/{:04x}", result.status, result.sense_key,
                              result.asc_ascq);
  }
  const std::optional<HistoryOutcome> outcome =
      outcome_of(command.op, result, command.is_aborted, command.sent > kRepeats);
  if (!outcome) {
    life.process.center().run_after(kRepeatPause, [this, &life, &command] { send(life, command); });
    return;
  }
  std::vector<test::ContentId> ids;
  if (command.op.command == HistoryCommand::kRead && *outcome == HistoryOutcome::kGood) {
    for (uint64_t i = 0; i < command.op.num_blocks; ++i) {
      ids.push_back(content_of(command.data.subspan(i * kBlock, kBlock)));
      last_read_[command.op.lba + i] = ids.back();
      place_.host.mix(ids.back());
    }
  }
  place_.host.mix(static_cast<uint64_t>(*outcome));
  if (*outcome == HistoryOutcome::kGood && !command.has_lock) {
    place_.wrong("served after another gateway had the lock: " +
                 test::describe(place_.history, command.handle));
  }
  set_time();
  place_.history.complete(command.handle, *outcome, ids);
  --life.in_flight;
  const bool may_be_fenced = workload_.is_exclusive || workload_.may_be_fenced;
  if (command.image->readiness() == OsdErrc::kFenced && may_be_fenced) on_fenced(life);
  if (command.plain.empty() && !command.data.empty()) life.buffers->release(command.data.data());
  const std::unique_ptr<Command> owned(&command);
  command.on_end(*outcome);
}

}  // namespace lunar::sim
