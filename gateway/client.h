// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <boost/intrusive/list.hpp>
#include <chrono>
#include <cstdint>
#include <memory>
#include <set>
#include <string>

#include "common/config.h"
#include "common/perf_counters.h"
#include "common/result.h"
#include "common/unique_function.h"
#include "msgr/awaiters.h"
#include "msgr/event_center.h"
#include "msgr/keyring_watch.h"
#include "msgr/messenger.h"
#include "objecter/objecter.h"

namespace lunar::gateway {

struct DeliveryPolicy;
struct GatewayCounters;

// A client of one cluster, as Ceph's rados handle is: keyring, network stack and Objecter, made
// from a Config. Every image opened through it shares its OSD sessions.
//
// Loop-bound to its center. Owns all but the center, the config and the registry, which outlive it.
// Images, and everything that was started with the client, borrow it: it is destroyed after
// shutdown() has run its done, which ends all of that first.
class Client {
 public:
  // Who this client is to the servers, beside its entity (Config::name()): a registration and a
  // fence name all three. Two clients of one entity and one instance at a time fence each other.
  struct Identity {
    std::string instance;  // the same after a restart of the same gateway; empty: of this process
    uint64_t nonce = 0;    // which start of it: start_nonce.h; 0: from the time
  };

  // Reads the keyring, anew when its file is replaced, and begins to look for the cluster; does not
  // wait for it: Objecter::wait_for_map() does. Errors are sentences: no mon_host, no key in the
  // keyring, a transport that this build lacks or this host cannot serve.
  static Outcome<std::unique_ptr<Client>> create(const Config& config, Identity identity,
                                                 msgr::EventCenter& center, PerfRegistry& perf);
  // The same with keys that the caller has read, and watches if it likes: reads no file. Null if
  // there are none: an error if authentication is required. They outlive the client, and change on
  // its loop alone; who connects from then on is asked for the new ones.
  static Outcome<std::unique_ptr<Client>> create(const Config& config, Identity identity,
                                                 const Keyring* keys, msgr::EventCenter& center,
                                                 PerfRegistry& perf);
  // The same over a stack that the caller chose, and that the client owns from then on.
  static Outcome<std::unique_ptr<Client>> create(const Config& config, Identity identity,
                                                 std::unique_ptr<msgr::NetworkStack> stack,
                                                 msgr::EventCenter& center, PerfRegistry& perf);
  ~Client();  // REQUIRES: shutdown() is done

  // What it is made of. The references stay good until the client is destroyed. Before there is a
  // map (Objecter::map()), opening and changing images ends with kUnreachable.
  objecter::Objecter& objecter() const noexcept { return *objecter_; }
  msgr::EventCenter& center() noexcept { return center_; }
  const Config& config() const noexcept { return config_; }
  GatewayCounters& counters() noexcept { return *counters_; }
  // When a payload is proposed to go one-sided: lunar_one_sided_threshold and ms_async_rdma_*.
  const DeliveryPolicy& delivery_policy() const noexcept { return *delivery_policy_; }

  // Memory that the stack sends from and receives into; the servers get no key to it.
  msgr::BufferPool& buffers() noexcept { return stack_->buffers(); }
  // Memory that the servers may be given keys to: memory for IOs comes from here if its payload is
  // to move by RDMA (IoOptions::memory). Grows in the background, up to
  // ms_async_rdma_front_end_bytes. The same as buffers(), unregistered, where the stack has no
  // RDMA.
  msgr::BufferPool& front_end_buffers() noexcept { return stack_->front_end_buffers(); }
  // The stack can do RDMA. Whether a payload goes one-sided depends on its IO and link as well.
  bool supports_one_sided() const noexcept { return stack_->supports_one_sided(); }

  // Who it is: never empty, nonce never 0.
  const std::string& entity() const noexcept { return entity_; }  // "client.admin"
  const std::string& instance() const noexcept { return identity_.instance; }
  uint64_t nonce() const noexcept { return identity_.nonce; }

  // A pool's description by name, from the map as it is now. kUnreachable before there is one;
  // kNoSuchPool names the pools there are.
  Outcome<objecter::PoolInfo> find_pool(const std::string& name) const;

  // Unique in this process and, very likely, in the cluster: the high half is random. Never 0.
  uint64_t next_io_id() noexcept { return next_io_id_++; }

  // The cookies of the resizes that this client has under way: another one of this start in a
  // header is left over from one that has ended.
  std::set<uint64_t>& resizes() noexcept { return resizes_; }

  // Ends every delay, op (kShutdown) and OSD session; `done` runs once, later, when nothing is
  // left. Once.
  void shutdown(UniqueFunction<void()> done);

  // A task that uses the client waits before it tries again: shutdown() ends that. In the frame of
  // one coroutine.
  //
  //   Client::RetryDelay delay(client);
  //   const std::error_code ended = co_await delay.sleep(500ms);
  //   if (ended) co_return failure(ended);
  class RetryDelay : public boost::intrusive::list_base_hook<> {
   public:
    explicit RetryDelay(Client& client);
    ~RetryDelay();
    // Ends with an error at once when the client shuts down, or has.
    // Once at a time.
    auto sleep(std::chrono::nanoseconds delay) noexcept { return sleeper_.sleep(delay); }

   private:
    friend class Client;
    Client& client_;
    msgr::Sleeper sleeper_;
  };

 private:
  Client(const Config& config, msgr::EventCenter& center, PerfRegistry& perf);
  Outcome<void> read_keyring();
  Outcome<void> start(Identity identity, const Keyring* keys,
                      std::unique_ptr<msgr::NetworkStack> stack, PerfRegistry& perf);

  const Config& config_;
  msgr::EventCenter& center_;
  bool is_shut_down_ = false;  // shutdown() was called
  boost::intrusive::list<RetryDelay, boost::intrusive::constant_time_size<false>> delays_;
  // These are never null once create() has returned, but for the keyring.
  const std::unique_ptr<GatewayCounters> counters_;
  const std::unique_ptr<DeliveryPolicy> delivery_policy_;
  Identity identity_;
  std::string entity_;
  uint64_t next_io_id_ = 1;
  std::unique_ptr<msgr::KeyringWatch> keyring_;  // null without one, or if the caller has it
  std::unique_ptr<msgr::NetworkStack> stack_;
  std::unique_ptr<objecter::Objecter> objecter_;
  std::set<uint64_t> resizes_;
};

}  // namespace lunar::gateway
