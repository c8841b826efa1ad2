// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <functional>
#include <list>
#include <memory>
#include <utility>
#include <vector>

#include "msgr/net/network_stack.h"
#include "tests/msgr/link_fixture.h"

namespace lunar::msgr {

// A stack that carries its connections over to a faster link before it hands them out, as a session
// does in its handshake: for tests of the faster links alone. Loop-bound parts as usual.
class UpgradingStack : public NetworkStack {
 public:
  using MakeUpgrade = std::function<std::unique_ptr<LinkUpgrade>(EventCenter&, const Link&)>;
  UpgradingStack(NetworkStack& base, MakeUpgrade make) : base_(base), make_(std::move(make)) {}

  std::unique_ptr<PendingConnect> connect(EventCenter& center, const Address& peer,
                                          ConnectDone done) override {
    auto exchange = std::make_shared<Exchange>(make_);
    auto boxed = std::make_shared<ConnectDone>(std::move(done));
    exchange->done = [boxed](Result<std::unique_ptr<Link>> link) { (*boxed)(std::move(link)); };
    auto pending = std::make_unique<Pending>();
    pending->exchange = exchange;
    exchange->connecting =
        base_.connect(center, peer, [exchange, &center](Result<std::unique_ptr<Link>> link) {
          if (!link) return exchange->finish(failure(link.error()));
          exchange->begin(center, std::move(*link), true);
        });
    return pending;
  }
  Outcome<std::unique_ptr<Listener>> listen(EventCenter& center, const Address& local,
                                            AcceptCallback on_accept) override {
    auto listening = std::make_unique<Listening>();
    auto shared = listening->shared;
    shared->on_accept = std::move(on_accept);
    auto made = base_.listen(center, local, [shared, &center, this](std::unique_ptr<Link> link) {
      auto exchange = std::make_shared<Exchange>(make_);
      exchange->done = [weak = std::weak_ptr(shared)](Result<std::unique_ptr<Link>> upgraded) {
        const auto alive = weak.lock();
        if (alive && !alive->is_closed && upgraded) alive->on_accept(std::move(*upgraded));
      };
      shared->exchanges.push_back(exchange);
      exchange->begin(center, std::move(link), false);
    });
    if (!made) return failure(made.error());
    listening->base = std::move(*made);
    return std::unique_ptr<Listener>(std::move(listening));
  }
  BufferPool& buffers() noexcept override { return base_.buffers(); }

 private:
  // One side's part of the exchange.
  struct Exchange final : LinkHandler, std::enable_shared_from_this<Exchange> {
    explicit Exchange(MakeUpgrade given) : make(std::move(given)) {}
    void begin(EventCenter& center, std::unique_ptr<Link> link, bool asks) {
      tcp = std::move(link);
      is_asking = asks;
      upgrade = make(center, *tcp);
      upgrade->prepare([weak = weak_from_this()](Outcome<std::vector<std::byte>> bytes) {
        if (const auto self = weak.lock()) self->prepared(std::move(bytes));
      });
    }
    void prepared(Outcome<std::vector<std::byte>> bytes) {
      if (!bytes) return finish(failure(bytes.error().code));
      mine = std::move(*bytes);
      if (is_asking) tell();
      tcp->set_handler(this);
    }
    void tell() { tcp->send(test_frame(0, as_text(mine)), {}); }
    Bytes payload_for(const FrameHeader&, ConstBytes) override { return {}; }
    void on_frame(ReceivedFrame frame) override {
      is_awaiting = !is_asking && upgrade->is_made_by_connector();
      ConnectDone on_link = [weak = weak_from_this()](Result<std::unique_ptr<Link>> link) {
        const auto self = weak.lock();
        if (!self) return;
        if (!self->is_asking && !self->is_awaiting && link) self->tell();
        if (link) self->upgrade->succeeded();
        self->finish(std::move(link));
      };
      if (!is_awaiting) return upgrade->complete(frame.front, std::move(on_link));
      upgrade->await_link(frame.front, std::move(on_link));
      tell();
    }
    void on_closed(std::error_code why) override {
      if (!is_awaiting) finish(failure(why));  // the peer may be through before our link has come
    }
    void finish(Result<std::unique_ptr<Link>> link) {
      if (is_asking) tcp.reset();
      if (done) std::exchange(done, nullptr)(std::move(link));
    }

    const MakeUpgrade make;
    std::unique_ptr<PendingConnect> connecting;
    std::unique_ptr<Link> tcp;
    std::unique_ptr<LinkUpgrade> upgrade;
    std::vector<std::byte> mine;
    bool is_asking = false;
    bool is_awaiting = false;  // the link that the peer makes; it was told
    std::function<void(Result<std::unique_ptr<Link>>)> done;
  };
  struct Pending final : PendingConnect {
    ~Pending() override {
      exchange->done = nullptr;
      exchange->connecting.reset();  // which may hold the exchange
      exchange->tcp.reset();
      exchange->upgrade.reset();
    }
    std::shared_ptr<Exchange> exchange;
  };
  struct Listening final : Listener {
    struct Shared {
      AcceptCallback on_accept;
      std::list<std::shared_ptr<Exchange>> exchanges;
      bool is_closed = false;
    };
    ~Listening() override {
      shared->is_closed = true;
      base.reset();
      for (const auto& exchange : shared->exchanges) exchange->upgrade.reset();
    }
    Address local_address() const override { return base->local_address(); }
    std::shared_ptr<Shared> shared = std::make_shared<Shared>();
    std::unique_ptr<Listener> base;
  };

  NetworkStack& base_;
  const MakeUpgrade make_;
};

}  // namespace lunar::msgr
