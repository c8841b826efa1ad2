// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <future>
#include <memory>
#include <utility>
#include <vector>

#include "common/perf_counters.h"
#include "msgr/posix/posix_stack.h"
#include "msgr/rdma/link/endpoint.h"
#include "msgr/rdma/link/worker_table.h"
#include "tests/msgr/rdma/setup/upgrading_stack.h"

namespace lunar::msgr::rdma {

// The data path without connection setup: TCP connections over which the ends exchange the
// endpoints of their QPs. On the first device that exists.
class JoinedStack final : public NetworkStack {
 public:
  static RdmaOptions test_options() {
    RdmaOptions options;
    options.staging_bytes = options.front_end_bytes = 64u << 20;
    options.drain_timeout = std::chrono::seconds(2);
    options.ack_timeout = 16;  // emulated devices may take half a second to answer
    return options;
  }
  explicit JoinedStack(const RdmaOptions& options)
      : options_(options), tcp_(std::move(*PosixStack::create({}))) {
    const auto devices = list_devices();
    EXPECT_TRUE(devices) << devices.error().message;
    auto choice = choose_port(*devices, options_, Address());
    EXPECT_TRUE(choice) << choice.error().message;
    choice_ = *choice;
    auto device = Device::open(choice_.device);
    EXPECT_TRUE(device) << device.error().message;
    device_ = std::move(*device);
    staging_ = make_arena(MemoryPurpose::kStaging, options_.staging_bytes);
    front_end_ = make_arena(MemoryPurpose::kFrontEnd, options_.front_end_bytes);
    table_ = std::make_unique<WorkerTable>(
        StackResources{options_, service_, *staging_, *front_end_, &perf_});
    upgrading_ =
        std::make_unique<UpgradingStack>(*tcp_, [this](EventCenter& center, const Link& over) {
          return std::make_unique<Upgrade>(*this, center, over);
        });
  }
  ~JoinedStack() override {
    table_.reset();
    settle();
  }
  // Waits for all jobs of the service thread, and for the jobs that these add: a job that holds a
  // worker last has it destroyed by another job.
  void settle() {
    for (int round = 0; round < 2; ++round) {
      std::promise<void> done;
      service_.run([&done] { done.set_value(); });
      done.get_future().wait();
    }
  }

  std::unique_ptr<PendingConnect> connect(EventCenter& center, const Address& peer,
                                          ConnectDone done) override {
    return upgrading_->connect(center, peer, std::move(done));
  }
  Outcome<std::unique_ptr<Listener>> listen(EventCenter& center, const Address& local,
                                            AcceptCallback on_accept) override {
    return upgrading_->listen(center, local, std::move(on_accept));
  }
  BufferPool& buffers() noexcept override { return *staging_; }
  BufferPool& front_end_buffers() noexcept override { return *front_end_; }

  PerfRegistry& perf() noexcept { return perf_; }
  ServiceThread& service() noexcept { return service_; }
  WorkerTable& table() noexcept { return *table_; }
  const std::shared_ptr<Device>& device() const noexcept { return device_; }
  const PortChoice& choice() const noexcept { return choice_; }

  std::function<void()> before_link;  // on the loop, when a QP is connected and no link yet

 private:
  // One end; what RdmaStack does, without refusing anything.
  struct Upgrade final : LinkUpgrade {
    Upgrade(JoinedStack& given, EventCenter& at, const Link& over)
        : stack(given),
          center(at),
          port(LoopPort::open(at)),
          local(over.local_address()),
          peer(over.peer_address()) {}
    ~Upgrade() override {
      state->is_over = true;
      port->close();
      drop(stack, std::move(state->endpoint));
    }
    void prepare(Prepared done) override {
      state->prepared = std::move(done);
      stack.table_->get(center, port, stack.device_,
                        [this, alive = state](Result<std::shared_ptr<Worker>> worker) {
                          if (alive->is_over) return;
                          if (!worker) return alive->prepared(failure(worker.error(), "worker"));
                          make_endpoint(std::move(*worker));
                        });
    }
    void make_endpoint(std::shared_ptr<Worker> worker) {
      stack.service_.run(
          [&stack = stack, port = port, worker = std::move(worker), state = state]() mutable {
            auto made = Endpoint::create(std::move(worker), stack.choice_);
            auto boxed = std::make_shared<Result<std::unique_ptr<Endpoint>>>(std::move(made));
            const bool posted = port->post([boxed, state] {
              if (state->is_over) return;
              if (!*boxed) return state->prepared(failure(boxed->error(), "endpoint"));
              state->endpoint = std::move(**boxed);
              state->prepared(encode(state->endpoint->local()));
            });
            if (!posted && *boxed) (*boxed)->reset();
          });
    }
    void complete(ConstBytes told, ConnectDone done) override {
      const auto info = decode_endpoint_info(told);
      if (!info) return done(failure(info.error()));
      state->connected = std::move(done);
      auto boxed = std::make_shared<EndpointInfo>(*info);
      stack.service_.run(
          [this, state = state, boxed, port = port, endpoint = state->endpoint.get()] {
            const auto error = endpoint->connect(*boxed);
            port->post([this, state, error] {
              if (state->is_over) return;
              if (error) return state->connected(failure(error));
              if (stack.before_link) stack.before_link();
              state->connected(Endpoint::into_link(std::move(state->endpoint), local, peer));
            });
          });
    }
    std::chrono::nanoseconds time_limit() const noexcept override {
      return std::chrono::seconds(9);
    }
    void succeeded() noexcept override {}
    bool may_stay(const Error&) override { return false; }
    static void drop(JoinedStack& stack, std::unique_ptr<Endpoint> endpoint) {
      if (endpoint) stack.service_.run([endpoint = std::move(endpoint)] {});
    }
    struct State {
      bool is_over = false;
      std::unique_ptr<Endpoint> endpoint;
      Prepared prepared;
      ConnectDone connected;
    };
    JoinedStack& stack;
    EventCenter& center;
    const std::shared_ptr<LoopPort> port;
    const Address local, peer;
    const std::shared_ptr<State> state = std::make_shared<State>();
  };

  std::unique_ptr<Arena> make_arena(MemoryPurpose purpose, std::size_t bytes) {
    Arena::Options options;
    options.purpose = purpose;
    options.budget_bytes = options.initial_bytes = bytes;
    options.rkey_scope = options_.rkey_scope;
    auto arena = Arena::create(options, service_);
    EXPECT_TRUE(arena) << arena.error().message;
    const auto attached = (*arena)->attach(device_);
    EXPECT_TRUE(attached) << attached.error().message;
    return std::move(*arena);
  }

  const RdmaOptions options_;
  PerfRegistry perf_;
  std::unique_ptr<PosixStack> tcp_;
  PortChoice choice_;
  std::shared_ptr<Device> device_;
  ServiceThread service_;
  std::unique_ptr<Arena> staging_, front_end_;
  std::unique_ptr<WorkerTable> table_;
  std::unique_ptr<UpgradingStack> upgrading_;
};

}  // namespace lunar::msgr::rdma
