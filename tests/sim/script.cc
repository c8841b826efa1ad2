// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/sim/script.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <sstream>

namespace lunar::sim {
namespace {

using namespace std::chrono_literals;

constexpr std::array<const char*, Fault::kKinds> kFaultNames = {
    "kill-server",     "cut-power",        "pause-server",      "kill-gateway",
    "pause-gateway",   "cut-server-links", "cut-gateway-links", "silence-server",
    "silence-gateway", "flaky-server",     "fail-sync",         "fail-open",
    "fail-unlink",     "fail-rename",      "fail-write",        "short-write",
    "full-disk",       "slow-disk",        "turn-back-clock",   "new-store",
    "old-copy",        "reopen",           "lose-authority",    "resize",
    "rename",          "make-image",       "remove-image",      "unregister",
    "repair",          "back-up-map",      "restore-map"};

constexpr uint64_t kOperatorKinds = Fault::kKinds - static_cast<uint64_t>(Fault::Kind::kResize);

bool is_of_gateway(Fault::Kind kind) {
  switch (kind) {
    case Fault::Kind::kKillGateway:
    case Fault::Kind::kPauseGateway:
    case Fault::Kind::kCutGatewayLinks:
    case Fault::Kind::kSilenceGateway:
    case Fault::Kind::kTurnBackClock:
    case Fault::Kind::kReopen:
    case Fault::Kind::kUnregister:
      return true;
    default:
      return false;
  }
}

int64_t in_ms(Duration duration) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(duration).count();
}

}  // namespace

std::string Fault::to_string() const {
  return fmt::format("{} {} {} {} {}", in_ms(at), kFaultNames[static_cast<std::size_t>(kind)],
                     target, in_ms(length), count);
}

std::optional<Fault> Fault::parse(const std::string& line) {
  std::istringstream words(line);
  int64_t at_ms = 0;
  int64_t length_ms = 0;
  std::string name;
  Fault fault;
  if (!(words >> at_ms >> name >> fault.target >> length_ms >> fault.count)) return std::nullopt;
  const auto found = std::find(kFaultNames.begin(), kFaultNames.end(), name);
  if (found == kFaultNames.end()) return std::nullopt;
  fault.at = std::chrono::milliseconds(at_ms);
  fault.length = std::chrono::milliseconds(length_ms);
  fault.kind = static_cast<Kind>(found - kFaultNames.begin());
  return fault;
}

Outcome<Script> read_script(const std::string& path) {
  std::ifstream file(path);
  if (!file) return failure(std::errc::io_error, "cannot read the script " + path);
  Script script;
  for (std::string line; std::getline(file, line);) {
    if (line.empty() || line[0] == '#') continue;
    const auto fault = Fault::parse(line);
    if (!fault) return failure(std::errc::invalid_argument, "no fault: " + line);
    script.push_back(*fault);
  }
  return script;
}

Script make_script(RandomEngine& random, Duration length, unsigned servers, unsigned gateways) {
  const auto below = [&](uint64_t limit) { return random() % limit; };
  const auto milliseconds = [&](uint64_t low, uint64_t high) {
    return std::chrono::milliseconds(low + below(high - low + 1));
  };
  // Some runs have few kinds of faults, some all: what is rare together is often seen alone.
  std::array<bool, Fault::kKinds> is_used{};
  const uint64_t share = 1 + below(4);
  for (bool& each : is_used) each = below(4) < share;
  std::vector<Fault::Kind> kinds;
  for (std::size_t kind = 0; kind < is_used.size(); ++kind) {
    if (is_used[kind]) kinds.push_back(static_cast<Fault::Kind>(kind));
  }
  if (kinds.empty()) kinds.push_back(static_cast<Fault::Kind>(below(Fault::kKinds)));
  Script script;
  const uint64_t faults = 2 + below(14);
  const auto all = static_cast<uint64_t>(in_ms(length));
  for (uint64_t i = 0; i < faults; ++i) {
    Fault fault;
    fault.kind = kinds[below(kinds.size())];
    fault.at = milliseconds(0, all);
    fault.target = static_cast<unsigned>(below(is_of_gateway(fault.kind) ? gateways : servers));
    // Faults that meet do the harm: half of them strike near the begin or the end of the one
    // before.
    if (!script.empty() && below(2) == 0) {
      const Fault& before = script.back();
      const Duration near = before.at + (below(2) == 0 ? before.length : Duration());
      fault.at = std::min(near + milliseconds(0, below(2) == 0 ? 50 : 1500), Duration(length));
      if (is_of_gateway(fault.kind) == is_of_gateway(before.kind)) fault.target = before.target;
    }
    // A copy of the authority's own store is found out by nobody: docs/durability.md.
    const bool swaps = fault.kind == Fault::Kind::kNewStore || fault.kind == Fault::Kind::kOldCopy;
    if (swaps && fault.target == 0) fault.target = 1;
    if (fault.kind == Fault::Kind::kLoseAuthority) fault.target = 0;
    fault.length = below(3) == 0 ? milliseconds(5000, 40000) : milliseconds(10, 5000);
    fault.count = 1 + static_cast<unsigned>(below(below(2) == 0 ? 3 : 40));
    script.push_back(fault);
  }
  // An operator at work all the time, who is killed in the middle of every second command.
  const uint64_t commands = below(3) == 0 ? 5 + below(25) : 0;
  for (uint64_t i = 0; i < commands; ++i) {
    Fault command;
    command.kind = static_cast<Fault::Kind>(static_cast<uint64_t>(Fault::Kind::kResize) +
                                            below(kOperatorKinds));
    command.at = milliseconds(0, all);
    if (i > 0 && below(2) == 0) command.at = script.back().at + milliseconds(0, 20);
    command.target = static_cast<unsigned>(below(gateways));
    command.length = below(2) == 0 ? milliseconds(1, 20) : milliseconds(1000, 60000);
    command.count = static_cast<unsigned>(below(12));
    script.push_back(command);
  }
  std::sort(script.begin(), script.end(),
            [](const Fault& a, const Fault& b) { return a.at < b.at; });
  return script;
}

}  // namespace lunar::sim
