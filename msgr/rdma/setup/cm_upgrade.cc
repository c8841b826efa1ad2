// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/rdma/setup/cm_upgrade.h"

#include <utility>
#include <vector>

#include "common/random.h"
#include "msgr/rdma/setup/stack_upgrade.h"

namespace lunar::msgr::rdma {
namespace {

CmTicket random_ticket() {
  CmTicket ticket;
  random_bytes(ticket);
  return ticket;
}

class CmUpgrade final : public StackUpgrade {
 public:
  CmUpgrade(StackCore& core, Cm& cm, EventCenter& center, const Address& peer)
      : StackUpgrade(core, peer), cm_(cm), center_(center) {}
  ~CmUpgrade() override { *alive_ = false; }

  void prepare(Prepared done) override {
    own_ = random_ticket();
    later([done = std::move(done), bytes = encode_cm_endpoint(own_)]() mutable {
      done(std::move(bytes));
    });
  }
  void complete(ConstBytes told, ConnectDone done) override {
    const Result<CmTicket> peers = decode_cm_endpoint(told);
    if (!peers) return fail(peers.error(), std::move(done));
    pending_ = cm_.connect(center_, peer_, {own_, *peers}, std::move(done));
  }
  bool is_made_by_connector() const noexcept override { return true; }
  void await_link(ConstBytes told, ConnectDone done) override {
    const Result<CmTicket> peers = decode_cm_endpoint(told);
    if (!peers) return fail(peers.error(), std::move(done));
    pending_ = cm_.await_peer(center_, {own_, *peers}, std::move(done));
  }

 private:
  void later(UniqueFunction<void()> fn) {
    center_.post([fn = std::move(fn), alive = alive_]() mutable {
      if (*alive) fn();  // may destroy the upgrade
    });
  }
  void fail(std::error_code why, ConnectDone done) {
    later([done = std::move(done), why]() mutable { done(failure(why)); });
  }

  Cm& cm_;
  EventCenter& center_;
  CmTicket own_{};  // all zero before prepare()
  const std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  std::unique_ptr<PendingConnect> pending_;  // null before either end has been told
};

}  // namespace

std::unique_ptr<LinkUpgrade> make_cm_upgrade(StackCore& core, Cm& cm, EventCenter& center,
                                             const Address& peer) {
  return std::make_unique<CmUpgrade>(core, cm, center, peer);
}

}  // namespace lunar::msgr::rdma
