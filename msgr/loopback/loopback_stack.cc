// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/loopback/loopback_stack.h"

#include <cerrno>
#include <cstring>
#include <map>
#include <utility>

#include "common/check.h"
#include "msgr/errors.h"
#include "msgr/loopback/pipe_stream.h"
#include "msgr/net/outgoing.h"

namespace lunar::msgr {

// What connects, listeners and links of all stacks of one network share. Thread-safe.
struct LoopbackStack::Network {
  struct Listening {
    std::shared_ptr<Host> host;
    EventCenter* center;
    std::shared_ptr<AcceptCallback> on_accept;  // called on the center's loop
    std::shared_ptr<bool> alive;                // of the listener; read on that loop
  };
  struct ExposedMemory {
    Bytes memory;
    uint64_t link_generation;
    RemoteAccess access;
    const void* wire;  // of the link whose peer may use it; null: any link
  };

  // The listener for an address: its own, or that of all addresses.
  const Listening* find(const Address& address) const REQUIRES(mutex) {
    auto found = listeners.find(address);
    if (found == listeners.end()) {
      found = listeners.find(Address::from_raw(address.family(), {}, address.port()));
    }
    return found == listeners.end() ? nullptr : &found->second;
  }
  uint16_t free_port(Address address) REQUIRES(mutex) {
    for (;;) {
      next_port = next_port == UINT16_MAX ? kFirstPort : static_cast<uint16_t>(next_port + 1);
      address.set_port(next_port);
      if (find(address) == nullptr) return next_port;
    }
  }

  // memcpy between `local` and what the key opens; the mutex is what revoke() waits for.
  std::error_code move(const RemoteKey& key, const void* wire, Bytes local, bool to_remote,
                       LoopbackInjector* injector) {
    const MutexLock lock(mutex);
    const auto found = exposed.find(key.rkey);
    if (found == exposed.end() || key.length != local.size()) return system_error(EACCES);
    const Bytes memory = found->second.memory;
    const auto begin = reinterpret_cast<uint64_t>(memory.data());
    const bool is_ours = found->second.wire == nullptr
                             ? found->second.link_generation == key.link_generation
                             : found->second.wire == wire &&
                                   to_remote == (found->second.access == RemoteAccess::kWrite);
    if (!is_ours || key.addr < begin || key.addr - begin > memory.size() ||
        key.length > memory.size() - (key.addr - begin)) {
      return system_error(EACCES);
    }
    std::byte* const remote = memory.data() + (key.addr - begin);
    if (local.empty()) return {};
    std::memcpy(to_remote ? remote : local.data(), to_remote ? local.data() : remote, local.size());
    if (injector == nullptr) return {};
    return injector->on_moved(to_remote, to_remote ? Bytes(remote, local.size()) : local);
  }

  Result<RemoteKey> expose(Bytes memory, uint64_t link_generation, RemoteAccess access,
                           const void* wire, std::size_t windows) {
    const MutexLock lock(mutex);
    if (exposed.size() >= windows) return failure(system_error(ENOMEM));
    RemoteKey key;
    key.addr = reinterpret_cast<uint64_t>(memory.data());
    key.rkey = next_rkey++;
    key.length = static_cast<uint32_t>(memory.size());
    key.link_generation = link_generation;
    exposed.emplace(key.rkey, ExposedMemory{memory, link_generation, access, wire});
    return key;
  }
  void revoke(uint32_t rkey) {
    const MutexLock lock(mutex);
    exposed.erase(rkey);
  }

  static constexpr uint16_t kFirstPort = 32768;
  Mutex mutex;
  std::map<Address, Listening> listeners GUARDED_BY(mutex);
  std::map<uint32_t, ExposedMemory> exposed GUARDED_BY(mutex);
  uint16_t next_port GUARDED_BY(mutex) = kFirstPort;
  uint32_t next_rkey GUARDED_BY(mutex) = 1;
};

// What is one stack's own. Shared by its connects, listeners and links. Thread-safe.
struct LoopbackStack::Host {
  struct PairEnd {
    std::weak_ptr<PipePair> pair;
    int end;
  };

  Host(const LoopbackOptions& o, std::shared_ptr<Network> net)
      : options(o),
        buffers(make_heap_buffer_pool(o.buffer_budget_bytes, o.buffer_cached_bytes)),
        network(std::move(net)) {}

  void remember(const std::shared_ptr<PipePair>& pair, int end) {
    const MutexLock lock(mutex);
    if (ends.size() >= next_sweep) {
      std::erase_if(ends, [](const PairEnd& each) { return each.pair.expired(); });
      next_sweep = 2 * ends.size() + 16;
    }
    ends.push_back({pair, end});
  }

  const LoopbackOptions options;
  const std::unique_ptr<BufferPool> buffers;
  const std::shared_ptr<Network> network;
  Mutex mutex;
  std::vector<PairEnd> ends GUARDED_BY(mutex);
  std::size_t next_sweep GUARDED_BY(mutex) = 16;
};

namespace {

using Network = LoopbackStack::Network;
using Host = LoopbackStack::Host;
using Verdict = LoopbackInjector::Verdict;

// Loop-bound. Shares the host.
class LoopbackLink final : public StreamLink {
 public:
  LoopbackLink(EventCenter& center, std::shared_ptr<PipePair> pair, int end,
               std::shared_ptr<Host> host)
      : StreamLink(center, attach_pipe(center, pair, end, host->options.injector), *host->buffers,
                   host->options.link),
        host_(std::move(host)),
        wire_(pair.get()) {
    host_->remember(pair, end);
    mutable_capabilities().one_sided = host_->options.one_sided;
    mutable_capabilities().max_fragment_bytes =
        host_->options.one_sided ? host_->options.max_fragment_bytes : 0;
  }
  ~LoopbackLink() override {
    end_reads();
    drop_keys();
  }

  void remote_read(RemoteKey from, RegisteredSlice local, IoDone done) override {
    EventCenter::Clock::duration delay{};
    if (host_->options.injector != nullptr) {
      delay = host_->options.injector->on_remote_read(local.length);
    }
    if (delay <= EventCenter::Clock::duration::zero()) {
      return move(from, local, false, std::move(done));
    }
    const uint64_t number = next_read_++;
    const TimerId timer = center().run_after(delay, [this, number] {
      auto read = reads_.extract(number);
      move(read.mapped().from, read.mapped().local, false, std::move(read.mapped().done));
    });
    reads_.emplace(number, PendingRead{from, local, std::move(done), timer});
  }
  void remote_write(RegisteredSlice local, RemoteKey to, IoDone done) override {
    move(to, local, true, std::move(done));
  }

  Result<RemoteKey> expose(RegisteredSlice local, RemoteAccess access) override {
    const Bytes memory = bytes_of(local);
    std::error_code error;
    if (host_->options.injector != nullptr) {
      error = host_->options.injector->on_expose(memory.size());
    }
    if (!error && !is_open()) error = this->error();
    if (error) return failure(error);
    const Result<RemoteKey> key =
        network().expose(memory, 0, access, wire_, host_->options.windows);
    if (key) keys_.push_back(key->rkey);
    return key;
  }
  void revoke(const RemoteKey& key, IoDone done) override {
    std::error_code error;
    if (done && host_->options.injector != nullptr) {
      error = host_->options.injector->on_revoke();
    }
    if (!error && !is_open()) error = this->error();
    if (!error) {
      std::erase(keys_, key.rkey);
      network().revoke(key.rkey);
    }
    center().post_done(std::move(done), error);
  }

  void close(InlineFunction<void()> closed) override {
    end_reads();
    drop_keys();
    StreamLink::close(std::move(closed));
  }

 private:
  struct PendingRead {
    RemoteKey from;
    RegisteredSlice local;
    IoDone done;
    TimerId timer;
  };

  Network& network() const noexcept { return *host_->network; }
  static Bytes bytes_of(const RegisteredSlice& local) {
    const Bytes memory = local.buffer->bytes();
    LUNAR_CHECK(local.offset <= memory.size() && local.length <= memory.size() - local.offset,
                "a slice lies in its buffer");
    return memory.subspan(local.offset, local.length);
  }
  void move(const RemoteKey& key, const RegisteredSlice& local, bool to_remote, IoDone done) {
    LUNAR_CHECK(capabilities().one_sided, "this link has no one-sided operations");
    LUNAR_CHECK(local.length <= capabilities().max_fragment_bytes, "a fragment that is too long");
    const Bytes memory = bytes_of(local);
    if (!is_open()) return center().post_done(std::move(done), error());
    // Moved now, so before any frame that is queued from here on; told later.
    const auto result = network().move(key, wire_, memory, to_remote, host_->options.injector);
    center().post_done(std::move(done), result);
    if (result) fail(result);
  }
  void end_reads() {
    for (auto& [number, read] : reads_) {
      center().cancel(read.timer);
      center().post_done(std::move(read.done), make_error_code(MsgrErrc::kClosed));
    }
    reads_.clear();
  }
  // The QP is gone, and with it what was bound to it.
  void drop_keys() {
    for (const uint32_t rkey : keys_) network().revoke(rkey);
    keys_.clear();
  }

  const std::shared_ptr<Host> host_;
  const void* const wire_;
  std::vector<uint32_t> keys_;  // of memory exposed to the peer
  std::map<uint64_t, PendingRead> reads_;
  uint64_t next_read_ = 0;
};

// Loop-bound. Dropping it frees the address.
class LoopbackListener final : public Listener {
 public:
  LoopbackListener(std::shared_ptr<Network> network, const Address& local,
                   std::shared_ptr<bool> alive)
      : network_(std::move(network)), local_(local), alive_(std::move(alive)) {}
  ~LoopbackListener() override {
    *alive_ = false;
    const MutexLock lock(network_->mutex);
    network_->listeners.erase(local_);
  }
  Address local_address() const override { return local_; }

 private:
  const std::shared_ptr<Network> network_;
  const Address local_;
  const std::shared_ptr<bool> alive_;
};

// Loop-bound.
class LoopbackConnect final : public PendingConnect {
 public:
  LoopbackConnect(EventCenter& center, std::shared_ptr<Host> host, const Address& peer,
                  ConnectDone done)
      : center_(center), host_(std::move(host)), peer_(peer), done_(std::move(done)) {}
  ~LoopbackConnect() override { center_.cancel(timer_); }

  void start() {
    Verdict verdict;
    if (host_->options.injector != nullptr) {
      verdict = host_->options.injector->on_connect(peer_);
    }
    timer_ = center_.run_after(verdict.delay, [this, error = verdict.fail] { finish(error); });
  }

 private:
  void finish(std::error_code error) {
    timer_ = TimerId::kNone;
    std::shared_ptr<PipePair> pair;
    if (!error) pair = reach_listener();
    ConnectDone done = std::move(done_);
    if (error) {
      done(failure(error));
    } else if (!pair) {
      done(failure(system_error(ECONNREFUSED)));
    } else {
      done(std::make_unique<LoopbackLink>(center_, std::move(pair), 0, host_));
    }
  }

  // Hands end 1 to the listener's loop. Null if nobody listens.
  std::shared_ptr<PipePair> reach_listener() {
    Network& network = *host_->network;
    const MutexLock lock(network.mutex);
    const Network::Listening* listening = network.find(peer_);
    if (listening == nullptr) return nullptr;
    Address local = Address::from_raw(peer_.family(), peer_.raw(), 0);
    local.set_port(network.free_port(local));
    auto pair = make_pipe_pair(local, peer_, host_->options.pipe_bytes);
    listening->host->remember(pair, 1);
    struct IncomingPair {
      Network::Listening listening;
      std::shared_ptr<PipePair> pair;
    };
    auto arrival = std::make_unique<IncomingPair>(IncomingPair{*listening, pair});
    EventCenter& center = *listening->center;
    center.post([arrival = std::move(arrival), peer = peer_] {
      accept(arrival->listening, arrival->pair, peer);
    });
    return pair;
  }

  static void accept(const Network::Listening& listening, const std::shared_ptr<PipePair>& pair,
                     const Address& address) {
    Verdict verdict;
    LoopbackInjector* const injector = listening.host->options.injector;
    if (*listening.alive && injector != nullptr) verdict = injector->on_accept(address);
    if (!*listening.alive || verdict.fail) return drop_pipe_end(*pair, 1);
    if (verdict.delay <= EventCenter::Clock::duration::zero()) {
      return (*listening.on_accept)(
          std::make_unique<LoopbackLink>(*listening.center, pair, 1, listening.host));
    }
    auto later =
        std::make_unique<std::pair<Network::Listening, std::shared_ptr<PipePair>>>(listening, pair);
    listening.center->run_after(verdict.delay, [later = std::move(later)] {
      const auto& [waiting, end] = *later;
      if (!*waiting.alive) return drop_pipe_end(*end, 1);
      (*waiting.on_accept)(std::make_unique<LoopbackLink>(*waiting.center, end, 1, waiting.host));
    });
  }

  EventCenter& center_;
  const std::shared_ptr<Host> host_;
  const Address peer_;
  ConnectDone done_;
  TimerId timer_ = TimerId::kNone;
};

}  // namespace

LoopbackStack::LoopbackStack(LoopbackOptions options)
    : host_(std::make_shared<Host>(options, std::make_shared<Network>())) {}
LoopbackStack::LoopbackStack(LoopbackOptions options, const LoopbackStack& neighbour)
    : host_(std::make_shared<Host>(options, neighbour.host_->network)) {}
LoopbackStack::~LoopbackStack() = default;

BufferPool& LoopbackStack::buffers() noexcept { return *host_->buffers; }

std::unique_ptr<PendingConnect> LoopbackStack::connect(EventCenter& center, const Address& peer,
                                                       ConnectDone done) {
  center.assert_in_loop();
  auto pending = std::make_unique<LoopbackConnect>(center, host_, peer, std::move(done));
  pending->start();
  return pending;
}

Outcome<std::unique_ptr<Listener>> LoopbackStack::listen(EventCenter& center, const Address& local,
                                                         AcceptCallback on_accept) {
  center.assert_in_loop();
  auto callback = std::make_shared<AcceptCallback>(std::move(on_accept));
  auto alive = std::make_shared<bool>(true);
  Network& network = *host_->network;
  const MutexLock lock(network.mutex);
  Address address = local;
  if (address.port() == 0) address.set_port(network.free_port(address));
  if (network.listeners.contains(address)) {
    return failure(std::errc::address_in_use,
                   "cannot listen on " + address.to_string() +
                       ": Address already in use; set public_addr to another port");
  }
  network.listeners.emplace(address,
                            Network::Listening{host_, &center, std::move(callback), alive});
  return std::make_unique<LoopbackListener>(host_->network, address, std::move(alive));
}

bool LoopbackStack::supports_one_sided() const noexcept { return host_->options.one_sided; }

std::size_t LoopbackStack::keys_out() const {
  const MutexLock lock(host_->network->mutex);
  return host_->network->exposed.size();
}

RemoteKey LoopbackStack::expose(Bytes memory, uint64_t link_generation) {
  return *host_->network->expose(memory, link_generation, RemoteAccess::kWrite, nullptr,
                                 host_->options.windows);
}

void LoopbackStack::revoke(const RemoteKey& key) { host_->network->revoke(key.rkey); }

void LoopbackStack::kill() {
  {
    const MutexLock lock(host_->network->mutex);
    std::erase_if(host_->network->listeners,
                  [this](const auto& each) { return each.second.host == host_; });
  }
  std::vector<Host::PairEnd> ends;
  {
    const MutexLock lock(host_->mutex);
    ends.swap(host_->ends);
  }
  for (const Host::PairEnd& each : ends) {
    if (const auto pair = each.pair.lock()) drop_pipe_end(*pair, each.end);
  }
}

}  // namespace lunar::msgr
