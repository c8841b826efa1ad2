// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/rdma/setup/rdma_upgrade.h"

#include <fmt/format.h>

#include <utility>

#include "common/mutex.h"
#include "msgr/rdma/link/endpoint.h"
#include "msgr/rdma/setup/stack_upgrade.h"

namespace lunar::msgr::rdma {
namespace {

// What the upgrade and its jobs share. The QP is here, and nowhere else, while nobody works on it:
// the upgrade's end takes it out and has it destroyed on the service thread.
struct Shared {
  Address local;  // constant after prepare()
  Mutex mutex;
  bool is_over GUARDED_BY(mutex) = false;
  std::unique_ptr<Endpoint> endpoint GUARDED_BY(mutex);
  std::shared_ptr<LoopPort> port;

  // False if it is over; the endpoint is then destroyed by the caller, on the service thread.
  bool put(std::unique_ptr<Endpoint>& from) {
    const MutexLock lock(mutex);
    if (is_over) return false;
    endpoint = std::move(from);
    return true;
  }
  std::unique_ptr<Endpoint> take() {
    const MutexLock lock(mutex);
    return std::move(endpoint);
  }
};

class RdmaUpgrade final : public StackUpgrade {
 public:
  RdmaUpgrade(StackCore& core, EventCenter& center, const Address& local, const Address& peer)
      : StackUpgrade(core, peer), center_(center), local_(local) {}
  ~RdmaUpgrade() override {
    if (shared_ == nullptr) return;
    *alive_ = false;
    shared_->port->close();
    std::unique_ptr<Endpoint> endpoint;
    {
      const MutexLock lock(shared_->mutex);
      shared_->is_over = true;
      endpoint = std::move(shared_->endpoint);
    }
    if (endpoint != nullptr) core_.service.run([endpoint = std::move(endpoint)] {});
  }

  void prepare(Prepared done) override {
    prepared_ = std::move(done);
    shared_ = std::make_shared<Shared>();
    shared_->port = LoopPort::open(center_);
    shared_->local = local_;
    run([core = &core_, self = Handle(*this)] {
      self.post([found = core->devices->find(self.shared->local)](RdmaUpgrade& upgrade) mutable {
        upgrade.on_device(std::move(found));
      });
    });
  }

  void complete(ConstBytes told, ConnectDone done) override {
    completed_ = std::move(done);
    const Result<EndpointInfo> peer = decode_endpoint_info(told);
    if (!peer) {
      const Handle self(*this);
      center_.post([self, error = peer.error()] {
        self.call([error](RdmaUpgrade& upgrade) { upgrade.finish(failure(error)); });
      });
      return;
    }
    run([self = Handle(*this), info = *peer] {
      std::unique_ptr<Endpoint> endpoint = self.shared->take();
      if (endpoint == nullptr) return;  // given up
      const std::error_code error = endpoint->connect(info);
      if (!self.shared->put(endpoint)) return;
      self.post([error](RdmaUpgrade& upgrade) { upgrade.on_connected(error); });
    });
  }

 private:
  using Found = Outcome<std::pair<PortChoice, std::shared_ptr<Device>>>;

  // What jobs know the upgrade by: it may be gone when they are through.
  struct Handle {
    explicit Handle(RdmaUpgrade& of) : upgrade(&of), shared(of.shared_), alive(of.alive_) {}
    RdmaUpgrade* upgrade;
    std::shared_ptr<Shared> shared;
    std::shared_ptr<bool> alive;

    // On the loop.
    template <typename F>
    void call(F&& fn) const {
      if (*alive) fn(*upgrade);
    }
    // On the service thread.
    template <typename F>
    void post(F fn) const {
      shared->port->post([self = *this, fn = std::move(fn)]() mutable { self.call(fn); });
    }
  };

  void run(UniqueFunction<void()> job) {
    if (const std::error_code error = core_.service.run(std::move(job))) {
      center_.post([self = Handle(*this), error] {
        self.call([error](RdmaUpgrade& upgrade) { upgrade.refuse(Error{error, error.message()}); });
      });
    }
  }

  void on_device(Found found) {
    if (!found) return refuse(std::move(found.error()));
    choice_ = found->first;
    const Handle self(*this);
    core_.workers->get(
        center_, shared_->port, std::move(found->second),
        [self](Result<std::shared_ptr<Worker>> worker) {
          self.call([&](RdmaUpgrade& upgrade) { upgrade.on_worker(std::move(worker)); });
        });
  }
  void on_worker(Result<std::shared_ptr<Worker>> worker) {
    if (!worker) {
      return refuse(Error{worker.error(), fmt::format("RDMA device {}: no CQ, SRQ or buffers: {}",
                                                      choice_.device, worker.error().message())});
    }
    run([self = Handle(*this), worker = std::move(*worker), choice = choice_] {
      auto endpoint = Endpoint::create(worker, choice);
      if (!endpoint) {
        const std::error_code error = endpoint.error();
        return self.post([error](RdmaUpgrade& upgrade) {
          upgrade.refuse(Error{error, fmt::format("RDMA device {}: no QP: {}",
                                                  upgrade.choice_.device, error.message())});
        });
      }
      std::vector<std::byte> bytes = encode((*endpoint)->local());
      if (!self.shared->put(*endpoint)) return;
      self.post([bytes = std::move(bytes)](RdmaUpgrade& upgrade) mutable {
        Prepared done = std::move(upgrade.prepared_);
        done(std::move(bytes));  // may destroy the upgrade
      });
    });
  }
  // Ends whichever step is under way.
  void refuse(Error why) {
    if (!prepared_) return finish(failure(why.code));
    Prepared done = std::move(prepared_);
    done(failure(std::move(why)));
  }
  void on_connected(std::error_code error) {
    std::unique_ptr<Endpoint> endpoint = shared_->take();
    if (!error) return finish(Endpoint::into_link(std::move(endpoint), local_, peer_));
    core_.service.run([endpoint = std::move(endpoint)] {});
    finish(failure(error));
  }
  void finish(Result<std::unique_ptr<Link>> link) {
    ConnectDone done = std::move(completed_);
    done(std::move(link));  // may destroy this
  }

  EventCenter& center_;
  const Address local_;
  PortChoice choice_;
  std::shared_ptr<Shared> shared_;
  const std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  Prepared prepared_;
  ConnectDone completed_;
};

}  // namespace

std::unique_ptr<LinkUpgrade> make_rdma_upgrade(StackCore& core, EventCenter& center,
                                               const Address& local, const Address& peer) {
  return std::make_unique<RdmaUpgrade>(core, center, local, peer);
}

}  // namespace lunar::msgr::rdma
