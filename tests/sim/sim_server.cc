// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/sim/sim_server.h"

#include <fmt/core.h>

#include <algorithm>
#include <cerrno>
#include <utility>
#include <vector>

#include "common/check.h"
#include "common/log.h"
#include "objecter/protocol/control.h"
#include "osd/map/map_authority.h"

namespace lunar::sim {

using namespace std::chrono_literals;

namespace {
constexpr uint64_t kReserveBytes = 512 << 10;
}  // namespace

SimServer::SimServer(const Place& place, osd::OsdId id)
    : place_(place), id_(id), disk_(place.host, place.folder + "/osd." + std::to_string(id)) {}

void SimServer::make_store() {
  is_making_ = true;
  for (;;) {
    const auto made = osd::make_file_store(disk_.path(), place_.fsid, id_, &disk_);
    LUNAR_CHECK(made, "a store in an empty folder");
    if (id_ != 0 || record_first_map()) break;
    disk_.replace();  // a fault struck meanwhile
  }
  disk_.sync_file_system(-1);
  is_making_ = false;
}

bool SimServer::record_first_map() {
  SimProcess* const process = new SimProcess(place_.host, "mkmap", {}, place_.wire);
  osd::FileStoreOptions options;
  options.path = disk_.path();
  options.io = osd::FileStoreOptions::Io::kThreads;
  options.threads = 0;
  options.reserve_bytes = kReserveBytes;
  auto store = osd::open_file_store(process->center(), process->stack.buffers(), options, &disk_);
  LUNAR_CHECK(store, "a store that was just made opens");
  std::vector<std::byte> record;
  objecter::encode(osd::make_first_map(place_.fsid, id_, (*store)->identity().store), record);
  bool is_closed = false;
  bool is_written = false;
  (*store)->put_record(osd::kMapRecord, std::move(record), [&](std::error_code error) {
    is_written = !error;
    (*store)->shutdown([&] { is_closed = true; });
  });
  LUNAR_CHECK(place_.host.run([&] { return is_closed; }, TimePoint::max()), "mkmap ends");
  process->kill();
  disk_.close_files();
  return is_written;
}

void SimServer::start() {
  if (life_ != nullptr) return;
  if (is_making_) return restart_after(10ms);  // time passes while that is done
  ++starts_;
  msgr::LoopbackOptions network;
  network.one_sided = true;
  life_ = new Life(place_, fmt::format("osd.{}", id_), network);
  Life& life = *life_;
  osd::FileStoreOptions options;
  options.path = disk_.path();
  options.fsid = place_.fsid;
  options.osd = id_;
  options.io = osd::FileStoreOptions::Io::kThreads;
  options.threads = 0;
  options.reserve_bytes = kReserveBytes;
  auto store =
      osd::open_file_store(life.process.center(), life.process.stack.buffers(), options, &disk_);
  if (!store) return exit(life, store.error().message);
  life.store = std::move(*store);
  osd::OsdServerOptions server_options;
  server_options.auth_required = false;
  server_options.bootstrap = {address_of(0), address_of(1), address_of(2)};
  auto server = osd::OsdServer::create(life.process.center(), *life.store,
                                       std::move(server_options), life.perf);
  if (!server) return exit(life, server.error().message);
  life.server = std::move(*server);
  life.server->set_on_refused([this, &life](const Error& error) { exit(life, error.message); });
  msgr::MessengerOptions messenger;
  messenger.auth_required = false;
  messenger.entity = fmt::format("osd.{}", id_);
  messenger.instance = messenger.entity;
  life.server->start(life.process.stack, messenger, nullptr, {{address()}, {}},
                     [this, &life](Outcome<msgr::Address> ready) {
                       life.is_ready = ready.has_value();
                       if (!ready) exit(life, ready.error().message);
                     });
}

// Ends by itself. It may be in the middle of a call of the server.
void SimServer::exit(Life& life, const std::string& why) {
  if (std::exchange(life.is_over, true)) return;
  last_exit_ = why;
  // A store that was made on a full disk has no reserve.
  if (disk_.is_full() && !disk_.is_swapped() &&
      why.find(system_error(ENOSPC).message()) != std::string::npos) {
    exit_for_space_ = why;
  }
  LUNAR_LOG(kOsd, 1, "osd.{} exits: {}", id_, why);
  place_.host.after(1ms, [this, &life] {
    if (life_ == &life) kill();
  });
  restart_after(2s);
}

bool SimServer::sees_all_up() const noexcept {
  const std::vector<objecter::OsdInfo>& osds = life_->server->map()->osds;
  return std::all_of(osds.begin(), osds.end(), [](const objecter::OsdInfo& osd) { return osd.up; });
}

void SimServer::kill() {
  if (life_ == nullptr) return;
  Life& life = *std::exchange(life_, nullptr);
  life.is_over = true;
  life.process.kill();
  disk_.close_files();
}

void SimServer::cut_power() {
  kill();
  disk_.cut_power();
}

void SimServer::stop_and_swap(bool is_copy) {
  kill();
  disk_.swap_in(is_copy);
  if (is_copy) return;
  const auto made = osd::make_file_store(disk_.path(), place_.fsid, id_, &disk_);
  if (!made) disk_.swap_back();  // a disk that is full, or fails
}

void SimServer::swap_back() {
  kill();
  disk_.swap_back();
}

void SimServer::lose_store() {
  if (is_making_) return;
  kill();
  disk_.replace();
  make_store();
}

void SimServer::restart_after(Duration delay) {
  if (std::exchange(is_restart_due_, true)) return;
  place_.host.after(delay, [this] {
    is_restart_due_ = false;
    start();
  });
}

void SimServer::pause(bool is_paused) {
  if (life_ != nullptr) place_.host.pause(life_->process.loop, is_paused);
}

}  // namespace lunar::sim
