// SPDX-License-Identifier: LGPL-2.1-or-later
#include "gateway/client.h"

#include <unistd.h>

#include <atomic>
#include <chrono>

#include "common/host.h"
#include "common/random.h"
#include "gateway/io/counters.h"
#include "gateway/io/delivery.h"

namespace lunar::gateway {
namespace {

// Each client of the process has another one: two with the same would fence each other.
std::string process_instance() {
  static std::atomic<unsigned> clients{0};
  char host[256] = "localhost";
  if (gethostname(host, sizeof host) == 0) host[sizeof host - 1] = '\0';
  std::string instance = std::string(host) + "/" + std::to_string(getpid());
  if (const unsigned earlier = clients++; earlier != 0) instance += "." + std::to_string(earlier);
  return instance;
}

uint64_t time_nonce() {
  const auto now = wall_now().time_since_epoch();
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(now).count());
}

}  // namespace

Client::Client(const Config& config, msgr::EventCenter& center, PerfRegistry& perf)
    : config_(config),
      center_(center),
      counters_(std::make_unique<GatewayCounters>(perf)),
      delivery_policy_(std::make_unique<DeliveryPolicy>()) {}

Outcome<std::unique_ptr<Client>> Client::create(const Config& config, Identity identity,
                                                msgr::EventCenter& center, PerfRegistry& perf) {
  auto stack = msgr::make_network_stack(config, &perf);
  if (!stack) return failure(stack.error());
  return create(config, std::move(identity), std::move(*stack), center, perf);
}

Outcome<std::unique_ptr<Client>> Client::create(const Config& config, Identity identity,
                                                const Keyring* keys, msgr::EventCenter& center,
                                                PerfRegistry& perf) {
  auto stack = msgr::make_network_stack(config, &perf);
  if (!stack) return failure(stack.error());
  std::unique_ptr<Client> client(new Client(config, center, perf));
  auto started = client->start(std::move(identity), keys, std::move(*stack), perf);
  if (!started) return failure(started.error());
  return client;
}

Outcome<std::unique_ptr<Client>> Client::create(const Config& config, Identity identity,
                                                std::unique_ptr<msgr::NetworkStack> stack,
                                                msgr::EventCenter& center, PerfRegistry& perf) {
  std::unique_ptr<Client> client(new Client(config, center, perf));
  if (auto read = client->read_keyring(); !read) return failure(read.error());
  const Keyring* keys = client->keyring_ ? &client->keyring_->keyring() : nullptr;
  auto started = client->start(std::move(identity), keys, std::move(stack), perf);
  if (!started) return failure(started.error());
  // Whoever connects is asked for a proof the next time it does.
  if (client->keyring_)
    client->keyring_->start(config.get_duration("keyring_check_interval"), [] {});
  return client;
}

Outcome<void> Client::read_keyring() {
  auto watch = msgr::KeyringWatch::load(center_, config_.get_string("keyring"), config_.name());
  // A server may ask for a proof that this side does not.
  if (!watch && msgr::requires_authentication(config_)) return failure(watch.error());
  if (watch) keyring_ = std::move(*watch);
  return {};
}

Outcome<void> Client::start(Identity identity, const Keyring* keys,
                            std::unique_ptr<msgr::NetworkStack> stack, PerfRegistry& perf) {
  entity_ = config_.name().to_string();
  identity_ = std::move(identity);
  if (identity_.instance.empty()) identity_.instance = process_instance();
  if (identity_.nonce == 0) identity_.nonce = time_nonce();
  next_io_id_ = (random_u64() << 32) + 1;

  auto messenger_options = msgr::MessengerOptions::from_config(config_);
  if (!messenger_options) return failure(messenger_options.error());
  messenger_options->entity = entity_;
  messenger_options->instance = identity_.instance;
  messenger_options->nonce = identity_.nonce;
  if (messenger_options->auth_required &&
      (keys == nullptr || keys->find(config_.name()) == nullptr)) {
    return failure(std::errc::permission_denied,
                   "keyring " + config_.get_string("keyring") + " has no key for " + entity_ +
                       ": add it, or choose another entity with -n or id=");
  }

  auto objecter_options = objecter::Objecter::Options::from_config(config_);
  if (!objecter_options) return failure(objecter_options.error());
  stack_ = std::move(stack);
  delivery_policy_->one_sided_threshold = config_.get_size("lunar_one_sided_threshold");
  delivery_policy_->fragment_bytes =
      static_cast<uint32_t>(config_.get_size("ms_async_rdma_fragment_size"));  // at most 16 MiB
  delivery_policy_->can_expose =
      stack_->supports_one_sided() && config_.get_bool("ms_async_rdma_one_sided");

  auto made = objecter::Objecter::create(center_, *stack_, std::move(*messenger_options),
                                         std::move(*objecter_options), keys, &perf);
  if (!made) return failure(made.error());
  objecter_ = std::move(*made);
  return {};
}

Client::~Client() = default;

void Client::shutdown(UniqueFunction<void()> done) {
  is_shut_down_ = true;
  while (!delays_.empty()) {
    RetryDelay& delay = delays_.front();
    delays_.pop_front();
    delay.sleeper_.close();  // may end the coroutine, and the delay with it
  }
  objecter_->shutdown(std::move(done));
}

Client::RetryDelay::RetryDelay(Client& client) : client_(client), sleeper_(client.center_) {
  if (client.is_shut_down_) {
    sleeper_.close();
  } else {
    client.delays_.push_back(*this);
  }
}

Client::RetryDelay::~RetryDelay() {
  if (is_linked()) client_.delays_.erase(client_.delays_.iterator_to(*this));
}

Outcome<objecter::PoolInfo> Client::find_pool(const std::string& name) const {
  const auto map = objecter_->map();
  if (map == nullptr) {
    return failure(objecter::OsdErrc::kUnreachable,
                   "no cluster map yet: is a server of mon_host up?");
  }
  const auto* pool = map->find_pool(name);
  if (pool != nullptr) return *pool;
  std::string known;
  for (const auto& each : map->pools) known += (known.empty() ? "" : ", ") + each.name;
  return failure(objecter::OsdErrc::kNoSuchPool,
                 "no pool '" + name + "'; there " +
                     (known.empty() ? "are none that " + entity_ +
                                          " may see: make one with 'lunar pool create " + name +
                                          "', or see 'lunar auth get " + entity_ + "'"
                                    : "are: " + known));
}

}  // namespace lunar::gateway
