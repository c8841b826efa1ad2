// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "common/config.h"
#include "common/inline_function.h"
#include "common/keyring.h"
#include "common/perf_counters.h"
#include "common/result.h"
#include "gateway/counters.h"
#include "gateway/delivery.h"
#include "msgr/event_center.h"
#include "msgr/messenger.h"
#include "objecter/objecter.h"

namespace lunar::gateway {

// A client of one cluster, as Ceph's rados handle is: keyring, network stack and Objecter, made
// from a Config. Every image opened through it shares its sessions. Loop-bound to its center. Owns
// all but the center, the config and the registry, which outlive it.
class Client {
 public:
  struct Identity {
    std::string instance;  // the same after a restart of the same gateway; empty: of this process
    uint64_t nonce = 0;    // 0: from the time
  };

  // Reads the keyring and begins to look for the cluster. Errors are sentences: no mon_host, no
  // key, a transport that this build lacks.
  static Outcome<std::unique_ptr<Client>> create(const Config& config, Identity identity,
                                                 msgr::EventCenter& center, PerfRegistry& perf);
  // The same over a stack that the caller chose.
  static Outcome<std::unique_ptr<Client>> create(const Config& config, Identity identity,
                                                 std::unique_ptr<msgr::NetworkStack> stack,
                                                 msgr::EventCenter& center, PerfRegistry& perf);
  ~Client();  // REQUIRES: shutdown() is done

  objecter::Objecter& objecter() noexcept { return *objecter_; }
  msgr::EventCenter& center() noexcept { return center_; }
  msgr::BufferPool& buffers() noexcept { return stack_->buffers(); }
  // What the servers may be given keys to: memory for IOs comes from here if it is to move by RDMA.
  msgr::BufferPool& front_end_buffers() noexcept { return stack_->front_end_buffers(); }
  bool supports_one_sided() const noexcept { return stack_->supports_one_sided(); }
  const Config& config() const noexcept { return config_; }
  GatewayCounters& counters() noexcept { return counters_; }
  const DeliveryPolicy& delivery_policy() const noexcept { return delivery_policy_; }
  const std::string& entity() const noexcept { return entity_; }
  const std::string& instance() const noexcept { return identity_.instance; }
  uint64_t nonce() const noexcept { return identity_.nonce; }

  // A pool's description by name, from the map that is there once ready: kNoSuchPool names the
  // pools there are.
  Outcome<objecter::PoolInfo> find_pool(const std::string& name) const;

  // Unique in this process and, very likely, in the cluster: the high half is random.
  uint64_t next_io_id() noexcept { return next_io_id_++; }

  // Ends every op and session; `done` runs when nothing is left.
  void shutdown(InlineFunction<void()> done) { objecter_->shutdown(std::move(done)); }

 private:
  Client(const Config& config, msgr::EventCenter& center, PerfRegistry& perf)
      : config_(config), center_(center), counters_(perf) {}

  const Config& config_;
  msgr::EventCenter& center_;
  GatewayCounters counters_;
  DeliveryPolicy delivery_policy_;
  Identity identity_;
  std::string entity_;
  uint64_t next_io_id_ = 1;
  std::unique_ptr<Keyring> keyring_;
  std::unique_ptr<msgr::NetworkStack> stack_;
  std::unique_ptr<objecter::Objecter> objecter_;
};

}  // namespace lunar::gateway
