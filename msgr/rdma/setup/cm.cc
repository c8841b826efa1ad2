// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/rdma/setup/cm.h"

#include <utility>

#include "msgr/rdma/setup/cm_channel.h"
#include "msgr/rdma/setup/cm_listening.h"
#include "msgr/rdma/setup/cm_setup.h"

// What the users hold, on their loops. Each has a half on the service thread, a CmSetup or a
// CmListening, and shares a CmWaiter with it.

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

class CmListener final : public Listener {
 public:
  CmListener(std::shared_ptr<CmWaiter> waiter, std::shared_ptr<CmListening> listening,
             ServiceThread& service, const Address& local)
      : waiter_(std::move(waiter)),
        listening_(std::move(listening)),
        service_(service),
        local_(local) {}
  ~CmListener() override {
    waiter_->port->close();
    service_.run([listening = listening_] { listening->stop(); });
  }
  Address local_address() const override { return local_; }

 private:
  const std::shared_ptr<CmWaiter> waiter_;
  const std::shared_ptr<CmListening> listening_;
  ServiceThread& service_;
  const Address local_;
};

}  // namespace

Cm::Cm(StackCore& core) : core_(core), channel_(std::make_shared<CmChannel>(core)) {}

Cm::~Cm() = default;

void Cm::close() { channel_->close(); }

std::unique_ptr<PendingConnect> Cm::connect(EventCenter& center, const Address& peer,
                                            ConnectDone done) {
  auto waiter = std::make_shared<CmWaiter>(center);
  waiter->deliver = [done = std::move(done)](Result<std::unique_ptr<Link>> link) mutable {
    ConnectDone run = std::move(done);  // the waiter lives as long as the link
    run(std::move(link));               // may destroy the pending connect
  };
  auto setup = std::make_shared<CmSetup>(channel_, waiter, false);
  const std::error_code error = core_.service.run([setup, peer] { setup->begin_connect(peer); });
  if (error) {
    waiter->port->post([waiter, error] { waiter->deliver(failure(error)); });
  }
  return std::make_unique<CmConnect>(waiter, setup, core_.service);
}

std::unique_ptr<Listener> Cm::listen(EventCenter& center, const Address& local,
                                     AcceptCallback on_accept) {
  auto waiter = std::make_shared<CmWaiter>(center);
  waiter->deliver = [on_accept = std::move(on_accept)](Result<std::unique_ptr<Link>> link) mutable {
    if (link) on_accept(std::move(*link));
  };
  auto listening = std::make_shared<CmListening>(channel_, waiter, local);
  core_.service.run([listening] { listening->begin(); });
  return std::make_unique<CmListener>(waiter, listening, core_.service, local);
}

}  // namespace lunar::msgr::rdma
