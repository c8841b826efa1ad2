// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "msgr/loopback/loopback_stack.h"
#include "tests/sim/sim_host.h"

namespace lunar::sim {

// What happens to what one process sends: by chance, and by what a script says.
class SimNetwork final : public msgr::LoopbackInjector {
 public:
  explicit SimNetwork(SimHost& host) : host_(host) {}

  double delays = 0.1;  // share of sends that arrive later
  Duration longest_delay = std::chrono::microseconds(300);
  double cuts = 0;           // share of sends that break their link
  TimePoint silent_until{};  // nothing arrives before, in either direction
  bool is_cut = false;       // no link stays, none is made
  void heal() noexcept {
    cuts = 0;
    silent_until = {};
    is_cut = false;
  }

  Verdict on_connect(const msgr::Address&) override { return step(); }
  Verdict on_accept(const msgr::Address&) override { return step(); }
  Verdict on_send(const msgr::Address&, std::size_t) override { return step(); }
  Verdict on_receive(const msgr::Address&, std::size_t) override;

 private:
  Verdict step();
  SimHost& host_;
};

// One life of a simulated process: its loop and its network. It is never destroyed but left behind,
// as nothing of it may run when it was killed.
struct SimProcess {
  SimProcess(SimHost& host, const std::string& name, const msgr::LoopbackOptions& network_options,
             const msgr::LoopbackStack& wire);
  void kill();  // links break, as the kernel would do it
  msgr::EventCenter& center() noexcept { return *loop.center; }

  SimHost& host;
  SimLoop& loop;
  SimNetwork network;
  msgr::LoopbackStack stack;
};

}  // namespace lunar::sim
