// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/rdma/setup/cm.h"

#include <utility>

#include "msgr/rdma/setup/cm_channel.h"
#include "msgr/rdma/setup/cm_listening.h"
#include "msgr/rdma/setup/cm_setup.h"

// What the users hold, on their loops. Each has a half on the service thread, a CmSetup or a
// CmListening; whoever waits for a link shares a CmWaiter with it.

namespace lunar::msgr::rdma {
namespace {

class CmConnect final : public PendingConnect {
 public:
  CmConnect(std::shared_ptr<CmWaiter> waiter, std::shared_ptr<CmSetup> setup,
            ServiceThread& service)
      : waiter_(std::move(waiter)), setup_(std::move(setup)), service_(service) {}
  ~CmConnect() override {
    waiter_->port->close();
    service_.run([setup = setup_] { setup->abandon(); });
  }

 private:
  const std::shared_ptr<CmWaiter> waiter_;
  const std::shared_ptr<CmSetup> setup_;
  ServiceThread& service_;
};

// An acceptor's, for one peer.
class CmAwait final : public PendingConnect {
 public:
  CmAwait(std::shared_ptr<CmWaiter> waiter, std::shared_ptr<CmAwaited> awaited, const CmTicket& own,
          ServiceThread& service)
      : waiter_(std::move(waiter)), awaited_(std::move(awaited)), own_(own), service_(service) {}
  ~CmAwait() override {
    awaited_->remove(own_);
    waiter_->port->close();
    service_.run([waiter = waiter_] {
      if (const auto setup = waiter->accepting.lock()) setup->abandon();
    });
  }

 private:
  const std::shared_ptr<CmWaiter> waiter_;
  const std::shared_ptr<CmAwaited> awaited_;
  const CmTicket own_;
  ServiceThread& service_;
};

class CmListener final : public Listener {
 public:
  CmListener(std::shared_ptr<CmListening> listening, ServiceThread& service, const Address& local)
      : listening_(std::move(listening)), service_(service), local_(local) {}
  ~CmListener() override {
    service_.run([listening = listening_] { listening->stop(); });
  }
  Address local_address() const override { return local_; }

 private:
  const std::shared_ptr<CmListening> listening_;
  ServiceThread& service_;
  const Address local_;
};

// The waiter lives as long as the link, `done` does not.
ConnectDone once(ConnectDone done) {
  return [done = std::move(done)](Result<std::unique_ptr<Link>> link) mutable {
    ConnectDone run = std::move(done);
    run(std::move(link));  // may destroy what is pending
  };
}

}  // namespace

Cm::Cm(StackCore& core) : core_(core), channel_(std::make_shared<CmChannel>(core)) {}

Cm::~Cm() = default;

void Cm::close() { channel_->close(); }

std::unique_ptr<PendingConnect> Cm::connect(EventCenter& center, const Address& peer,
                                            const CmTickets& tickets, ConnectDone done) {
  auto waiter = std::make_shared<CmWaiter>(center, once(std::move(done)));
  auto setup = std::make_shared<CmSetup>(channel_, waiter, tickets, false);
  const std::error_code error = core_.service.run([setup, peer] { setup->begin_connect(peer); });
  if (error) {
    waiter->port->post([waiter, error] { waiter->deliver(failure(error)); });
  }
  return std::make_unique<CmConnect>(waiter, setup, core_.service);
}

std::unique_ptr<PendingConnect> Cm::await_peer(EventCenter& center, const CmTickets& tickets,
                                               ConnectDone done) {
  auto waiter = std::make_shared<CmWaiter>(center, once(std::move(done)));
  awaited_->add(tickets, waiter);
  return std::make_unique<CmAwait>(waiter, awaited_, tickets.own, core_.service);
}

std::unique_ptr<Listener> Cm::listen(const Address& local) {
  auto listening = std::make_shared<CmListening>(channel_, awaited_, local);
  core_.service.run([listening] { listening->begin(); });
  return std::make_unique<CmListener>(listening, core_.service, local);
}

}  // namespace lunar::msgr::rdma
