// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "common/config.h"
#include "common/perf_counters.h"
#include "common/result.h"
#include "common/unique_function.h"
#include "gateway/client.h"
#include "gateway/start_nonce.h"
#include "msgr/event_center.h"
#include "msgr/keyring_watch.h"

namespace lunar::bstore_plugin {

// Makes the client of a gateway as soon as its cluster answers: which nonce it takes depends on
// the starts that the servers know, which a client of another instance asks them for. Nobody waits
// for that but whoever calls wait().
//
// Loop-bound to the center, and reads no file there: the keyring was read before, is looked at on a
// thread of its own, and is that of all clients made here. Borrows config, center and registry,
// which outlive it. Never destroyed once create() has succeeded: it may be asking.
class ClientStart {
 public:
  // Begins to look for the cluster. `on_client` runs once, on the center, when the client is there.
  // Errors are those of Client::create(), and that of the keyring if one is needed.
  static Outcome<std::unique_ptr<ClientStart>> create(
      const Config& config, const std::string& instance, msgr::KeyringWatch::Reading keyring,
      msgr::EventCenter& center, PerfRegistry& perf,
      UniqueFunction<void(std::unique_ptr<gateway::Client>)> on_client);

  // `done` runs once, later: with success when the client is there; or with the error of
  // Objecter::wait_for_map() when there is no map after `patience`, or that of Client::create().
  // Trying goes on for whoever waits next.
  void wait(std::chrono::nanoseconds patience, UniqueFunction<void(Outcome<void>)> done);

 private:
  ClientStart(const Config& config, std::string instance, msgr::EventCenter& center,
              PerfRegistry& perf, UniqueFunction<void(std::unique_ptr<gateway::Client>)> on_client);
  Outcome<void> take_keyring(msgr::KeyringWatch::Reading keyring);
  const Keyring* keys() const noexcept { return keyring_ ? &keyring_->keyring() : nullptr; }
  Outcome<void> make_probe();
  void choose_nonce();
  void on_known(const gateway::KnownStarts& known);
  void make_client();
  void finish(const Outcome<void>& outcome);

  const Config& config_;
  const std::string instance_;
  msgr::EventCenter& center_;
  PerfRegistry& perf_;
  UniqueFunction<void(std::unique_ptr<gateway::Client>)> on_client_;
  std::unique_ptr<msgr::KeyringWatch> keyring_;  // null without authentication
  PerfRegistry probe_perf_;                      // nobody reads it
  std::unique_ptr<gateway::Client> probe_;       // null from the end of kChoosing on
  enum class State : uint8_t {
    kLooking,   // for the cluster; nobody is in waiters_
    kChoosing,  // the nonce, and then making the client
    kMade,      // for good
  };
  State state_ = State::kLooking;
  std::vector<UniqueFunction<void(Outcome<void>)>> waiters_;
  uint64_t nonce_ = 0;
};

}  // namespace lunar::bstore_plugin
