// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <memory>
#include <string>

#include "common/perf_counters.h"
#include "common/uuid.h"
#include "osd/server/osd_server.h"
#include "osd/store/file_store.h"
#include "tests/sim/sim_disk.h"
#include "tests/sim/sim_process.h"

namespace lunar::sim {

// A lunar-osd on a disk of its own, started again some time after it ended, as systemd does it.
class SimServer {
 public:
  struct Place {
    SimHost& host;
    const msgr::LoopbackStack& wire;
    std::string folder;
    Uuid fsid;
  };
  // osd.0 makes the map.
  SimServer(const Place& place, osd::OsdId id);

  // --mkfs, and for osd.0 --mkmap. Outside of any loop's turn.
  void make_store();
  void start();
  void kill();       // kill -9
  void cut_power();  // kill, and the disk loses what it may lose
  // Another store in the place of its own: one just made, or what disk().copy() kept.
  void stop_and_swap(bool is_copy);
  void swap_back();
  // Its disk is lost, and it gets a new one, with a new store. Outside of any loop's turn.
  void lose_store();
  void restart_after(Duration delay);
  void pause(bool is_paused);  // SIGSTOP, SIGCONT
  bool is_running() const noexcept { return life_ != nullptr; }
  bool is_ready() const noexcept { return life_ != nullptr && life_->is_ready; }
  // Whether it knows of no server that is down; REQUIRES: is_ready().
  bool sees_all_up() const noexcept;

  SimDisk& disk() noexcept { return disk_; }
  SimNetwork* network() noexcept { return life_ == nullptr ? nullptr : &life_->process.network; }
  osd::OsdId id() const noexcept { return id_; }
  msgr::Address address() const { return address_of(id_); }
  static msgr::Address address_of(osd::OsdId id) {
    return msgr::Address::loopback(static_cast<uint16_t>(6800 + id));
  }
  // Why it ended by itself the last time; empty if it did not.
  const std::string& last_exit() const noexcept { return last_exit_; }
  // The same of an end on a full disk, on which it has to start and to serve.
  const std::string& exit_for_space() const noexcept { return exit_for_space_; }
  unsigned starts() const noexcept { return starts_; }

 private:
  struct Life {
    Life(const Place& place, const std::string& name, const msgr::LoopbackOptions& network)
        : process(place.host, name, network, place.wire) {}
    SimProcess process;
    PerfRegistry perf;
    std::unique_ptr<osd::ObjectStore> store;
    std::unique_ptr<osd::OsdServer> server;
    bool is_ready = false;
    bool is_over = false;
  };
  void exit(Life& life, const std::string& why);
  bool record_first_map();  // false: the disk failed

  const Place place_;
  const osd::OsdId id_;
  SimDisk disk_;
  Life* life_ = nullptr;  // left behind when it ends
  std::string last_exit_;
  std::string exit_for_space_;
  unsigned starts_ = 0;
  bool is_restart_due_ = false;
  bool is_making_ = false;  // its store is being made, by another process
};

}  // namespace lunar::sim
