// SPDX-License-Identifier: LGPL-2.1-or-later
#include <limits>
#include <utility>

#include "common/config.h"
#include "common/log.h"
#include "msgr/local/local_stack.h"
#include "msgr/messenger.h"
#include "msgr/net/inject_stack.h"
#include "msgr/posix/posix_stack.h"
#include "msgr/rdma/rdma_stack.h"

// The options that concern messengers and stacks, and the table of stacks: the one place that names
// transports.

namespace lunar::msgr {
namespace {

// A stack with its faults, which borrow it.
class InjectedStack final : public NetworkStack {
 public:
  InjectedStack(std::unique_ptr<NetworkStack> inner, const InjectOptions& options)
      : inner_(std::move(inner)), inject_(*inner_, options) {
    LUNAR_LOG(kMs, 0, "links break on purpose (ms_inject_*); the seed is {}", inject_.seed());
  }
  std::unique_ptr<PendingConnect> connect(EventCenter& center, const Address& peer,
                                          ConnectDone done) override {
    return inject_.connect(center, peer, std::move(done));
  }
  Outcome<std::unique_ptr<Listener>> listen(EventCenter& center, const Address& local,
                                            AcceptCallback on_accept) override {
    return inject_.listen(center, local, std::move(on_accept));
  }
  std::unique_ptr<LinkUpgrade> upgrade(EventCenter& center, const Link& over) override {
    return inject_.upgrade(center, over);
  }
  bool supports_one_sided() const noexcept override { return inject_.supports_one_sided(); }
  BufferPool& buffers() noexcept override { return inject_.buffers(); }
  BufferPool& front_end_buffers() noexcept override { return inject_.front_end_buffers(); }

 private:
  const std::unique_ptr<NetworkStack> inner_;
  InjectStack inject_;
};

uint32_t as_uint32(uint64_t value) noexcept {
  constexpr uint64_t kMost = std::numeric_limits<uint32_t>::max();
  return static_cast<uint32_t>(value < kMost ? value : kMost);
}

}  // namespace

bool requires_authentication(const Config& config) {
  const auto is_psk = [&](std::string_view name) { return config.get_string(name) == "psk"; };
  if (config.name().type == "client") return is_psk("auth_client_required");
  return is_psk("auth_service_required") || is_psk("auth_cluster_required");
}

Outcome<MessengerOptions> MessengerOptions::from_config(const Config& config) {
  MessengerOptions options;
  options.entity = config.name().to_string();
  options.auth_required = requires_authentication(config);
  const auto modes_of = [&](std::string_view name) {
    return *WireModes::parse(config.get_string(name));  // a choice: one of those words
  };
  options.modes = {modes_of("ms_cluster_mode"), modes_of("ms_service_mode"),
                   modes_of("ms_client_mode")};
  options.secure_max_bytes = config.get_size("ms_secure_max_bytes");
  options.secure_max_age = config.get_duration("ms_secure_max_age");
  options.crc_data = config.get_bool("ms_crc_data");
  options.one_sided = config.get_bool("ms_async_rdma_one_sided");
  options.tcp_nodelay = config.get_bool("ms_tcp_nodelay");
  options.tcp_congestion = config.get_string("ms_tcp_congestion");
  options.tcp_rcvbuf = as_uint32(config.get_size("ms_tcp_rcvbuf"));
  options.connection_ready_timeout = config.get_duration("ms_connection_ready_timeout");
  options.connection_idle_timeout = config.get_duration("ms_connection_idle_timeout");
  options.initial_backoff = config.get_duration("ms_initial_backoff");
  options.max_backoff = config.get_duration("ms_max_backoff");
  options.keepalive_interval = config.get_duration("ms_keepalive_interval");
  options.keepalive_timeout = config.get_duration("ms_keepalive_timeout");
  options.session_timeout = config.get_duration("ms_session_timeout");
  options.dispatch_throttle_bytes = config.get_size("ms_dispatch_throttle_bytes");
  options.max_unread_messages = config.get_uint("ms_max_unread_messages");
  options.max_sessions = config.get_uint("ms_max_sessions_per_entity");
  options.max_handshakes = config.get_uint("ms_max_handshakes");
  options.max_handshakes_per_host = config.get_uint("ms_max_handshakes_per_host");
  options.limits.max_front_bytes = as_uint32(config.get_size("ms_max_front_bytes"));
  options.limits.max_data_bytes = as_uint32(config.get_size("ms_max_data_bytes"));
  options.inject_socket_failures = config.get_uint("ms_inject_socket_failures");
  options.inject_delay_probability = config.get_double("ms_inject_delay_probability");
  options.inject_delay_max = config.get_duration("ms_inject_delay_max");
  options.inject_seed = config.get_uint("ms_inject_seed");
  if (options.max_backoff < options.initial_backoff) {
    return failure(std::errc::invalid_argument,
                   "ms_max_backoff is shorter than ms_initial_backoff; raise one or lower the "
                   "other");
  }
  if (options.keepalive_timeout <= options.keepalive_interval) {
    return failure(std::errc::invalid_argument,
                   "ms_keepalive_timeout is not longer than ms_keepalive_interval: every quiet "
                   "link would be taken for dead");
  }
  return options;
}

Outcome<std::unique_ptr<NetworkStack>> make_network_stack(const Config& config,
                                                          PerfRegistry* perf) {
  auto options = MessengerOptions::from_config(config);
  if (!options) return failure(std::move(options.error()));
  PosixStackOptions posix;
  posix.link.limits = options->limits;
  posix.link.crc_data = options->crc_data;
  posix.tcp_nodelay = options->tcp_nodelay;
  posix.tcp_congestion = options->tcp_congestion;
  posix.tcp_rcvbuf = options->tcp_rcvbuf;
  std::unique_ptr<NetworkStack> stack;
  if (config.get_string("ms_type") == "async+rdma") {
    auto rdma = rdma::RdmaOptions::from_config(config);
    if (!rdma) return failure(std::move(rdma.error()));
    auto made = rdma::RdmaStack::create(std::move(*rdma), std::move(posix), perf);
    if (!made) return failure(std::move(made.error()));
    stack = std::move(*made);
  } else if (config.get_string("ms_type") == "async+local") {
    local::LocalOptions shared;
    shared.run_dir = config.get_string("run_dir");
    shared.front_end_bytes = config.get_size("ms_async_rdma_front_end_bytes");
    auto made = local::LocalStack::create(std::move(shared), std::move(posix), perf);
    if (!made) return failure(std::move(made.error()));
    stack = std::move(*made);
  } else {
    auto made = PosixStack::create(std::move(posix));
    if (!made) return failure(std::move(made.error()));
    stack = std::move(*made);
  }
  const InjectOptions inject{options->inject_socket_failures, options->inject_delay_probability,
                             options->inject_delay_max, options->inject_seed};
  if (inject.has_any()) stack = std::make_unique<InjectedStack>(std::move(stack), inject);
  return stack;
}

}  // namespace lunar::msgr
