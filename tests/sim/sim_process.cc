// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/sim/sim_process.h"

#include <algorithm>
#include <cerrno>

#include "common/result.h"

namespace lunar::sim {
namespace {

msgr::LoopbackOptions with_injector(msgr::LoopbackOptions options,
                                    msgr::LoopbackInjector& network) {
  options.injector = &network;
  return options;
}

}  // namespace

SimNetwork::Verdict SimNetwork::step() {
  Verdict verdict;
  if (is_cut) {
    verdict.fail = system_error(ECONNRESET);
  } else if (silent_until > host_.now()) {
    verdict.delay = silent_until - host_.now();
  } else if (chance(host_.random(), cuts)) {
    verdict.fail = system_error(ECONNRESET);
    verdict.limit = host_.below(300);
  } else if (chance(host_.random(), delays)) {
    verdict.delay = host_.between(std::chrono::microseconds(1), longest_delay);
  }
  return verdict;
}

SimNetwork::Verdict SimNetwork::on_receive(const msgr::Address&, std::size_t) {
  Verdict verdict;
  if (is_cut) verdict.fail = system_error(ECONNRESET);
  if (silent_until > host_.now()) verdict.delay = silent_until - host_.now();
  return verdict;
}

SimProcess::SimProcess(SimHost& h, const std::string& name,
                       const msgr::LoopbackOptions& network_options,
                       const msgr::LoopbackStack& wire)
    : host(h),
      loop(h.make_loop(name)),
      network(h),
      stack(with_injector(network_options, network), wire) {}

void SimProcess::kill() {
  host.kill(loop);
  stack.kill();
}

}  // namespace lunar::sim
