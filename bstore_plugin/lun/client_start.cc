// SPDX-License-Identifier: GPL-2.0-only
#include "bstore_plugin/lun/client_start.h"

#include <chrono>
#include <utility>

#include "common/host.h"
#include "common/log.h"
#include "common/random.h"

namespace lunar::bstore_plugin {
namespace {

constexpr std::chrono::milliseconds kAskTimeout{1000};  // which starts servers know

uint64_t clock_nonce() {
  const auto clock = wall_now().time_since_epoch();
  return static_cast<uint64_t>(
      std::chrono::duration_cast<std::chrono::microseconds>(clock).count());
}

}  // namespace

ClientStart::ClientStart(const Config& config, std::string instance, msgr::EventCenter& center,
                         PerfRegistry& perf,
                         UniqueFunction<void(std::unique_ptr<gateway::Client>)> on_client)
    : config_(config),
      instance_(std::move(instance)),
      center_(center),
      perf_(perf),
      on_client_(std::move(on_client)) {}

Outcome<std::unique_ptr<ClientStart>> ClientStart::create(
    const Config& config, const std::string& instance, msgr::KeyringWatch::Reading keyring,
    msgr::EventCenter& center, PerfRegistry& perf,
    UniqueFunction<void(std::unique_ptr<gateway::Client>)> on_client) {
  std::unique_ptr<ClientStart> start(
      new ClientStart(config, instance, center, perf, std::move(on_client)));
  if (auto taken = start->take_keyring(std::move(keyring)); !taken) return failure(taken.error());
  if (auto made = start->make_probe(); !made) return failure(made.error());
  // Whoever needs the client hears of an error.
  start->wait(config.get_duration("lunar_open_timeout"), [](const Outcome<void>&) {});
  return start;
}

Outcome<void> ClientStart::take_keyring(msgr::KeyringWatch::Reading keyring) {
  auto watch = msgr::KeyringWatch::create(center_, std::move(keyring), config_.name());
  if (watch) {
    keyring_ = std::move(*watch);
    // Whoever connects is asked for a proof the next time it does.
    keyring_->start(config_.get_duration("keyring_check_interval"), [] {});
  } else if (msgr::requires_authentication(config_)) {
    return failure(watch.error());
  }
  return {};
}

Outcome<void> ClientStart::make_probe() {
  auto probe = gateway::Client::create(config_, {}, keys(), center_, probe_perf_);
  if (!probe) return failure(probe.error());
  probe_ = std::move(*probe);
  return {};
}

void ClientStart::wait(std::chrono::nanoseconds patience,
                       UniqueFunction<void(Outcome<void>)> done) {
  if (state_ == State::kMade) {
    UniqueFunction<void()> later = [done = std::move(done)]() mutable { done({}); };
    center_.post([later = std::move(later)]() mutable { later(); });
    return;
  }
  if (state_ == State::kChoosing) return waiters_.push_back(std::move(done));
  if (probe_ == nullptr) {  // the client could not be made the last time
    if (auto made = make_probe(); !made) {
      waiters_.push_back(std::move(done));
      UniqueFunction<void()> later = [this, made] { finish(made); };
      center_.post([later = std::move(later)]() mutable { later(); });
      return;
    }
  }
  probe_->objecter().wait_for_map(
      patience, [this, done = std::move(done)](const Outcome<objecter::OsdMapRef>& map) mutable {
        if (!map) return done(failure(map.error()));
        waiters_.push_back(std::move(done));
        if (state_ == State::kLooking) choose_nonce();
      });
}

void ClientStart::choose_nonce() {
  state_ = State::kChoosing;
  gateway::find_known_starts(*probe_, instance_, kAskTimeout,
                             [this](const gateway::KnownStarts& known) { on_known(known); });
}

void ClientStart::on_known(const gateway::KnownStarts& known) {
  for (const objecter::OsdId osd : known.silent) {
    LUNAR_LOG(kTgt, 0,
              "osd.{} does not say which starts of {} it knows: if this clock was put back it may "
              "refuse this one",
              osd, instance_);
  }
  nonce_ = gateway::nonce_after(known, clock_nonce(), random_u64());
  probe_->shutdown([this] { center_.post([this] { make_client(); }); });
}

void ClientStart::make_client() {
  probe_.reset();
  auto client = gateway::Client::create(config_, {instance_, nonce_}, keys(), center_, perf_);
  if (!client) return finish(failure(client.error()));
  state_ = State::kMade;
  on_client_(std::move(*client));
  finish({});
}

void ClientStart::finish(const Outcome<void>& outcome) {
  if (state_ != State::kMade) state_ = State::kLooking;
  for (auto& done : std::exchange(waiters_, {})) done(outcome);
}

}  // namespace lunar::bstore_plugin
