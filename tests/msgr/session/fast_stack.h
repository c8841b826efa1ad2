// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "msgr/errors.h"
#include "msgr/loopback/loopback_stack.h"
#include "msgr/net/network_stack.h"
#include "tests/msgr/session/session_fixture.h"

namespace lunar::msgr {

// The faster network: a second loopback one, whose links come in pairs by the connector's number.
struct Fast {
  explicit Fast(EventCenter& on) : center(on), network(options()) {
    auto listening =
        network.listen(center, Address::loopback(), [this](std::unique_ptr<Link> link) {
          for_connector[expected] = std::move(link);
          if (deliver) std::exchange(deliver, nullptr)();
        });
    EXPECT_TRUE(listening.has_value());
    listener = std::move(*listening);
  }
  LoopbackOptions options() {
    LoopbackOptions with;
    with.injector = &injector;
    return with;
  }

  EventCenter& center;
  TestInjector injector;
  LoopbackStack network;
  std::unique_ptr<Listener> listener;
  std::map<uint8_t, std::unique_ptr<Link>> for_connector;
  uint8_t next = 1;
  uint8_t expected = 0;
  std::function<void()> deliver;
};

// A loopback stack that knows the faster network. One per node, to be told how to behave.
class FastStack final : public NetworkStack {
 public:
  FastStack(NetworkStack& base, Fast& fast) : base_(base), fast_(fast) {}
  std::unique_ptr<PendingConnect> connect(EventCenter& center, const Address& peer,
                                          ConnectDone done) override {
    return base_.connect(center, peer, std::move(done));
  }
  Outcome<std::unique_ptr<Listener>> listen(EventCenter& center, const Address& local,
                                            AcceptCallback on_accept) override {
    return base_.listen(center, local, std::move(on_accept));
  }
  std::unique_ptr<LinkUpgrade> upgrade(EventCenter&, const Link&) override {
    return std::make_unique<Upgrade>(*this);
  }
  BufferPool& buffers() noexcept override { return base_.buffers(); }

  std::error_code refuse_prepare;
  std::error_code refuse_complete;
  bool never_prepares = false;
  bool connector_makes_links = false;  // of both ends
  bool may_stay = true;
  std::chrono::milliseconds time_limit{10'000};
  int succeeded = 0;
  std::vector<Error> stayed;

 private:
  class Upgrade final : public LinkUpgrade {
   public:
    explicit Upgrade(FastStack& stack) : stack_(stack), fast_(stack.fast_) {}
    ~Upgrade() override { *alive_ = false; }
    void prepare(Prepared done) override {
      if (stack_.never_prepares) return;
      number_ = fast_.next++;
      later([this, done = std::make_shared<Prepared>(std::move(done))] {
        if (stack_.refuse_prepare) {
          return (*done)(failure(stack_.refuse_prepare, "no device for you"));
        }
        (*done)(std::vector<std::byte>{std::byte{number_}});
      });
    }
    bool is_made_by_connector() const noexcept override { return stack_.connector_makes_links; }
    void await_link(ConstBytes, ConnectDone done) override {
      const auto boxed = std::make_shared<ConnectDone>(std::move(done));
      fast_.deliver = [this, boxed, alive = alive_] {
        if (!*alive) return;
        auto link = std::move(fast_.for_connector[number_]);
        fast_.for_connector.erase(number_);
        (*boxed)(std::move(link));
      };
    }
    void complete(ConstBytes told, ConnectDone done) override {
      const auto boxed = std::make_shared<ConnectDone>(std::move(done));
      if (stack_.refuse_complete || told.size() != 1) {
        return later([this, boxed] {
          (*boxed)(failure(stack_.refuse_complete ? stack_.refuse_complete
                                                  : make_error_code(MsgrErrc::kBadFrame)));
        });
      }
      if (stack_.connector_makes_links) {
        fast_.expected = std::to_integer<uint8_t>(told[0]);
        pending_ = fast_.network.connect(fast_.center, fast_.listener->local_address(),
                                         [boxed](auto link) { (*boxed)(std::move(link)); });
        return;
      }
      const auto mine = fast_.for_connector.find(number_);
      if (mine != fast_.for_connector.end()) {
        auto link = std::make_shared<std::unique_ptr<Link>>(std::move(mine->second));
        fast_.for_connector.erase(mine);
        return later([boxed, link] { (*boxed)(std::move(*link)); });
      }
      fast_.expected = std::to_integer<uint8_t>(told[0]);
      // Both ends are there before either is used.
      pending_ = fast_.network.connect(fast_.center, fast_.listener->local_address(),
                                       [this, boxed](auto link) {
                                         link_ = std::move(link);
                                         if (fast_.for_connector.count(fast_.expected) != 0)
                                           return (*boxed)(std::move(*link_));
                                         fast_.deliver = [this, boxed, alive = alive_] {
                                           if (*alive) (*boxed)(std::move(*link_));
                                         };
                                       });
    }
    std::chrono::nanoseconds time_limit() const noexcept override { return stack_.time_limit; }
    void succeeded() noexcept override { ++stack_.succeeded; }
    bool may_stay(const Error& why) override {
      stack_.stayed.push_back(why);
      return stack_.may_stay;
    }

   private:
    void later(std::function<void()> fn) {
      fast_.center.post([fn = std::move(fn), alive = alive_] {
        if (*alive) fn();
      });
    }
    FastStack& stack_;
    Fast& fast_;
    uint8_t number_ = 0;
    std::unique_ptr<PendingConnect> pending_;
    std::optional<Result<std::unique_ptr<Link>>> link_;
    const std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  };

  NetworkStack& base_;
  Fast& fast_;
};

}  // namespace lunar::msgr
